"""The schema, as numbered steps that only go forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from edge_agent.store.connection import StoreConnection

APPLICATION_ID = 0x65646761
"""SQLite's mark for whose file it is; the letters "edga"."""

Migration = tuple[str, ...]
"""Statements that lead from one version of the schema to the next."""

MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE history (
            id INTEGER PRIMARY KEY,
            turn INTEGER NOT NULL,
            started_at_us INTEGER NOT NULL,
            heard TEXT,
            reply TEXT,
            source TEXT NOT NULL,
            intent TEXT,
            slots TEXT NOT NULL,
            language TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX history_by_start ON history (started_at_us)",
        """
        CREATE TABLE timer (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            duration_s REAL NOT NULL,
            due_at_us INTEGER,
            paused_left_s REAL,
            CHECK ((due_at_us IS NULL) <> (paused_left_s IS NULL))
        ) STRICT
        """,
        # AUTOINCREMENT: a number is never used twice, so order is the order of appending whatever was removed.
        """
        CREATE TABLE outbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            created_at_us INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX outbox_by_creation ON outbox (created_at_us)",
        # Kept by triggers: adding ten thousand sizes up at every append would cost more than the append.
        """
        CREATE TABLE outbox_totals (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            waiting INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            dropped_full INTEGER NOT NULL,
            dropped_old INTEGER NOT NULL
        ) STRICT
        """,
        "INSERT INTO outbox_totals VALUES (1, 0, 0, 0, 0)",
        """
        CREATE TRIGGER outbox_added AFTER INSERT ON outbox BEGIN
            UPDATE outbox_totals SET waiting = waiting + 1, size_bytes = size_bytes + new.size_bytes;
        END
        """,
        """
        CREATE TRIGGER outbox_removed AFTER DELETE ON outbox BEGIN
            UPDATE outbox_totals SET waiting = waiting - 1, size_bytes = size_bytes - old.size_bytes;
        END
        """,
    ),
    (
        # `local` is what the clock on the wall shows; due_at_us is that in the zone of when it was written.
        """
        CREATE TABLE alarm (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            local TEXT,
            is_second INTEGER NOT NULL,
            weekdays INTEGER NOT NULL,
            due_at_us INTEGER NOT NULL,
            snoozed_until_us INTEGER,
            CHECK (local IS NOT NULL OR snoozed_until_us IS NOT NULL)
        ) STRICT
        """,
    ),
    (
        # AUTOINCREMENT: what came first goes first, whatever the clock said at the time.
        """
        CREATE TABLE command (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            reply_topic TEXT NOT NULL,
            correlation BLOB,
            begun_at_us INTEGER NOT NULL,
            result BLOB,
            size_bytes INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX command_by_start ON command (begun_at_us)",
        """
        CREATE TABLE command_totals (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            kept INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL
        ) STRICT
        """,
        "INSERT INTO command_totals VALUES (1, 0, 0)",
        """
        CREATE TRIGGER command_added AFTER INSERT ON command BEGIN
            UPDATE command_totals SET kept = kept + 1, size_bytes = size_bytes + new.size_bytes;
        END
        """,
        """
        CREATE TRIGGER command_changed AFTER UPDATE OF size_bytes ON command BEGIN
            UPDATE command_totals SET size_bytes = size_bytes + new.size_bytes - old.size_bytes;
        END
        """,
        """
        CREATE TRIGGER command_removed AFTER DELETE ON command BEGIN
            UPDATE command_totals SET kept = kept - 1, size_bytes = size_bytes - old.size_bytes;
        END
        """,
        # Topics at which the broker keeps something of ours that has to be taken back one day.
        "CREATE TABLE retained (topic TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    ),
)


def migrate(connection: StoreConnection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Bring a database up to date, each step in its own transaction, and return the number of steps taken. Blocking.

    Raises:
        StoreError: A newer edge_agent wrote it, or it is another program's.
    """
    taken = 0
    while connection.perform("write durably", lambda connection: _step(connection, migrations)):
        taken += 1
    return taken


def _step(connection: StoreConnection, migrations: tuple[Migration, ...]) -> bool:
    # Read inside the transaction: another process may have taken the step meanwhile.
    version = _pragma(connection, "user_version")
    if version > len(migrations):
        raise StoreError(
            connection.path,
            f"a newer edge-agent wrote it (schema {version}, this one knows {len(migrations)}); "
            "install that version again, or move the file away",
        )
    owner = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreError(connection.path, "is another program's database; choose another path, or move the file away")
    if version == len(migrations):
        return False
    for statement in migrations[version]:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version + 1}")
    return True


def _pragma(connection: StoreConnection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
