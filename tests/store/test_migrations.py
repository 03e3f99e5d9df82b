"""Migrations go forward, step by step, each whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.errors import StoreError
from edge_agent.runtime.pool import Pool
from edge_agent.store.connection import StoreConnection
from edge_agent.store.database import Database
from edge_agent.store.migrations import MIGRATIONS, Migration

_FIRST: Migration = ("CREATE TABLE note (number INTEGER)", "INSERT INTO note VALUES (1)")
_SECOND: Migration = ("ALTER TABLE note ADD COLUMN text TEXT NOT NULL DEFAULT 'old'",)
_BROKEN: Migration = ("INSERT INTO note VALUES (2, 'lost')", "INSERT INTO absent VALUES (1)")


def _version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return version
    finally:
        connection.close()


def _notes(connection: StoreConnection) -> list[tuple[int, str]]:
    return connection.execute("SELECT * FROM note").fetchall()


async def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path, pool: Pool) -> None:
    """Only the missing steps are taken."""
    path = tmp_path / "state.db"
    async with Database(path, pool, migrations=(_FIRST,)):
        pass
    assert _version(path) == 1
    for _ in range(2):
        async with Database(path, pool, migrations=(_FIRST, _SECOND)) as database:
            assert await database.read(_notes) == [(1, "old")]
    assert _version(path) == 2


async def test_a_step_that_fails_leaves_the_version_before_it(tmp_path: Path, pool: Pool) -> None:
    """Steps before it stay, its own statements are rolled back, and a mended program goes on from there."""
    path = tmp_path / "state.db"
    with pytest.raises(sqlite3.OperationalError, match="absent"):
        async with Database(path, pool, migrations=(_FIRST, _SECOND, _BROKEN)):
            pass
    assert _version(path) == 2
    async with Database(path, pool, migrations=(_FIRST, _SECOND)) as database:
        assert await database.read(_notes) == [(1, "old")]


async def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path, pool: Pool) -> None:
    """The message says which versions, and what to do."""
    path = tmp_path / "state.db"
    async with Database(path, pool, migrations=(_FIRST, _SECOND)):
        pass
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"schema 2, this one knows 1.*install that version"):
        async with Database(path, pool, migrations=(_FIRST,)):
            pass
    assert path.read_bytes() == before


async def test_another_programs_database_is_refused(tmp_path: Path, pool: Pool) -> None:
    """Its tables stay its own."""
    path = tmp_path / "state.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE history (visited TEXT)")
    foreign.commit()
    foreign.close()
    with pytest.raises(StoreError, match="another program's"):
        async with Database(path, pool):
            pass


async def test_the_schema_of_today(tmp_path: Path, pool: Pool) -> None:
    """The real steps make the tables that the stores use."""
    path = tmp_path / "state.db"
    async with Database(path, pool) as database:
        tables = await database.read(
            lambda connection: connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
            ).fetchall()
        )
    assert " ".join(name for (name,) in tables) == (
        "alarm command command_totals history outbox outbox_totals retained timer"
    )
    assert _version(path) == len(MIGRATIONS)
