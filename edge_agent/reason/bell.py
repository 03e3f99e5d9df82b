"""What rings, until somebody reacts. Pure: it looks at the clock when it is asked.

due ──▶ ringing ──(somebody reacts)──▶ stopped, may be snoozed
 │         └─────(nobody does)──────▶ missed ──▶ told once
 └──(too late when it was noticed)────▲
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edge_agent.reason.alarms import Alarm
from edge_agent.reason.clock_watch import ClockWatch
from edge_agent.reason.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.reason.alarms import AlarmBook
    from edge_agent.reason.ports import Clock
    from edge_agent.reason.timers import TimerBook

_MOST_MISSED = 20
"""Told at once; of more, the latest."""
_SNOOZABLE_S = 120.0
"""After so long, nobody who says "snooze" means what rang."""
_LONGEST_LOOK_S = 30.0
"""So soon a clock that was set is noticed."""

Ringer = Timer | Alarm
R = TypeVar("R", Timer, Alarm)


@dataclass(frozen=True, slots=True)
class BellTimes:
    """How long things ring. The defaults are those of the configuration.

    Attributes:
        late_s: What is no later still rings.
        timer_rings_s: A timer rings for so long.
        alarm_rings_s: An alarm rings for so long.
        snooze_s: A snooze, where its length is not said.
    """

    late_s: float = 1800.0
    timer_rings_s: float = 60.0
    alarm_rings_s: float = 600.0
    snooze_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Missed:
    """Something that nobody heard.

    Attributes:
        while_off: It was due before this process began.
    """

    item: Ringer
    while_off: bool


class Bell:
    """Takes what is due out of the books and rings.

    Args:
        clock: The books' clock.
        timers: The timers.
        alarms: The alarms.
        times: How long things ring.
    """

    def __init__(self, clock: Clock, timers: TimerBook, alarms: AlarmBook, times: BellTimes | None = None) -> None:
        self._clock = clock
        self.timers = timers
        self.alarms = alarms
        self.times = times or BellTimes()
        self._watch = ClockWatch(clock)
        self._ringing: dict[Ringer, float] = {}  # until when
        self._stopped: tuple[Ringer, ...] = ()
        self._stopped_at_s = 0.0
        self._just_stopped = False
        self._missed: list[Missed] = []
        self._began_s = clock.monotonic()
        self.on_change: Callable[[], None] = lambda: None

    @property
    def ringing(self) -> tuple[Ringer, ...]:
        """What rings now, the first to ring first."""
        return tuple(self._ringing)

    @property
    def held(self) -> tuple[Ringer, ...]:
        """What is no longer in the books and must not be forgotten: it rings, or was missed and not told."""
        return (*self._ringing, *(missed.item for missed in self._missed))

    @property
    def has_missed(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._missed)

    def look(self) -> bool:
        """Notice what is due, what has rung long enough and whether the clock was set; True if something new rings."""
        if step_s := self._watch.step_s():
            self.timers.clock_stepped(step_s)
            self.alarms.clock_stepped(step_s, late_s=self.times.late_s)
        now_s = self._clock.monotonic()
        for item in [item for item, until_s in self._ringing.items() if until_s <= now_s]:
            del self._ringing[item]
            self._miss(item, while_off=False)
        due: list[tuple[float, Ringer]] = [
            *((now_s - timer.ends_at_s, timer) for timer in self.timers.pop_due() if timer.ends_at_s is not None),
            *((-self.alarms.left_s(alarm), alarm) for alarm in self.alarms.pop_due()),
        ]
        new = False
        for late_s, item in sorted(due, key=lambda entry: -entry[0]):
            if late_s > self.times.late_s:
                self._miss(item, while_off=item.restored and now_s - late_s < self._began_s)
                continue
            rings_s = self.times.alarm_rings_s if isinstance(item, Alarm) else self.times.timer_rings_s
            self._ringing[item] = now_s + rings_s
            new = True
        if new:
            self.on_change()
        return new

    def next_look_s(self) -> float | None:
        """Seconds until there is something to look for, at most 30; None where nothing is set and nothing rings."""
        now_s = self._clock.monotonic()
        waits = [
            self.timers.next_due_s(),
            self.alarms.next_due_s(),
            *(end_s - now_s for end_s in self._ringing.values()),
        ]
        known = [max(0.0, wait_s) for wait_s in waits if wait_s is not None]
        return min((*known, _LONGEST_LOOK_S)) if known else None

    def stop(self) -> None:
        """Somebody reacted: nothing rings any more."""
        if not self._ringing:
            return
        self._stopped, self._stopped_at_s = self.ringing, self._clock.monotonic()
        self._just_stopped = True
        self._ringing.clear()
        self.on_change()

    def utterance_over(self) -> None:
        """Whoever reacted has been heard out: what is said from now on is about something else."""
        self._just_stopped = False

    def reached_by(self, kind: type[R]) -> tuple[R, ...]:
        """Return what an utterance of now stops: what rings, or fell silent when this very utterance began."""
        reached = self.ringing or (self._stopped if self._just_stopped else ())
        return tuple(item for item in reached if isinstance(item, kind))

    def snooze(self, seconds: float) -> tuple[Ringer, ...]:
        """Let what rings, or rang just now, ring again in `seconds`; return it, empty where there is nothing.

        Raises:
            BusyError: There are too many timers to set another.
        """
        self.stop()
        if self._clock.monotonic() - self._stopped_at_s > _SNOOZABLE_S:
            self._stopped = ()
        snoozed = self._stopped
        for item in snoozed:
            if isinstance(item, Alarm):
                self.alarms.snooze(item, seconds)
            else:
                self.timers.set(seconds, item.name)
        self._stopped = ()
        return snoozed

    def take_missed(self) -> tuple[Missed, ...]:
        """Return what was missed, for it is told now."""
        missed, self._missed = tuple(self._missed), []
        if missed:
            self.on_change()
        return missed

    def _miss(self, item: Ringer, *, while_off: bool) -> None:
        self._missed = [*self._missed, Missed(item, while_off)][-_MOST_MISSED:]
        self.on_change()
