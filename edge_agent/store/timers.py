"""Timers and alarms on disk, so that they can ring after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.store.alarms import alarm_of, alarm_row, put_alarms, read_alarms
from edge_agent.store.instant import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from edge_agent.store.alarms import StoredAlarm
    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.database import Database


@dataclass(frozen=True, slots=True)
class StoredTimer:
    """One timer; either runs and is due, or is paused.

    Attributes:
        id: Unique, chosen by the caller.
        kind: What it is, such as `timer`.
        name: What it was called, or an empty string.
        duration_s: What it was set to.
        due_at: When it rings, by the wall clock, with a time zone (UTC when it comes back); None while paused.
        paused_left_s: What is left while paused; None while running.
    """

    id: int
    kind: str
    name: str
    duration_s: float
    due_at: datetime | None
    paused_left_s: float | None = None

    def __post_init__(self) -> None:
        if (self.due_at is None) == (self.paused_left_s is None):
            raise ValueError("a timer either has a time when it is due, or is paused")


class TimerStore:
    """The tables of timers and alarms; what was put survives a power cut.

    Every method raises StoreError, JobTimeoutError and BusyError as the database does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, timers: Sequence[StoredTimer]) -> None:
        """Keep timers, all or none; one of the same id is replaced."""
        rows = [_row(timer) for timer in timers]
        await self._database.write(lambda connection: _put(connection, rows), kind="timers.put")

    async def replace(self, timers: Sequence[StoredTimer], alarms: Sequence[StoredAlarm] | None = None) -> None:
        """Keep these timers and no others; where `alarms` are given, these and no others too, all at once."""
        rows = [_row(timer) for timer in timers]
        alarm_rows = None if alarms is None else [alarm_row(alarm) for alarm in alarms]

        def job(connection: StoreConnection) -> None:
            connection.execute("DELETE FROM timer")
            _put(connection, rows)
            if alarm_rows is not None:
                put_alarms(connection, alarm_rows)

        await self._database.write(job, kind="timers.replace")

    async def alarms(self) -> tuple[StoredAlarm, ...]:
        """Return all alarms by id."""
        rows = await self._database.read(read_alarms, kind="timers.alarms")
        return tuple(alarm_of(row) for row in rows)

    async def remove(self, ids: Iterable[int]) -> int:
        """Delete timers; return how many there were."""
        keys = [(one,) for one in ids]
        return await self._database.write(
            lambda connection: connection.executemany("DELETE FROM timer WHERE id = ?", keys).rowcount,
            kind="timers.remove",
        )

    async def all(self) -> tuple[StoredTimer, ...]:
        """Return all timers by id."""

        def job(connection: StoreConnection) -> list[tuple[int, str, str, float, int | None, float | None]]:
            return connection.execute(
                "SELECT id, kind, name, duration_s, due_at_us, paused_left_s FROM timer ORDER BY id"
            ).fetchall()

        return tuple(
            StoredTimer(timer_id, kind, name, duration_s, None if due_at_us is None else from_us(due_at_us), left_s)
            for timer_id, kind, name, duration_s, due_at_us, left_s in await self._database.read(job, kind="timers.all")
        )


def _row(timer: StoredTimer) -> tuple[int, str, str, float, int | None, float | None]:
    due_at_us = None if timer.due_at is None else to_us(timer.due_at)
    return timer.id, timer.kind, timer.name, timer.duration_s, due_at_us, timer.paused_left_s


def _put(connection: StoreConnection, rows: list[tuple[int, str, str, float, int | None, float | None]]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO timer (id, kind, name, duration_s, due_at_us, paused_left_s) VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
