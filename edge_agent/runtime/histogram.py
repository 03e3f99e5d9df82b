"""Percentiles of durations in constant memory."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LEAST_S = 1e-6
_STEPS_PER_DOUBLING = 8
_DOUBLINGS = 32
_SIZE = _STEPS_PER_DOUBLING * _DOUBLINGS


class Histogram:
    """Counts durations in logarithmic classes, eight to a doubling, from 1 µs to over an hour.

    A percentile is the upper edge of its class (the largest value seen at most), so it is never too low, and too high
    by 9 % (2^(1/8)) at most.
    """

    def __init__(self) -> None:
        self._counts = [0] * _SIZE
        self.count = 0
        self.total_s = 0.0
        self.largest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if seconds > _LEAST_S:
            at = math.ceil(math.log2(seconds / _LEAST_S) * _STEPS_PER_DOUBLING)
            self._counts[min(at, _SIZE - 1)] += 1
        else:
            self._counts[0] += 1
        self.count += 1
        self.total_s += seconds
        self.largest_s = max(self.largest_s, seconds)

    def percentile(self, share: float) -> float | None:
        """Return the duration that `share` (0 to 1) of all do not exceed; None where nothing was counted."""
        found = percentiles((self,), (share,))
        return None if found is None else found[0]

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * _SIZE
        self.count = 0
        self.total_s = self.largest_s = 0.0

    @property
    def counts(self) -> Sequence[int]:
        """How many durations fell into each class."""
        return self._counts


def percentiles(histograms: Iterable[Histogram], shares: Sequence[float]) -> tuple[float, ...] | None:
    """Return percentiles over several histograms together, in one pass; None where nothing was counted."""
    filled = [histogram for histogram in histograms if histogram.count]
    if not filled:
        return None
    up_to = list(accumulate(map(sum, zip(*(histogram.counts for histogram in filled), strict=True))))
    largest_s = max(histogram.largest_s for histogram in filled)
    classes = (bisect_left(up_to, max(1, math.ceil(share * up_to[-1]))) for share in shares)
    return tuple(min(largest_s, _LEAST_S * 2 ** (index / _STEPS_PER_DOUBLING)) for index in classes)


class RecentHistogram:
    """Percentiles of recent durations: two histograms take turns when one has gone on for `window_s`.

    What was counted is forgotten with the second turn after it, which is due at a later `add`, not by itself.
    """

    def __init__(self, window_s: float = 300.0) -> None:
        self._window_s = window_s
        self._now, self._before = Histogram(), Histogram()
        self._turned_s = -math.inf

    def add(self, seconds: float, now_s: float) -> None:
        """Count one duration that ended at `now_s` of a clock that never jumps."""
        if now_s - self._turned_s >= self._window_s:
            stale = now_s - self._turned_s >= 2 * self._window_s
            self._before, self._now = self._now, self._before
            self._now.clear()
            if stale:
                self._before.clear()
            self._turned_s = now_s
        self._now.add(seconds)

    @property
    def count(self) -> int:
        """Durations counted in the window."""
        return self._now.count + self._before.count

    def percentile(self, share: float) -> float | None:
        """Return the duration that `share` (0 to 1) of the recent ones do not exceed; None where there are none."""
        found = percentiles(self.halves, (share,))
        return None if found is None else found[0]

    @property
    def halves(self) -> tuple[Histogram, Histogram]:
        """The two histograms."""
        return self._now, self._before
