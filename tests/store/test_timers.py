"""The timer store: replacing, removing, refusing what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.runtime.pool import Pool
from edge_agent.store.alarms import StoredAlarm, alarm_of, alarm_row
from edge_agent.store.database import Database
from edge_agent.store.migrations import MIGRATIONS
from edge_agent.store.timers import StoredTimer, TimerStore

_RUNNING = StoredTimer(1, "timer", "tea", 180.0, datetime(2026, 3, 1, 7, 33, 0, 250_000, tzinfo=UTC))
_PAUSED = StoredTimer(2, "timer", "", 60.0, None, 12.5)
_OTHER = StoredTimer(3, "other", "wake up", 0.0, datetime(2026, 3, 2, 6, 0, tzinfo=UTC))


async def test_timers_come_back_as_they_were(database: Database) -> None:
    """Putting again replaces, removing counts, replacing all leaves the given ones."""
    store = TimerStore(database)
    await store.put([_PAUSED, _RUNNING])
    await store.put([_OTHER, replace(_PAUSED, name="eggs")])
    assert await store.all() == (_RUNNING, replace(_PAUSED, name="eggs"), _OTHER)
    assert await store.remove([1, 77]) == 1
    assert await store.remove([]) == 0
    await store.replace([_RUNNING])
    assert await store.all() == (_RUNNING,)
    await store.replace([])
    assert await store.all() == ()


def test_a_timer_is_due_or_paused() -> None:
    """Both and neither are refused before they reach the database."""
    for due_at, left_s in ((None, None), (_OTHER.due_at, 1.0)):
        with pytest.raises(ValueError, match="either"):
            StoredTimer(1, "timer", "", 1.0, due_at, left_s)


_DUE_AT = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
_ALARM = StoredAlarm(1, "work", datetime.fromisoformat("2026-03-04 07:00"), frozenset((0, 4)), _DUE_AT)
_SNOOZED = StoredAlarm(2, "", None, frozenset(), _DUE_AT, _DUE_AT)


async def test_alarms_come_back_as_they_were(database: Database) -> None:
    """Replaced together with the timers, or left alone where only timers are given."""
    store = TimerStore(database)
    await store.replace([_RUNNING], [_SNOOZED, _ALARM])
    assert (await store.all(), await store.alarms()) == ((_RUNNING,), (_ALARM, _SNOOZED))
    await store.replace([])
    assert (await store.all(), await store.alarms()) == ((), (_ALARM, _SNOOZED))
    await store.replace([], [_ALARM])
    assert await store.alarms() == (_ALARM,)


def test_an_alarm_has_a_time() -> None:
    """Neither a time of its own nor a snooze is refused before it reaches the database."""
    with pytest.raises(ValueError, match="time of its own"):
        StoredAlarm(1, "", None, frozenset(), _DUE_AT)


@given(
    st.builds(
        StoredAlarm,
        id=st.integers(1, 2**62),
        name=st.text(),
        local=st.datetimes().flatmap(lambda local: st.sampled_from([local.replace(fold=0), local.replace(fold=1)])),
        weekdays=st.frozensets(st.integers(0, 6)),
        due_at=st.datetimes(timezones=st.just(UTC)),
        snoozed_until=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_a_row_is_the_alarm(alarm: StoredAlarm) -> None:
    """There and back, the second of two equal times included."""
    again = alarm_of(alarm_row(alarm))
    assert again == alarm
    assert alarm.local is not None
    assert again.local is not None
    assert again.local.fold == alarm.local.fold


async def test_a_database_from_before_there_were_alarms(tmp_path: Path, pool: Pool) -> None:
    """It gets their table, and keeps its timers."""
    path = tmp_path / "old.db"
    async with Database(path, pool, migrations=MIGRATIONS[:1]) as database:
        await TimerStore(database).put([_RUNNING])
    async with Database(path, pool) as database:
        store = TimerStore(database)
        await store.replace([*await store.all()], [_ALARM])
        assert (await store.all(), await store.alarms()) == ((_RUNNING,), (_ALARM,))
