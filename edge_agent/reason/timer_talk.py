"""Talks about timers: which one is meant, what happened to it, how long it has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BusyError
from edge_agent.reason.spoken import about_s
from edge_agent.reason.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.reason.bell import Bell
    from edge_agent.reason.spoken import Speech
    from edge_agent.reason.wording import Answers, SlotValue

    Slots = Mapping[str, SlotValue]

_UNITS_S = {"hours": 3600, "minutes": 60, "seconds": 1}
_TOLD_AT_ONCE = 5


class TimerTalk:
    """Performs the timer intents; every method returns what is said."""

    def __init__(self, bell: Bell, speech: Speech, answers: Answers) -> None:
        self._bell = bell
        self._book = bell.timers
        self._speech = speech
        self._answers = answers

    def set(self, slots: Slots) -> str:
        """Set a timer of the slots' duration and name."""
        seconds = duration_s(slots)
        if not seconds:
            return self._say("timer_needs_duration")
        try:
            timer = self._book.set(seconds, str(slots.get("timer_name", "")))
        except BusyError as error:
            return self._say("timers_full", limit=self._speech.count(error.limit))
        return self._say("timer_set", duration=self._speech.duration(timer.duration_s), **_name(timer))

    def cancel(self, slots: Slots) -> str:
        """Silence the timer that rings, or cancel the one that is meant, or all."""
        everything = slots.get("scope") == "all"
        reached = [timer for timer in self._bell.reached_by(Timer) if everything or _fits(timer, slots)]
        if reached and (everything or not _is_described(slots) or not self._described(slots)):
            self._bell.stop()
            if not everything or not self._book.timers:
                return self._say("stopped")
        timers, answer = self._meant(slots, self._book.timers, "timers_none")
        for timer in timers:
            self._book.cancel(timer)
        return answer or self._done(timers, "timer_cancelled", "timers_all_cancelled")

    def pause(self, slots: Slots) -> str:
        """Pause the timer that is meant, or all."""
        running = [timer for timer in self._book.timers if not timer.paused]
        timers, answer = self._meant(slots, running, "timers_none_running")
        paused = [self._book.pause(timer) for timer in timers]
        return answer or self._done(paused, "timer_paused", "timers_all_paused")

    def resume(self, slots: Slots) -> str:
        """Let the timer that is meant go on, or all."""
        paused = [timer for timer in self._book.timers if timer.paused]
        timers, answer = self._meant(slots, paused, "timers_none_paused")
        running = [self._book.resume(timer) for timer in timers]
        return answer or self._done(running, "timer_resumed", "timers_all_resumed")

    def status(self, slots: Slots) -> str:
        """Tell what is left of the timer that is meant, or of all; the next to ring first."""
        timers = self._described(slots)
        if not self._book.timers:
            return self._say("timers_none")
        if not timers:
            return self._unknown(slots)
        soonest = sorted(timers, key=lambda timer: (timer.paused, self._book.left_s(timer)))
        told = [self._left(timer) for timer in soonest[:_TOLD_AT_ONCE]]
        if len(timers) > 1:
            told.insert(0, self._say("timers_count", count=self._speech.count(len(timers))))
        return " ".join(told)

    def announce(self, timer: Timer) -> str:
        """Return what is said when a timer rings."""
        return self._say("timer_done", duration=self._speech.length(timer.duration_s), **_name(timer))

    def _meant(self, slots: Slots, candidates: Sequence[Timer], none: str) -> tuple[Sequence[Timer], str]:
        """Return the timers that are meant, or none and what to say instead."""
        if not self._book.timers:
            return (), self._say("timers_none")
        described = self._described(slots)
        if not described:
            return (), self._unknown(slots)
        meant = [timer for timer in described if timer in candidates]
        if slots.get("scope") == "all" and meant:
            return meant, ""
        if not meant:
            return (), self._left(described[0]) if len(described) == 1 else self._say(none)
        if len(meant) > 1 and not _is_described(slots):
            listed = self._speech.listing([self.called(timer) for timer in meant])
            return (), self._say("timers_several", count=self._speech.count(len(meant)), timers=listed)
        # Several that fit one description can't be told apart in words: take the next to ring.
        return [min(meant, key=self._book.left_s)], ""

    def _described(self, slots: Slots) -> tuple[Timer, ...]:
        return self._book.find(str(slots.get("timer_name", "")), duration_s(slots) or None)

    def _done(self, timers: Sequence[Timer], one: str, several: str) -> str:
        if len(timers) > 1:
            return self._say(several, count=self._speech.count(len(timers)))
        (timer,) = timers
        return self._say_of(one, timer)

    def _left(self, timer: Timer) -> str:
        return self._say_of("timer_left_paused" if timer.paused else "timer_left", timer)

    def _say_of(self, response: str, timer: Timer) -> str:
        left = self._speech.duration(about_s(self._book.left_s(timer)))
        return self._say(response, timer=self.called(timer), left=left)

    def called(self, timer: Timer) -> str:
        """Return what a timer is called by."""
        return self._name_of(timer.name, timer.duration_s)

    def _unknown(self, slots: Slots) -> str:
        return self._say("timer_unknown", timer=self._name_of(str(slots.get("timer_name", "")), duration_s(slots)))

    def _name_of(self, name: str, seconds: float) -> str:
        if name:
            return self._answers.phrase("timer_named", {"name": name})
        return self._answers.phrase("timer_unnamed", {"duration": self._speech.length(seconds)})

    def _say(self, response: str, **slots: SlotValue) -> str:
        return self._answers.say(response, slots)


def _is_described(slots: Slots) -> bool:
    return bool(slots.get("timer_name") or duration_s(slots))


def _fits(timer: Timer, slots: Slots) -> bool:
    """Whether a timer that is no longer in the book is one that is meant."""
    return name_fits(timer.name, slots.get("timer_name")) and duration_s(slots) in (0, timer.duration_s)


def name_fits(name: str, said: SlotValue | None) -> bool:
    """Whether something is called what was said, or nothing was said."""
    return not said or name.casefold() == str(said).casefold()


def duration_s(slots: Slots) -> float:
    """Return the seconds that the slots come to, 0 where none was said."""
    return sum(float(slots.get(unit, 0)) * seconds for unit, seconds in _UNITS_S.items())


def _name(timer: Timer) -> dict[str, SlotValue]:
    return {"name": timer.name} if timer.name else {}
