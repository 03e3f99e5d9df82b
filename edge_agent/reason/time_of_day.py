"""From the slots of an alarm to the moment that is meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta
from typing import TYPE_CHECKING

from edge_agent.reason.recurrence import EVERY_DAY, WEEKDAYS, WEEKENDS, instant, next_local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_agent.reason.ports import Clock
    from edge_agent.reason.wording import SlotValue

    Slots = Mapping[str, SlotValue]

_HALF_DAY_H = 12
_DAY_H = 24
_NIGHT_BEGINS_H = 6
"""Ten at night is 22:00, two at night is 02:00."""
_MOMENTS = {"noon": time(12), "midnight": time(0)}
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = {name: day for day, name in enumerate(_DAY_NAMES)}
_REPEATED = {"day": EVERY_DAY, "weekday": WEEKDAYS, "weekend": WEEKENDS} | {
    name: frozenset((day,)) for name, day in _WEEKDAY.items()
}

DAY_VALUES = frozenset(("today", "tonight", "tomorrow", *_DAY_NAMES))
"""What the slot `day` may hold."""
EVERY_VALUES = frozenset(_REPEATED)
"""What the slots `every`, `every_2` and `every_3` may hold."""
HALF_VALUES = frozenset(("am", "pm", "night"))
"""What the slot `half` may hold."""


@dataclass(frozen=True, slots=True)
class When:
    """What was said about a time.

    Attributes:
        times: The times of day that it may be; the earlier one first. Two where neither half of the day was said.
        day: A value of `DAY_VALUES`, or an empty string.
        every: Weekdays, Monday is 0, on which it comes again and again; empty: once.
    """

    times: tuple[time, ...]
    day: str = ""
    every: frozenset[int] = frozenset()

    @classmethod
    def said(cls, slots: Slots) -> When | None:
        """Read the slots; None where they name no time of day."""
        day = str(slots.get("day", ""))
        every = frozenset[int]().union(
            *(_REPEATED.get(str(slots[slot]), ()) for slot in ("every", "every_2", "every_3") if slot in slots)
        )
        half = str(slots.get("half", "night" if day == "tonight" else ""))
        moment = _MOMENTS.get(str(slots.get("moment", "")))
        times = (moment,) if moment else _times(slots, half)
        return cls(times, day, every) if times else None

    def next(self, clock: Clock) -> datetime | None:
        """Return the next local date and time, naive, that is meant; None where today has none left.

        Without a day, both halves of the day count where none was said, and the next one is meant. With one, or
        repeated, the hours are those of a 24-hour clock, and twelve is noon.
        """
        if self.every:
            return next_local(clock, self._plain(), days=self.every)
        today = clock.now().date()
        if self.day == "tomorrow":
            return next_local(clock, self._plain(), first=today + timedelta(days=1))
        if self.day in _WEEKDAY:
            return next_local(clock, self._plain(), days=(_WEEKDAY[self.day],))
        soonest = min((next_local(clock, at) for at in self.times), key=lambda local: instant(clock, local))
        return None if self.day == "today" and soonest.date() != today else soonest

    def _plain(self) -> time:
        return self.times[-1] if self.times[0].hour == 0 else self.times[0]


def _times(slots: Slots, half: str) -> tuple[time, ...]:
    if "hour" not in slots:
        return ()
    hour = round(float(slots["hour"]))
    minute = round(float(slots.get("minute", 0)))
    if not (0 <= hour < _DAY_H and 0 <= minute < 60):  # noqa: PLR2004 - minutes of an hour
        return ()
    if not 1 <= hour <= _HALF_DAY_H:
        hours: tuple[int, ...] = (hour,)
    else:
        morning, evening = hour % _HALF_DAY_H, hour % _HALF_DAY_H + _HALF_DAY_H
        late = half == "pm" or (half == "night" and _NIGHT_BEGINS_H <= hour < _HALF_DAY_H)
        hours = (evening,) if late else (morning,) if half else (morning, evening)
    after = -minute if slots.get("before") else minute
    minutes = ((60 * each + after) % (60 * _DAY_H) for each in hours)
    return tuple(sorted(time(*divmod(each, 60)) for each in minutes))
