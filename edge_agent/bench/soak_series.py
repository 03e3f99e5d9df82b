"""Whether something grew: slopes and quarters of what was seen over time."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, TypeVar

from edge_agent.bench.result import linear_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_QUARTERS = 4
_LEAST_SAMPLES = 3
_HOUR_S = 3600.0

Series = list[tuple[float, float]]
"""Moments in seconds, ascending, each with a value."""


def warm_up_s(length_s: float) -> float:
    """Return how much of a soak's beginning does not count for slopes: a quarter, ten minutes at the most.

    Sentences are rendered for the first time then and kept, pools grow to their size, the history fills.
    """
    return min(600.0, length_s / 4)


def after(series: Series, at_s: float) -> Series:
    """Return what was seen from `at_s` on."""
    return [(moment, value) for moment, value in series if moment >= at_s]


def slope_per_hour(series: Series) -> float | None:
    """Return the slope of the line with the least squares, for each hour; None where there is too little to tell."""
    if len(series) < _LEAST_SAMPLES or series[0][0] == series[-1][0]:
        return None
    slope, _ = linear_fit([moment / _HOUR_S for moment, _ in series], [value for _, value in series])
    return slope


def quarters(values: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return the first quarter of `values` and the last one; each has at least one where there are any."""
    count = max(1, len(values) // _QUARTERS)
    return values[:count], values[-count:]


def grown(series: Series) -> tuple[float, float] | None:
    """Return the medians of the first and of the last quarter; None where there is nothing."""
    if not series:
        return None
    first, last = quarters([value for _, value in series])
    return statistics.median(first), statistics.median(last)


def last_over_first(groups: Sequence[Sequence[tuple[int, float]]]) -> float | None:
    """Return how many times as large values are in the last quarter as in the first, whatever they are of.

    Args:
        groups: Of each kind of thing its values with their place in the whole: a kind is compared with itself alone,
            so that it does not matter which kinds a quarter happens to hold.
    """
    relative: list[tuple[int, float]] = []
    for group in groups:
        if group and (typical := statistics.median(value for _, value in group)) > 0:
            relative += [(place, value / typical) for place, value in group]
    if not relative:
        return None
    first, last = quarters([value for _, value in sorted(relative)])
    return statistics.median(last) / statistics.median(first)
