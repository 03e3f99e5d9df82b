"""The timer store: replacing, removing, refusing what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edge_agent.store.database import Database
from edge_agent.store.timers import StoredTimer, TimerStore

_RUNNING = StoredTimer(1, "timer", "tea", 180.0, datetime(2026, 3, 1, 7, 33, 0, 250_000, tzinfo=UTC))
_PAUSED = StoredTimer(2, "timer", "", 60.0, None, 12.5)
_ALARM = StoredTimer(3, "alarm", "wake up", 0.0, datetime(2026, 3, 2, 6, 0, tzinfo=UTC))


async def test_timers_come_back_as_they_were(database: Database) -> None:
    """Putting again replaces, removing counts, replacing all leaves the given ones."""
    store = TimerStore(database)
    await store.put([_PAUSED, _RUNNING])
    await store.put([_ALARM, replace(_PAUSED, name="eggs")])
    assert await store.all() == (_RUNNING, replace(_PAUSED, name="eggs"), _ALARM)
    assert await store.remove([1, 77]) == 1
    assert await store.remove([]) == 0
    await store.replace([_RUNNING])
    assert await store.all() == (_RUNNING,)
    await store.replace([])
    assert await store.all() == ()


def test_a_timer_is_due_or_paused() -> None:
    """Both and neither are refused before they reach the database."""
    for due_at, left_s in ((None, None), (_ALARM.due_at, 1.0)):
        with pytest.raises(ValueError, match="either"):
            StoredTimer(1, "timer", "", 1.0, due_at, left_s)
