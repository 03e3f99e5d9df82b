"""Histograms: percentiles are close, and never too low; old times are forgotten."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.runtime.histogram import Histogram, RecentHistogram, percentiles

_WIDEST = 2 ** (1 / 8) * (1 + 1e-9)
DURATIONS = st.lists(st.floats(1e-6, 3600.0), min_size=1, max_size=60)
SHARES = st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0])


def true_percentile(durations: list[float], share: float) -> float:
    """Return the smallest duration that `share` of all do not exceed."""
    return sorted(durations)[max(1, math.ceil(share * len(durations))) - 1]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(DURATIONS, SHARES)
def test_a_percentile_is_at_most_9_percent_above_the_true_one(durations: list[float], share: float) -> None:
    """From 1 µs to an hour, and never below it."""
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    found, true = histogram.percentile(share), true_percentile(durations, share)
    assert found is not None
    assert true * (1 - 1e-9) <= found <= true * _WIDEST


@settings(derandomize=True, deadline=None, max_examples=200)
@given(DURATIONS, DURATIONS, SHARES)
def test_histograms_together_are_like_one(first: list[float], second: list[float], share: float) -> None:
    """Adding up classes is adding up durations."""
    halves, whole = (Histogram(), Histogram()), Histogram()
    for half, durations in zip(halves, (first, second), strict=True):
        for duration in durations:
            half.add(duration)
            whole.add(duration)
    found = percentiles(halves, (share,))
    assert found == (None if whole.percentile(share) is None else (whole.percentile(share),))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.floats(0.0, 1e9), max_size=60))
def test_count_total_and_largest_are_exact(durations: list[float]) -> None:
    """Also for durations beyond the classes, whose percentiles stop at the largest one."""
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    assert histogram.count == len(durations)
    assert histogram.total_s == pytest.approx(sum(durations))
    assert histogram.largest_s == max(durations, default=0.0)
    found = histogram.percentile(1.0)
    assert (found is None) == (not durations)
    assert found is None or found <= max(histogram.largest_s, 1e-6)


def test_clearing_forgets_everything() -> None:
    """It is as new."""
    histogram = Histogram()
    histogram.add(3.0)
    histogram.clear()
    assert (histogram.count, histogram.total_s, histogram.largest_s) == (0, 0.0, 0.0)
    assert histogram.percentile(0.5) is None


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=80))
def test_recent_times_are_kept_and_older_ones_forgotten(pauses_s: list[float]) -> None:
    """What ended within the last window counts, what ended three windows before the last addition does not."""
    window_s, now_s = 10.0, 0.0
    recent = RecentHistogram(window_s)
    ended: list[float] = []
    for pause_s in pauses_s:
        now_s += pause_s
        recent.add(0.01, now_s)
        ended.append(now_s)
    surely = sum(now_s - at_s < window_s for at_s in ended)
    possibly = sum(now_s - at_s < 3 * window_s for at_s in ended)
    assert surely <= recent.count <= possibly


def test_a_slow_time_is_forgotten() -> None:
    """The p99 of the start is not the p99 of to-day."""
    recent = RecentHistogram(60.0)
    recent.add(5.0, now_s=0.0)
    for second in range(1, 200):
        recent.add(0.001, now_s=float(second))
    assert recent.percentile(1.0) == pytest.approx(0.001)
