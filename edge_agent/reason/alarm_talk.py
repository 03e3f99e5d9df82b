"""Talks about alarms and about what rings: what is set, what is meant, what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BusyError
from edge_agent.reason.alarms import Alarm
from edge_agent.reason.time_of_day import When
from edge_agent.reason.timer_talk import duration_s, name_fits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import time

    from edge_agent.reason.bell import Bell, Ringer
    from edge_agent.reason.ports import Clock
    from edge_agent.reason.spoken import Speech
    from edge_agent.reason.timer_talk import TimerTalk
    from edge_agent.reason.wording import Answers, SlotValue

    Slots = Mapping[str, SlotValue]

_TOLD_AT_ONCE = 5


class AlarmTalk:
    """Performs the alarm intents; every method returns what is said."""

    def __init__(self, bell: Bell, clock: Clock, speech: Speech, answers: Answers, timers: TimerTalk) -> None:
        self._bell = bell
        self._book = bell.alarms
        self._clock = clock
        self._speech = speech
        self._answers = answers
        self._timers = timers

    def set(self, slots: Slots) -> str:
        """Set an alarm for the slots' time; the day is always told, since it may not be the one that was thought of."""
        when = When.said(slots)
        if when is None:
            return self._say("alarm_needs_time")
        local = when.next(self._clock)
        if local is None:
            return self._say("alarm_past")
        try:
            alarm = self._book.set(local, str(slots.get("alarm_name", "")), when.every)
        except BusyError as error:
            return self._say("alarms_full", limit=self._speech.count(error.limit))
        return self._say("alarm_set", **self._told(alarm))

    def cancel(self, slots: Slots) -> str:
        """Silence the alarm that rings, or cancel the one that is meant, or all."""
        everything = slots.get("scope") == "all"
        when = When.said(slots)
        times = when.times if when else ()
        reached = [
            alarm
            for alarm in self._bell.reached_by(Alarm)
            if everything or (name_fits(alarm.name, slots.get("alarm_name")) and _time_fits(alarm, times))
        ]
        if reached:
            self._bell.stop()
            if not everything or not self._book.alarms:
                return self._say("stopped")
        if not self._book.alarms:
            return self._say("alarms_none")
        meant = self._book.find(str(slots.get("alarm_name", "")), times)
        if not meant:
            return self._say("alarm_unknown")
        if len(meant) > 1 and not everything and not _is_described(slots):
            listed = self._speech.listing([self._called(alarm) for alarm in meant])
            return self._say("alarms_several", count=self._speech.count(len(meant)), alarms=listed)
        cancelled = meant if everything else meant[:1]
        # Said before it is gone: a snoozed alarm is called by when it would have rung.
        called = self._called(cancelled[0])
        for alarm in cancelled:
            self._book.cancel(alarm)
        if len(cancelled) > 1:
            return self._say("alarms_all_cancelled", count=self._speech.count(len(cancelled)))
        return self._say("alarm_cancelled", alarm=called)

    def status(self, slots: Slots) -> str:
        """Tell the next alarm, or all, the next to ring first."""
        if not self._book.alarms:
            return self._say("alarms_none")
        alarms = self._book.find(str(slots.get("alarm_name", "")))
        if not alarms:
            return self._say("alarm_unknown")
        if len(alarms) == 1 or slots.get("scope") == "next":
            return self._say("alarm_next", **self._told(alarms[0]))
        told = [self._answers.phrase("alarm_told", self._told(alarm)) for alarm in alarms[:_TOLD_AT_ONCE]]
        return self._say("alarms_count", count=self._speech.count(len(alarms)), alarms=self._speech.listing(told))

    def snooze(self, slots: Slots) -> str:
        """Let what rings ring again after the slots' duration, or the usual one."""
        seconds = duration_s(slots) or self._bell.times.snooze_s
        try:
            snoozed = self._bell.snooze(seconds)
        except BusyError as error:
            return self._say("timers_full", limit=self._speech.count(error.limit))
        return self._say("snoozed", duration=self._speech.duration(seconds)) if snoozed else self._say("nothing_rings")

    def announce(self, items: Sequence[Ringer]) -> str:
        """Return what is said while these ring."""
        now = self._speech.time(self._clock.now())
        return " ".join(
            self._say("alarm_due", time=now, **_name(item)) if isinstance(item, Alarm) else self._timers.announce(item)
            for item in items
        )

    def tell_missed(self) -> str:
        """Return what was missed since it was last told, empty where nothing was; it counts as told."""
        missed = self._bell.take_missed()
        told = []
        for while_off, response in ((True, "missed_while_off"), (False, "missed")):
            called = dict.fromkeys(self._named(each.item) for each in missed if each.while_off is while_off)
            if called:
                told.append(self._say(response, things=self._speech.listing(list(called))))
        return " ".join(told)

    def _named(self, item: Ringer) -> str:
        return self._called(item) if isinstance(item, Alarm) else self._timers.called(item)

    def _called(self, alarm: Alarm) -> str:
        if alarm.name:
            return self._answers.phrase("alarm_named", {"name": alarm.name})
        return self._answers.phrase("alarm_unnamed", {"time": self._speech.time(self._book.rings_at(alarm))})

    def _told(self, alarm: Alarm) -> dict[str, SlotValue]:
        rings_at = self._book.rings_at(alarm)
        repeated = alarm.days and alarm.snooze_ends_s is None
        return {
            "time": self._speech.time(rings_at),
            "day": self._speech.repetition(alarm.days) if repeated else self._speech.day(rings_at, self._clock.now()),
            **_name(alarm),
        }

    def _say(self, response: str, **slots: SlotValue) -> str:
        return self._answers.say(response, slots)


def _time_fits(alarm: Alarm, times: Collection[time]) -> bool:
    return not times or (alarm.local is not None and alarm.local.time() in times)


def _is_described(slots: Slots) -> bool:
    return bool(slots.get("alarm_name")) or When.said(slots) is not None


def _name(alarm: Alarm) -> dict[str, SlotValue]:
    return {"name": alarm.name} if alarm.name else {}
