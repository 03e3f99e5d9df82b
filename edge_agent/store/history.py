"""The conversation as it was held, on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.runtime.pool import Priority
from edge_agent.store.instant import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.database import Database

_ROWS_AT_ONCE = 500
"""Rows deleted in one transaction: others who write wait for milliseconds only."""


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One turn.

    Attributes:
        turn: Its number; counts from 1 at every start of the agent, so it is not unique here.
        started_at: With a time zone; comes back in UTC.
        heard: What was understood.
        reply: The part of the answer that was heard.
        source: Who answered: `intent`, `llm` or `none`.
    """

    turn: int
    started_at: datetime
    heard: str | None
    reply: str | None
    source: str
    language: str
    intent: str | None = None
    slots: Mapping[str, str | int | float] = field(default_factory=dict)


class HistoryStore:
    """The table of turns. Every method raises StoreError, JobTimeoutError and BusyError as the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, turns: Sequence[StoredTurn]) -> None:
        """Keep turns, all or none, in order. A power cut may take the last few seconds' turns."""
        rows = [
            (
                turn.turn,
                to_us(turn.started_at),
                turn.heard,
                turn.reply,
                turn.source,
                turn.intent,
                json.dumps(dict(turn.slots), ensure_ascii=False),
                turn.language,
            )
            for turn in turns
        ]

        def job(connection: StoreConnection) -> None:
            connection.executemany(
                "INSERT INTO history (turn, started_at_us, heard, reply, source, intent, slots, language) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

        await self._database.write(job, kind="history.append", durable=False)

    async def recent(self, most: int) -> tuple[StoredTurn, ...]:
        """Return the last `most` turns, the oldest of them first."""

        def job(
            connection: StoreConnection,
        ) -> list[tuple[int, int, str | None, str | None, str, str, str | None, str]]:
            return connection.execute(
                "SELECT turn, started_at_us, heard, reply, source, language, intent, slots FROM history "
                "ORDER BY id DESC LIMIT ?",
                (max(0, most),),
            ).fetchall()

        rows = await self._database.read(job, kind="history.recent")
        return tuple(
            StoredTurn(turn, from_us(started_at_us), heard, reply, source, language, intent, json.loads(slots))
            for turn, started_at_us, heard, reply, source, language, intent, slots in reversed(rows)
        )

    async def prune(self, *, older_than: datetime | None = None, most: int | None = None) -> int:
        """Delete turns that began before `older_than`, and all but the last `most`; return how many that were.

        Only sensible while the clock is right: a board without one may have begun turns in the wrong year.
        """
        removed = 0
        if older_than is not None:
            removed += await self._delete("SELECT id FROM history WHERE started_at_us < ? LIMIT ?", to_us(older_than))
        if most is not None:
            removed += await self._delete(
                "SELECT id FROM history WHERE id <= (SELECT id FROM history ORDER BY id DESC LIMIT 1 OFFSET ?) LIMIT ?",
                max(0, most),
            )
        return removed

    async def clear(self) -> int:
        """Forget everything; return how many turns that were."""
        return await self.prune(most=0)

    async def _delete(self, chosen: str, argument: int) -> int:
        def job(connection: StoreConnection) -> int:
            cursor = connection.execute(
                f"DELETE FROM history WHERE id IN ({chosen})",  # noqa: S608 - one of the two statements above
                (argument, _ROWS_AT_ONCE),
            )
            return cursor.rowcount

        removed = 0
        while count := await self._database.write(job, kind="history.prune", durable=False, priority=Priority.LOW):
            removed += count
        return removed
