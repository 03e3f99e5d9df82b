"""When a time of day comes: days, weekdays, hours that are skipped and hours that come twice. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from edge_agent.reason.ports import Clock

EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
WEEKENDS = frozenset((5, 6))
_WITHIN_DAYS = 9
"""A weekday comes within a week; its time may be over today, and a zone may skip a day."""


def instant(clock: Clock, local: datetime) -> datetime:
    """Return the instant, in UTC, at which the local clock shows `local` or, where that is skipped, jumps over it."""
    shown = clock.localize(local)
    if _wall(shown) == local.replace(fold=0):
        return shown.astimezone(UTC)
    shown = clock.localize(local.replace(fold=0))
    # Counted on from before the gap, it shows a time behind the gap: the end of the gap lies between the two.
    low_s, high_s = 0, round((_wall(shown) - local.replace(fold=0)).total_seconds())
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        there = local.replace(fold=0) + timedelta(seconds=middle_s)
        low_s, high_s = (low_s, middle_s) if _wall(clock.localize(there)) == there else (middle_s, high_s)
    return clock.localize(local.replace(fold=0) + timedelta(seconds=high_s)).astimezone(UTC)


def next_local(clock: Clock, at: time, *, days: Collection[int] = EVERY_DAY, first: date | None = None) -> datetime:
    """Return the next local date and time, naive, at which it is `at`.

    Args:
        clock: Says what time it is.
        at: The time of day.
        days: Weekdays that count, Monday is 0.
        first: The first day that counts; unset: today.

    Raises:
        ValueError: No day counts, or none of the next nine has a future.
    """
    now = clock.now()
    first = max(first, now.date()) if first else now.date()
    for ahead in range(_WITHIN_DAYS):
        day = first + timedelta(days=ahead)
        if day.weekday() not in days:
            continue
        for fold in (0, 1):
            local = datetime.combine(day, at).replace(fold=fold)
            if instant(clock, local) > now.astimezone(UTC):
                return local
    raise ValueError(f"there is no {at} to come on the weekdays {sorted(days)}")


def _wall(aware: datetime) -> datetime:
    return aware.replace(tzinfo=None, fold=0)
