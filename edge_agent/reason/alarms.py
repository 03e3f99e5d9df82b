"""Alarms: times of day by the local clock, once or repeated, that can be snoozed. Pure, like the timers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_agent.errors import BusyError
from edge_agent.reason.recurrence import instant, next_local

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import time

    from edge_agent.reason.ports import Clock

DEFAULT_LIMIT = 50
WRONG_CLOCK_S = 12 * 3600.0
"""A clock that is set by so much did not run slow or fast: it showed another day."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm, plain values only.

    Attributes:
        id: Unique within a book, ascending.
        name: What it was called, or an empty string.
        local: The local date and time, naive, at which it rings next; None where only its snooze is left.
        days: Weekdays, Monday is 0, on which it rings again and again; empty: once.
        snooze_ends_s: When it rings after a snooze, on the book's monotonic clock; None while it is not snoozed.
        restored: Its next time was set by an earlier process.
    """

    id: int
    name: str
    local: datetime | None
    days: frozenset[int] = frozenset()
    snooze_ends_s: float | None = None
    restored: bool = False


class AlarmBook:
    """The alarms that are set.

    Args:
        clock: The local clock counts; monotonic time for snoozes alone.
        limit: Alarms at once.
    """

    def __init__(self, clock: Clock, *, limit: int = DEFAULT_LIMIT) -> None:
        self._clock = clock
        self.limit = limit
        self._alarms: dict[int, Alarm] = {}
        self._last_id = 0
        self.on_change: Callable[[], None] = lambda: None

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms, the next to ring first."""
        return tuple(sorted(self._alarms.values(), key=lambda alarm: (self.left_s(alarm), alarm.id)))

    def set(self, local: datetime, name: str = "", days: Collection[int] = ()) -> Alarm:
        """Set an alarm; one that is the same already stays the only one.

        Raises:
            BusyError: There are too many already.
        """
        for alarm in self._alarms.values():
            if (alarm.local, alarm.name, alarm.days) == (local, name, frozenset(days)):
                return alarm
        if len(self._alarms) >= self.limit:
            raise BusyError("the list of alarms", self.limit)
        self._last_id += 1
        return self._put(Alarm(self._last_id, name, local, frozenset(days)))

    def restore(self, alarms: Iterable[Alarm]) -> None:
        """Take in the alarms of an earlier process; what is in the book already gets out of the way of their ids."""
        kept = list(self._alarms.values())
        self._alarms = {alarm.id: replace(alarm, restored=True) for alarm in alarms}
        self._last_id = max((self._last_id, *self._alarms))
        for alarm in kept:
            self._last_id += 1
            self._alarms[self._last_id] = replace(alarm, id=self._last_id)
        self.on_change()

    def find(self, name: str = "", times: Collection[time] = ()) -> tuple[Alarm, ...]:
        """Return the alarms of that name and at one of those times of day; all of them where neither is given."""
        return tuple(
            alarm
            for alarm in self.alarms
            if (not name or alarm.name.casefold() == name.casefold())
            and (not times or (alarm.local is not None and alarm.local.time() in times))
        )

    def rings_at(self, alarm: Alarm) -> datetime:
        """Return the local date and time, naive, at which an alarm rings next, after its snooze where it has one."""
        if alarm.snooze_ends_s is None and alarm.local is not None:
            return alarm.local
        return (self._clock.now() + timedelta(seconds=self.left_s(alarm))).replace(tzinfo=None)

    def left_s(self, alarm: Alarm) -> float:
        """Seconds until an alarm rings; less than 0 where it is overdue."""
        left = []
        if alarm.local is not None:
            left.append((instant(self._clock, alarm.local) - self._clock.now().astimezone(UTC)).total_seconds())
        if alarm.snooze_ends_s is not None:
            left.append(alarm.snooze_ends_s - self._clock.monotonic())
        return min(left)

    def next_due_s(self) -> float | None:
        """Seconds until the next alarm rings, at least 0; None where there is none."""
        return min((max(0.0, self.left_s(alarm)) for alarm in self._alarms.values()), default=None)

    def cancel(self, alarm: Alarm) -> None:
        """Take an alarm away for good; nothing happens if it is gone already."""
        if self._alarms.pop(alarm.id, None):
            self.on_change()

    def snooze(self, alarm: Alarm, seconds: float) -> Alarm:
        """Let an alarm that rang ring again in `seconds`, whatever its next time is."""
        ends_s = self._clock.monotonic() + seconds
        known = self._alarms.get(alarm.id, replace(alarm, local=None))
        return self._put(replace(known, snooze_ends_s=ends_s, restored=known.restored and known.local is not None))

    def pop_due(self) -> tuple[Alarm, ...]:
        """Take the alarms that ring now, the earliest first; those that repeat get their next time.

        They come back as they were, so that `left_s` tells how late they are.
        """
        due = [alarm for alarm in self.alarms if self.left_s(alarm) <= 0]
        for alarm in due:
            self._go_on(alarm)
        if due:
            self.on_change()
        return tuple(due)

    def clock_stepped(self, step_s: float, *, late_s: float) -> None:
        """Find the alarms' times again, the wall clock having been set forward by `step_s`, or back where negative.

        A repeated alarm that rang lately does not ring again because the clock was set back by less than `late_s`.
        Where the clock had shown another day, an alarm that was set by it keeps its time of day and how many days it
        was ahead.
        """
        another_day = abs(step_s) >= WRONG_CLOCK_S
        for alarm in tuple(self._alarms.values()):
            if alarm.restored and alarm.snooze_ends_s is not None:
                alarm = self._put(replace(alarm, snooze_ends_s=alarm.snooze_ends_s - step_s))  # noqa: PLW2901
            if alarm.local is None or (alarm.restored and step_s > 0):
                continue
            if alarm.days and (another_day or step_s < -late_s):
                self._put(replace(alarm, local=next_local(self._clock, alarm.local.time(), days=alarm.days)))
            elif another_day and not alarm.restored:
                then = (self._clock.now() - timedelta(seconds=step_s)).date()
                first = self._clock.now().date() + (alarm.local.date() - then)
                self._put(replace(alarm, local=next_local(self._clock, alarm.local.time(), first=first)))
        self.on_change()

    def _go_on(self, alarm: Alarm) -> None:
        """Give an alarm that rings its next time, or take it away."""
        if alarm.snooze_ends_s is not None and alarm.snooze_ends_s <= self._clock.monotonic():
            alarm = replace(alarm, snooze_ends_s=None)
        if alarm.local is not None and self._is_over(alarm.local):
            following = alarm.local.date() + timedelta(days=1)
            local = (
                next_local(self._clock, alarm.local.time(), days=alarm.days, first=following) if alarm.days else None
            )
            alarm = replace(alarm, local=local, restored=False)
        self._alarms[alarm.id] = alarm
        if alarm.local is None and alarm.snooze_ends_s is None:
            del self._alarms[alarm.id]

    def _is_over(self, local: datetime) -> bool:
        return instant(self._clock, local) <= self._clock.now().astimezone(UTC)

    def _put(self, alarm: Alarm) -> Alarm:
        self._alarms[alarm.id] = alarm
        self.on_change()
        return alarm
