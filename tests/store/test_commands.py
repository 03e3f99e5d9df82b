"""Commands on disk: once begun they are known, within bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent.runtime.pool import Pool
from edge_agent.store.commands import CommandStore, StoredCommand
from edge_agent.store.connection import StoreConnection
from edge_agent.store.database import Database
from edge_agent.store.retained import RetainedStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def a_command(command_id: str, begun_at: datetime = NOON) -> StoredCommand:
    """A command to say something."""
    return StoredCommand(command_id, "say", "replies/me", b"\x00\x01", begun_at)


async def begin(store: CommandStore, command: StoredCommand) -> StoredCommand | None:
    """Begin it at its own time."""
    return await store.begin(command, forget_before=command.begun_at - DAY)


async def test_a_command_is_known_from_its_beginning_over_a_restart(tmp_path: Path, pool: Pool) -> None:
    """Begun it is unfinished, finished it has its result, and comes back whole."""
    async with Database(tmp_path / "state.db", pool) as database:
        assert await begin(CommandStore(database), a_command("a")) is None
    async with Database(tmp_path / "state.db", pool) as database:
        store = CommandStore(database)
        assert await store.unfinished(10) == (a_command("a"),)
        assert await begin(store, a_command("a", NOON + timedelta(hours=1))) == a_command("a")
        await store.finish(a_command("a"), b'{"ok":true}')
        assert await store.unfinished(10) == ()
        assert await begin(store, a_command("a")) == replace(a_command("a"), result=b'{"ok":true}')


async def test_an_id_of_yesterday_is_new_again(database: Database) -> None:
    """After 24 hours it may be used again."""
    store = CommandStore(database)
    await begin(store, a_command("a"))
    later = a_command("a", NOON + DAY + timedelta(seconds=1))
    assert await begin(store, later) is None
    assert await store.unfinished(10) == (later,)
    assert await store.prune(older_than=later.begun_at) == 0
    assert await store.prune(older_than=later.begun_at + timedelta(seconds=1)) == 1


async def test_the_oldest_are_forgotten_when_there_are_too_many_or_too_large_ones(database: Database) -> None:
    """Count and bytes are bounded, results included."""
    few = CommandStore(database, most=3)
    for number in range(5):
        await begin(few, a_command(f"few-{number}"))
    assert [command.id for command in await few.unfinished(10)] == ["few-2", "few-3", "few-4"]
    small = CommandStore(database, most_bytes=1000)
    await small.finish(a_command("few-4"), bytes(700))
    assert [command.id for command in await small.unfinished(10)] == ["few-3"]

    def totals(connection: StoreConnection) -> tuple[int, int]:
        row: tuple[int, int] = connection.execute("SELECT kept, size_bytes FROM command_totals").fetchone()
        counted: tuple[int, int] = connection.execute("SELECT count(*), sum(size_bytes) FROM command").fetchone()
        assert row == counted
        return row

    assert (await database.read(totals))[0] == 2


async def test_the_result_of_a_forgotten_command_is_dropped(database: Database) -> None:
    """It makes no row without a beginning."""
    store = CommandStore(database)
    await store.finish(a_command("gone"), b"{}")
    assert await begin(store, a_command("gone")) is None


async def test_topics_with_something_retained_are_a_set(database: Database) -> None:
    """Noted twice it stands once, and taken away it is gone."""
    store = RetainedStore(database)
    for topic in ("b", "a", "b"):
        await store.add(topic)
    assert await store.all() == {"a", "b"}
    await store.remove("b")
    await store.remove("never")
    assert await store.all() == {"a"}
