"""Opening: what is corrupt is set aside, kept and reported; nothing is lost in silence."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import StoreError
from edge_agent.runtime.pool import Pool
from edge_agent.store.connection import StoreConnection
from edge_agent.store.database import Database
from edge_agent.store.migrations import Migration
from edge_agent.store.opening import KEPT_ASIDE

_SCHEMA: tuple[Migration, ...] = (("CREATE TABLE note (text TEXT)", "CREATE INDEX note_by_text ON note (text)"),)


async def _fill(path: Path, pool: Pool) -> None:
    async with Database(path, pool, migrations=_SCHEMA) as database:

        def job(connection: StoreConnection) -> None:
            connection.executemany("INSERT INTO note VALUES (?)", ((f"note {number:0500}",) for number in range(300)))

        await database.write(job)


def _count(connection: StoreConnection) -> int:
    count: int = connection.execute("SELECT count(*) FROM note").fetchone()[0]
    return count


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def _no_database(path: Path) -> None:
    path.write_bytes(b"these are words, not a database\n" * 400)


def _header_gone(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def _cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _pages_of_rubbish(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096 * 5)


@pytest.mark.parametrize("damage", [_no_database, _header_gone, _cut_off, _pages_of_rubbish])
async def test_a_corrupt_file_is_set_aside_and_a_fresh_one_begun(
    tmp_path: Path, pool: Pool, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The damaged file is kept as it was, and its place is logged and told."""
    path = tmp_path / "state.db"
    await _fill(path, pool)
    damage(path)
    damaged = path.read_bytes()
    told: list[Path] = []
    async with Database(path, pool, migrations=_SCHEMA, set_aside=told.append) as database:
        assert await database.read(_count) == 0
        assert told == [tmp_path / "state.db.corrupt-1"]
        assert database.statistics().set_aside == told[0]
    assert "is corrupt" in caplog.text
    assert str(told[0]) in caplog.text
    assert told[0].read_bytes() == damaged
    async with Database(path, pool, migrations=_SCHEMA, set_aside=told.append):
        assert len(told) == 1


async def test_a_few_corrupt_files_are_kept_and_the_oldest_go(
    tmp_path: Path, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing card does not fill itself up; what is deleted is logged."""
    path = tmp_path / "state.db"
    for number in range(KEPT_ASIDE + 2):
        path.write_bytes(b"damage %d " % number * 400)
        async with Database(path, pool):
            pass
    assert _names(tmp_path) == ["state.db", "state.db.corrupt-3", "state.db.corrupt-4", "state.db.corrupt-5"]
    assert (tmp_path / "state.db.corrupt-5").read_bytes().startswith(b"damage 4 ")
    assert "state.db.corrupt-1 is deleted" in caplog.text


async def test_the_log_of_a_corrupt_file_is_never_played_into_the_new_one(tmp_path: Path, pool: Pool) -> None:
    """The write-ahead log goes with the file that it belongs to."""
    path = tmp_path / "state.db"
    await _fill(path, pool)
    writer = sqlite3.connect(path)
    writer.execute("INSERT INTO note VALUES ('in the log')")
    writer.commit()
    log = path.with_name("state.db-wal").read_bytes()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "state.db").write_bytes(b"damage " * 1000)
    (copy / "state.db-wal").write_bytes(log)
    writer.close()
    assert log
    async with Database(copy / "state.db", pool, migrations=_SCHEMA) as database:
        assert await database.read(_count) == 0
    assert (copy / "state.db.corrupt-1").is_file()


async def test_damage_that_shows_while_running_is_a_store_error(tmp_path: Path, pool: Pool) -> None:
    """The message says that the next start sets it aside."""
    path = tmp_path / "state.db"
    await _fill(path, pool)
    async with Database(path, pool, migrations=_SCHEMA) as database:
        _pages_of_rubbish(path)
        with pytest.raises(StoreError, match="is corrupt; it is set aside"):
            await database.read(lambda connection: connection.execute("SELECT * FROM note NOT INDEXED").fetchall())
