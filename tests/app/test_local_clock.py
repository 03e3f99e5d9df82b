"""The device's clock follows the C library's rules, as the database of zones has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from zone_clock import ZoneClock

from edge_agent.app.local_clock import LocalClock
from edge_agent.reason.recurrence import instant


@pytest.fixture(autouse=True)
def zone_is_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The C library keeps the zone beyond the environment."""
    with monkeypatch.context():
        yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"])
def test_localizing_agrees_with_the_zone_database(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten minutes around each of a year's changes, gaps and folds included."""
    monkeypatch.setenv("TZ", zone)
    clock, reference = LocalClock(), ZoneClock("2026-01-01 00:00", zone)
    at = datetime.fromisoformat("2026-01-01 00:00")
    previous = None
    changes = 0
    while at.year == 2026:
        offset = clock.localize(at).utcoffset()
        if previous is not None and offset != previous:
            changes += 1
            for minutes in range(-300, 300, 10):
                for fold in (0, 1):
                    there = (at + timedelta(minutes=minutes)).replace(fold=fold)
                    assert clock.localize(there).astimezone(UTC) == reference.localize(there).astimezone(UTC)
                    assert instant(clock, there) == instant(reference, there)
        previous = offset
        at += timedelta(hours=4)
    assert changes == (0 if zone == "Asia/Kathmandu" else 2)


def test_a_zone_that_is_changed_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a restart."""
    clock = LocalClock()
    noon = datetime.fromisoformat("2026-07-01 12:00")
    for zone, hour in (("Europe/Berlin", 10), ("America/New_York", 16)):
        monkeypatch.setenv("TZ", zone)
        assert clock.localize(noon).astimezone(UTC).hour == hour
        assert clock.now().utcoffset() == clock.localize(clock.now().replace(tzinfo=None)).utcoffset()


def test_monotonic_time_goes_on() -> None:
    """Never back."""
    clock = LocalClock()
    assert clock.monotonic() <= clock.monotonic()
