"""The history store: order, what comes back, pruning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge_agent.store.database import Database
from edge_agent.store.history import HistoryStore, StoredTurn

_START = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)


def _turn(number: int) -> StoredTurn:
    return StoredTurn(
        turn=number,
        started_at=_START + timedelta(minutes=number),
        heard=f"set a timer for {number} minutes",
        reply="Läuft, 好的",
        source="intent",
        language="en",
        intent="timer_set",
        slots={"minutes": number, "share": 0.5, "name": "tea"},
    )


async def test_turns_come_back_as_they_were(database: Database) -> None:
    """All fields, also empty ones, the oldest of the last ones first."""
    store = HistoryStore(database)
    silent = StoredTurn(9, _START, heard=None, reply=None, source="none", language="zh")
    await store.append([_turn(1), _turn(2)])
    await store.append([silent])
    await store.append([])
    assert await store.recent(10) == (_turn(1), _turn(2), silent)
    assert await store.recent(2) == (_turn(2), silent)
    assert await store.recent(0) == ()


async def test_pruning_by_number_and_by_age(database: Database) -> None:
    """More than one transaction's worth goes, and the count is right."""
    store = HistoryStore(database)
    await store.append([_turn(number) for number in range(1300)])
    assert await store.prune(most=1200) == 100
    assert await store.prune(most=1200) == 0
    assert await store.prune(older_than=_START + timedelta(minutes=1290)) == 1190
    assert [turn.turn for turn in await store.recent(100)] == list(range(1290, 1300))
    assert await store.clear() == 10
    assert await store.recent(1) == ()
