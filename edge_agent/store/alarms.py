"""Alarms as rows of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from edge_agent.store.instant import from_us, to_us

if TYPE_CHECKING:
    from edge_agent.store.connection import StoreConnection

    AlarmRow = tuple[int, str, str | None, int, int, int, int | None]

_COLUMNS = "id, name, local, is_second, weekdays, due_at_us, snoozed_until_us"


@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """One alarm.

    Attributes:
        id: Unique, chosen by the caller.
        name: What it was called, or an empty string.
        local: The local date and time, naive, at which it rings next; `fold` is kept. None where only its snooze is
            left.
        weekdays: On which it rings again and again, Monday is 0; empty: once.
        due_at: The instant at which it rings next, its snooze included, in the zone of when it was written; for other
            programs.
        snoozed_until: When its snooze ends; None while it is not snoozed.
    """

    id: int
    name: str
    local: datetime | None
    weekdays: frozenset[int]
    due_at: datetime
    snoozed_until: datetime | None = None

    def __post_init__(self) -> None:
        if self.local is None and self.snoozed_until is None:
            raise ValueError("an alarm has a time of its own, or is snoozed")


def alarm_row(alarm: StoredAlarm) -> AlarmRow:
    """Return an alarm as the database has it."""
    return (
        alarm.id,
        alarm.name,
        None if alarm.local is None else alarm.local.isoformat(),
        0 if alarm.local is None else alarm.local.fold,
        sum(1 << day for day in alarm.weekdays),
        to_us(alarm.due_at),
        None if alarm.snoozed_until is None else to_us(alarm.snoozed_until),
    )


def alarm_of(row: AlarmRow) -> StoredAlarm:
    """Return a row as an alarm."""
    alarm_id, name, local, is_second, mask, due_at_us, snoozed_until_us = row
    return StoredAlarm(
        alarm_id,
        name,
        None if local is None else datetime.fromisoformat(local).replace(fold=is_second),
        frozenset(day for day in range(7) if mask & (1 << day)),
        from_us(due_at_us),
        None if snoozed_until_us is None else from_us(snoozed_until_us),
    )


def put_alarms(connection: StoreConnection, rows: list[AlarmRow]) -> None:
    """Keep these alarms and no others. Part of a transaction."""
    connection.execute("DELETE FROM alarm")
    connection.executemany(
        f"INSERT INTO alarm ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        rows,
    )


def read_alarms(connection: StoreConnection) -> list[AlarmRow]:
    """Return all rows by id."""
    return connection.execute(f"SELECT {_COLUMNS} FROM alarm ORDER BY id").fetchall()  # noqa: S608 - a constant
