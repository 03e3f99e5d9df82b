"""Messages that wait for the broker: kept in order until they are acknowledged, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import StoreError
from edge_agent.runtime.pool import Priority
from edge_agent.store.instant import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.database import Database

_ROW_BYTES = 100
"""What a message takes beside its own text: keys, index entries, page overhead."""
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message.

    Attributes:
        id: Unique; a UUID.
        created_at: With a time zone; comes back in UTC.
        attempts: How often it was sent and not acknowledged.
    """

    id: str
    topic: str
    payload: bytes
    created_at: datetime
    attempts: int = 0

    @property
    def size_bytes(self) -> int:
        """What it counts for."""
        return len(self.id) + len(self.topic.encode()) + len(self.payload) + _ROW_BYTES


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """The outbox as it stands.

    Attributes:
        waiting: Messages.
        size_bytes: What they count for.
        oldest_at: When the first of them was made.
        dropped_full: Messages lost since the file was begun because there were too many, or too large ones.
        dropped_old: Messages lost because they were too old.
    """

    waiting: int
    size_bytes: int
    oldest_at: datetime | None
    dropped_full: int
    dropped_old: int


class OutboxStore:
    """A queue on disk; what was appended survives a power cut.

    Every method raises StoreError, JobTimeoutError and BusyError as the database does.

    Args:
        most: Messages that may wait; beyond it the oldest are dropped and counted.
        most_bytes: What they may count for together.
    """

    def __init__(self, database: Database, *, most: int = 10_000, most_bytes: int = 16 << 20) -> None:
        if most < 1:
            raise ValueError("an outbox holds at least one message")
        self._database = database
        self._most = most
        self._most_bytes = most_bytes

    async def append(self, messages: Sequence[OutboxMessage]) -> int:
        """Queue messages, all or none, and return how many were dropped to make room.

        One whose id waits already is left as it is, so that who doesn't know whether this succeeded can do it again.

        Raises:
            StoreError: A message alone is larger than the outbox.
        """
        rows = [
            (
                message.id,
                message.topic,
                message.payload,
                to_us(message.created_at),
                message.attempts,
                message.size_bytes,
            )
            for message in messages
        ]
        for *_, size_bytes in rows:
            if size_bytes > self._most_bytes:
                raise StoreError(
                    self._database.path, f"a message of {size_bytes} bytes does not fit into {self._most_bytes}"
                )

        def job(connection: StoreConnection) -> int:
            connection.executemany(
                "INSERT OR IGNORE INTO outbox (id, topic, payload, created_at_us, attempts, size_bytes) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            return self._make_room(connection)

        return await self._database.write(job, kind="outbox.append")

    async def peek(self, most: int) -> tuple[OutboxMessage, ...]:
        """Return the first `most` messages in the order of appending; they stay."""

        def job(connection: StoreConnection) -> list[tuple[str, str, bytes, int, int]]:
            return connection.execute(
                "SELECT id, topic, payload, created_at_us, attempts FROM outbox ORDER BY sequence LIMIT ?",
                (max(0, most),),
            ).fetchall()

        return tuple(
            OutboxMessage(message_id, topic, payload, from_us(created_at_us), attempts)
            for message_id, topic, payload, created_at_us, attempts in await self._database.read(
                job, kind="outbox.peek"
            )
        )

    async def remove(self, ids: Iterable[str]) -> int:
        """Take away messages that were acknowledged; return how many there were.

        A power cut may bring the last ones back: a message is delivered at least once.
        """
        return await self._each("DELETE FROM outbox WHERE id = ?", ids, "outbox.remove")

    async def attempted(self, ids: Iterable[str]) -> int:
        """Count one attempt more for each of these messages; return how many there are."""
        return await self._each("UPDATE outbox SET attempts = attempts + 1 WHERE id = ?", ids, "outbox.attempted")

    async def prune(self, older_than: datetime) -> int:
        """Drop messages made before `older_than`, and return how many that were.

        Only sensible while the clock is right: a board without one may have made messages in the wrong year.
        """
        limit_us = to_us(older_than)

        def job(connection: StoreConnection) -> int:
            dropped = connection.execute(
                "DELETE FROM outbox WHERE sequence IN (SELECT sequence FROM outbox WHERE created_at_us < ? LIMIT ?)",
                (limit_us, _ROWS_AT_ONCE),
            ).rowcount
            connection.execute("UPDATE outbox_totals SET dropped_old = dropped_old + ?", (dropped,))
            return dropped

        dropped = 0
        while count := await self._database.write(job, kind="outbox.prune", durable=False, priority=Priority.LOW):
            dropped += count
        return dropped

    async def statistics(self) -> OutboxStatistics:
        """Return what waits and what was lost."""

        def job(connection: StoreConnection) -> tuple[int, int, int, int, int | None]:
            row: tuple[int, int, int, int, int | None] = connection.execute(
                "SELECT waiting, size_bytes, dropped_full, dropped_old, (SELECT min(created_at_us) FROM outbox) "
                "FROM outbox_totals"
            ).fetchone()
            return row

        waiting, size_bytes, full, old, oldest_us = await self._database.read(job, kind="outbox.statistics")
        return OutboxStatistics(waiting, size_bytes, None if oldest_us is None else from_us(oldest_us), full, old)

    def _make_room(self, connection: StoreConnection) -> int:
        waiting, size_bytes = connection.execute("SELECT waiting, size_bytes FROM outbox_totals").fetchone()
        if waiting <= self._most and size_bytes <= self._most_bytes:
            return 0
        last = 0
        dropped = 0
        for sequence, each_bytes in connection.execute("SELECT sequence, size_bytes FROM outbox ORDER BY sequence"):
            last = sequence
            dropped += 1
            waiting -= 1
            size_bytes -= each_bytes
            if waiting <= self._most and size_bytes <= self._most_bytes:
                break
        connection.execute("DELETE FROM outbox WHERE sequence <= ?", (last,))
        connection.execute("UPDATE outbox_totals SET dropped_full = dropped_full + ?", (dropped,))
        return dropped

    async def _each(self, statement: str, ids: Iterable[str], kind: str) -> int:
        keys = [(one,) for one in ids]
        if not keys:
            return 0
        return await self._database.write(
            lambda connection: connection.executemany(statement, keys).rowcount, kind=kind, durable=False
        )
