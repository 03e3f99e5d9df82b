"""Commands that were begun and what came of them, so that one delivered twice runs once, also after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.runtime.pool import Priority
from edge_agent.store.instant import from_us, to_us

if TYPE_CHECKING:
    from datetime import datetime

    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.database import Database

_ROW_BYTES = 120
"""What a command takes beside its own text: keys, index entries, page overhead."""
_ROWS_AT_ONCE = 500
_PATIENCE_S = 3.0
"""Whoever commands waits for this write; a card that is slower than that is as good as broken."""

_COLUMNS = "id, name, reply_topic, correlation, begun_at_us, result"
_Row = tuple[str, str, str, bytes | None, int, bytes | None]


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """One command.

    Attributes:
        id: Chosen by who sent it.
        reply_topic: Where its result goes.
        correlation: What the result carries, so that who sent it knows it again.
        begun_at: With a time zone; comes back in UTC.
        result: As it was published; None while it is under way, or where its end was not lived to see.
    """

    id: str
    name: str
    reply_topic: str
    correlation: bytes | None
    begun_at: datetime
    result: bytes | None = None


class CommandStore:
    """A table of commands; what was begun and what was finished survives a power cut.

    Every method raises StoreError, JobTimeoutError and BusyError as the database does.

    Args:
        most: Commands that are remembered; beyond it the oldest are forgotten.
        most_bytes: What they may count for together.
    """

    def __init__(self, database: Database, *, most: int = 10_000, most_bytes: int = 8 << 20) -> None:
        if most < 1:
            raise ValueError("at least one command is remembered")
        self._database = database
        self._most = most
        self._most_bytes = most_bytes

    async def begin(self, command: StoredCommand, *, forget_before: datetime) -> StoredCommand | None:
        """Note that a command begins; return the one of its id that was noted before instead, where there is one.

        One that began before `forget_before` is forgotten.
        """
        row = (command.id, command.name, command.reply_topic, command.correlation, to_us(command.begun_at))
        size_bytes = _size_bytes(command, b"")
        limit_us = to_us(forget_before)

        def job(connection: StoreConnection) -> _Row | None:
            found: _Row | None = connection.execute(
                f"SELECT {_COLUMNS} FROM command WHERE id = ?",  # noqa: S608 - our own column names
                (command.id,),
            ).fetchone()
            if found is not None and found[4] >= limit_us:
                return found
            connection.execute("DELETE FROM command WHERE id = ?", (command.id,))
            connection.execute(
                "INSERT INTO command (id, name, reply_topic, correlation, begun_at_us, size_bytes) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (*row, size_bytes),
            )
            self._make_room(connection)
            return None

        found = await self._database.write(job, kind="commands.begin", timeout_s=_PATIENCE_S)
        return None if found is None else _command_of(found)

    async def finish(self, command: StoredCommand, result: bytes) -> None:
        """Keep a command's result; one that is forgotten already stays forgotten."""
        size_bytes = _size_bytes(command, result)

        def job(connection: StoreConnection) -> None:
            connection.execute(
                "UPDATE command SET result = ?, size_bytes = ? WHERE id = ?", (result, size_bytes, command.id)
            )
            self._make_room(connection)

        await self._database.write(job, kind="commands.finish", timeout_s=_PATIENCE_S)

    async def unfinished(self, most: int) -> tuple[StoredCommand, ...]:
        """Return the last `most` commands without a result, the oldest first."""

        def job(connection: StoreConnection) -> list[_Row]:
            return connection.execute(
                f"SELECT {_COLUMNS} FROM command WHERE result IS NULL ORDER BY sequence DESC LIMIT ?",  # noqa: S608
                (max(0, most),),
            ).fetchall()

        rows = await self._database.read(job, kind="commands.unfinished")
        return tuple(_command_of(row) for row in reversed(rows))

    async def prune(self, older_than: datetime) -> int:
        """Forget commands that began before `older_than`, and return how many that were."""
        limit_us = to_us(older_than)

        def job(connection: StoreConnection) -> int:
            return connection.execute(
                "DELETE FROM command WHERE sequence IN (SELECT sequence FROM command WHERE begun_at_us < ? LIMIT ?)",
                (limit_us, _ROWS_AT_ONCE),
            ).rowcount

        pruned = 0
        while count := await self._database.write(job, kind="commands.prune", durable=False, priority=Priority.LOW):
            pruned += count
        return pruned

    def _make_room(self, connection: StoreConnection) -> None:
        kept, size_bytes = connection.execute("SELECT kept, size_bytes FROM command_totals").fetchone()
        last = 0
        if kept > self._most or size_bytes > self._most_bytes:
            for sequence, each_bytes in connection.execute(
                "SELECT sequence, size_bytes FROM command ORDER BY sequence"
            ):
                if kept <= self._most and size_bytes <= self._most_bytes:
                    break
                last = sequence
                kept -= 1
                size_bytes -= each_bytes
            connection.execute("DELETE FROM command WHERE sequence <= ?", (last,))


def _size_bytes(command: StoredCommand, result: bytes) -> int:
    texts = (command.id, command.name, command.reply_topic)
    return sum(len(text.encode()) for text in texts) + len(command.correlation or b"") + len(result) + _ROW_BYTES


def _command_of(row: _Row) -> StoredCommand:
    command_id, name, reply_topic, correlation, begun_at_us, result = row
    return StoredCommand(command_id, name, reply_topic, correlation, from_us(begun_at_us), result)
