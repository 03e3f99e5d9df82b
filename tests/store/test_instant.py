"""Points in time go into the database and come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.store.instant import from_us, to_us


@settings(derandomize=True, deadline=None)
@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_a_point_in_time_comes_back_exactly(instant: datetime) -> None:
    """Microseconds are kept, and the zone becomes UTC."""
    back = from_us(to_us(instant))
    assert back == instant
    assert back.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    """It could be any of 24 points in time."""
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
