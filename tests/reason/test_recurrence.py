"""When a time of day comes, in zones whose clocks are moved."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zone_clock import ZoneClock

from edge_agent.reason.recurrence import EVERY_DAY, instant, next_local

ZONES = [
    "UTC",
    "Europe/Berlin",  # an hour in March and October
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Santiago",  # at midnight
    "Africa/Casablanca",  # back for Ramadan
    "Asia/Kathmandu",  # 5:45, never moved
    "Pacific/Apia",
]
MOMENTS = st.datetimes(datetime.fromisoformat("2012-01-01"), datetime.fromisoformat("2035-12-31"))
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def clock_at(moment: datetime, zone: str) -> ZoneClock:
    """A clock at that moment of UTC."""
    return ZoneClock(moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(), zone)


@pytest.mark.parametrize(
    ("zone", "local", "rings"),
    [
        ("Europe/Berlin", "2026-03-29 01:59", "2026-03-29 01:59+01:00"),
        ("Europe/Berlin", "2026-03-29 02:00", "2026-03-29 03:00+02:00"),
        ("Europe/Berlin", "2026-03-29 02:30", "2026-03-29 03:00+02:00"),
        ("Europe/Berlin", "2026-03-29 02:59", "2026-03-29 03:00+02:00"),
        ("Europe/Berlin", "2026-03-29 03:00", "2026-03-29 03:00+02:00"),
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25 02:30+02:00"),
        ("Australia/Lord_Howe", "2026-10-04 02:10", "2026-10-04 02:30+11:00"),
        ("America/Santiago", "2026-09-06 00:15", "2026-09-06 01:00-03:00"),
        ("Pacific/Apia", "2011-12-30 07:00", "2011-12-31 00:00+14:00"),
    ],
)
def test_a_skipped_time_comes_when_the_gap_ends(zone: str, local: str, rings: str) -> None:
    """The clock jumps over it, and that instant counts; of a time that comes twice, the first one does."""
    clock = ZoneClock("2011-01-01 00:00", zone)
    assert instant(clock, datetime.fromisoformat(local)) == datetime.fromisoformat(rings)


@given(zone=st.sampled_from(ZONES), moment=MOMENTS, at=TIMES, days=st.frozensets(st.integers(0, 6), min_size=1))
def test_the_next_time_is_the_first_one_to_come(zone: str, moment: datetime, at: time, days: frozenset[int]) -> None:
    """Nothing that fits lies between now and it: found by going through every minute of the clock."""
    clock = clock_at(moment, zone)
    local = next_local(clock, at, days=days)
    found = instant(clock, local)
    now = clock.now().astimezone(UTC)
    assert local.time() == at
    assert local.weekday() in days
    assert now < found <= now + timedelta(days=8)
    shown = found.astimezone(clock.zone).replace(tzinfo=None)
    if shown != local:  # skipped: a second before, the clock showed an earlier time, and then a later one
        before = (found - timedelta(seconds=1)).astimezone(clock.zone).replace(tzinfo=None)
        assert before < local < shown
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute < found:
        there = minute.astimezone(clock.zone)
        assert not (there.time() == at and there.weekday() in days), minute
        # Zones have moved their clocks by whole quarters of an hour: what fits does so on one of the minutes looked at.
        minutes_away = (at.hour * 60 + at.minute - there.hour * 60 - there.minute) % 15 or 15
        minute += timedelta(minutes=minutes_away)


@given(zone=st.sampled_from(ZONES), moment=MOMENTS, at=TIMES)
def test_every_day_means_once_a_day(zone: str, moment: datetime, at: time) -> None:
    """Going on from one time to the next for a year, each date comes once and instants only grow."""
    clock = clock_at(moment, zone)
    local = next_local(clock, at)
    for _ in range(366):
        following = next_local(clock, at, days=EVERY_DAY, first=local.date() + timedelta(days=1))
        assert following.date() == local.date() + timedelta(days=1)
        assert instant(clock, following) > instant(clock, local)
        local = following


def test_no_day_is_refused() -> None:
    """An alarm that never rings is a mistake of the program."""
    with pytest.raises(ValueError, match="no 07:00:00 to come"):
        next_local(ZoneClock("2026-03-03 10:05"), time(7), days=())


def test_between_the_two_halves_past_two_the_second_one_is_next() -> None:
    """In the hour that comes twice, what is over once is still to come."""
    clock = ZoneClock("2026-10-25 02:10", "Europe/Berlin")
    clock.pass_time(3600)
    local = next_local(clock, time(2, 30))
    assert (local, local.fold) == (datetime.fromisoformat("2026-10-25 02:30"), 1)
    assert instant(clock, local) == datetime.fromisoformat("2026-10-25 02:30+01:00")
