"""Whether something grew."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bench.soak_series import after, grown, last_over_first, quarters, slope_per_hour, warm_up_s


@given(
    slope=st.floats(-1e4, 1e4),
    level=st.floats(0, 1e6),
    every_s=st.floats(1, 60),
    count=st.integers(3, 200),
)
def test_a_line_has_its_own_slope(slope: float, level: float, every_s: float, count: int) -> None:
    """Whatever the pace and wherever it begins."""
    series = [(1000 + every_s * at, level + slope * every_s * at / 3600) for at in range(count)]
    found = slope_per_hour(series)
    assert found is not None
    assert math.isclose(found, slope, rel_tol=1e-3, abs_tol=1e-2)


def test_what_comes_and_goes_is_no_slope() -> None:
    """A voice's process that is seen in every fourth look, for half an hour."""
    series = [(5.0 * at, 100_000.0 + (8000 if at % 4 == 0 else 0)) for at in range(360)]
    found = slope_per_hour(series)
    assert found is not None
    assert abs(found) < 250


@pytest.mark.parametrize("series", [[], [(0.0, 1.0)], [(0.0, 1.0), (5.0, 2.0)], [(5.0, 1.0)] * 4])
def test_too_little_to_tell_is_no_slope(series: list[tuple[float, float]]) -> None:
    """None, and not 0."""
    assert slope_per_hour(series) is None


def test_the_warm_up_is_a_quarter_and_no_more_than_ten_minutes() -> None:
    """Half an hour: seven and a half minutes."""
    assert warm_up_s(1800) == 450
    assert warm_up_s(180) == 45
    assert warm_up_s(10 * 3600) == 600
    assert after([(1.0, 5.0), (2.0, 6.0), (3.0, 7.0)], 2.0) == [(2.0, 6.0), (3.0, 7.0)]


def test_quarters_overlap_only_where_there_is_too_little() -> None:
    """Each holds one value at least."""
    assert quarters([1, 2, 3, 4, 5, 6, 7, 8]) == ([1, 2], [7, 8])
    assert quarters([1]) == ([1], [1])


def test_growth_is_between_the_medians_of_the_quarters() -> None:
    """One thread more for a moment is none that stays."""
    steady = [(float(at), 20.0) for at in range(40)]
    steady[38] = (38.0, 25.0)
    assert grown(steady) == (20, 20)
    leak = [(float(at), 20.0 + at // 10) for at in range(40)]
    assert grown(leak) == (20, 23)
    assert grown([]) is None


def test_delays_of_a_kind_are_compared_with_their_own_kind() -> None:
    """The last quarter holds slow questions only; none of them has become slower."""
    quick = [(place, 300.0) for place in range(6)]
    slow = [(place, 900.0) for place in range(6, 8)]
    assert last_over_first([quick, slow]) == 1.0
    slower = [(place, 300.0 * (1.5 if place >= 12 else 1.0)) for place in range(16)]
    assert last_over_first([slower]) == 1.5
    assert last_over_first([]) is None
