"""The outbox: order, bounds, counting what is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import StoreError
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database
from edge_agent.store.outbox import OutboxMessage, OutboxStatistics, OutboxStore

_START = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)


def _message(number: int, size_bytes: int = 10) -> OutboxMessage:
    return OutboxMessage(
        f"{number:08}", "edge-agent/one/event/door", bytes(size_bytes), _START + timedelta(seconds=number)
    )


async def test_messages_wait_in_order_until_they_are_removed(database: Database) -> None:
    """Peeking leaves them, attempts are counted, removing takes exactly those named."""
    store = OutboxStore(database)
    first, second, third = (_message(number) for number in (2, 1, 3))
    assert await store.append([first, second]) == 0
    assert await store.append([third]) == 0
    assert await store.peek(2) == (first, second)
    assert await store.attempted([first.id]) == 1
    assert await store.peek(9) == (replace(first, attempts=1), second, third)
    assert await store.remove([second.id, "unknown"]) == 1
    assert await store.remove([]) == 0
    assert [message.id for message in await store.peek(9)] == [first.id, third.id]
    assert await store.statistics() == OutboxStatistics(
        2, first.size_bytes + third.size_bytes, _START + timedelta(seconds=2), 0, 0
    )


async def test_appending_again_changes_nothing(database: Database) -> None:
    """Who was cut off in the middle of appending does it again, and the message is there once, in its old place."""
    store = OutboxStore(database)
    await store.append([_message(1), _message(2)])
    await store.append([replace(_message(1), payload=b"other"), _message(3)])
    assert await store.peek(9) == (_message(1), _message(2), _message(3))
    assert (await store.statistics()).waiting == 3


async def test_the_oldest_make_room_and_are_counted(database: Database) -> None:
    """By number, by bytes, and over a restart of the store with narrower bounds."""
    store = OutboxStore(database, most=3)
    assert await store.append([_message(number) for number in range(5)]) == 2
    assert [message.id for message in await store.peek(9)] == ["00000002", "00000003", "00000004"]
    narrow = OutboxStore(database, most_bytes=2 * _message(0).size_bytes)
    assert await narrow.append([_message(5)]) == 2
    assert [message.id for message in await narrow.peek(9)] == ["00000004", "00000005"]
    assert (await narrow.statistics()).dropped_full == 4
    with pytest.raises(StoreError, match="does not fit"):
        await narrow.append([_message(6, 10_000)])
    assert (await narrow.statistics()).waiting == 2


async def test_pruning_by_age_is_counted_apart(database: Database) -> None:
    """What was dropped for its age is told from what was dropped for want of room."""
    store = OutboxStore(database)
    await store.append([_message(number) for number in range(1200)])
    assert await store.prune(_START + timedelta(seconds=1100)) == 1100
    assert await store.prune(_START) == 0
    statistics = await store.statistics()
    assert (statistics.waiting, statistics.dropped_full, statistics.dropped_old) == (100, 0, 1100)
    assert statistics.oldest_at == _START + timedelta(seconds=1100)


_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 60), min_size=1, max_size=6)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 40), max_size=4)),
        st.tuples(st.just("reopen"), st.just([])),
    ),
    max_size=12,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(operations=_OPERATIONS, most=st.integers(1, 8), most_bytes=st.integers(700, 1500))
def test_order_bounds_and_counts_hold_whatever_happens(
    operations: list[tuple[str, list[int]]], most: int, most_bytes: int
) -> None:
    """The table is a list from which the oldest fall out; the totals always agree with it."""

    async def run(directory: Path) -> None:
        pool = Pool("file_io", most_workers=2)
        model: list[OutboxMessage] = []
        made = dropped = 0
        database = Database(directory / "state.db", pool, readers=1)
        await database.__aenter__()
        for name, numbers in operations:
            store = OutboxStore(database, most=most, most_bytes=most_bytes)
            if name == "append":
                batch = [_message(made + at, size) for at, size in enumerate(numbers)]
                made += len(batch)
                model += batch
                while len(model) > most or sum(message.size_bytes for message in model) > most_bytes:
                    model.pop(0)
                    dropped += 1
                await store.append(batch)
            elif name == "remove":
                ids = {f"{number:08}" for number in numbers}
                expected = sum(message.id in ids for message in model)
                assert await store.remove(ids) == expected
                model = [message for message in model if message.id not in ids]
            else:
                await database.__aexit__(None, None, None)
                database = Database(directory / "state.db", pool, readers=1)
                await database.__aenter__()
        store = OutboxStore(database, most=most, most_bytes=most_bytes)
        assert await store.peek(100) == tuple(model)
        statistics = await store.statistics()
        assert (statistics.waiting, statistics.dropped_full) == (len(model), dropped)
        assert statistics.size_bytes == sum(message.size_bytes for message in model)
        assert statistics.waiting <= most
        assert statistics.size_bytes <= most_bytes
        await database.__aexit__(None, None, None)
        await pool.close()

    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))
