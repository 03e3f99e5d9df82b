"""The database: whole transactions, stopping, order, bounds, closing."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from edge_agent.errors import BusyError, JobTimeoutError, StoreError
from edge_agent.runtime.pool import Pool
from edge_agent.store.connection import StoreConnection
from edge_agent.store.database import Database

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def _insert(connection: StoreConnection, number: int) -> None:
    connection.execute("INSERT INTO note VALUES (?)", (number,))


def _notes(connection: StoreConnection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM note ORDER BY rowid")]


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.fixture
async def notes(database: Database) -> Database:
    """A database with a table to write into."""
    await database.write(lambda connection: connection.execute("CREATE TABLE note (number INTEGER)").close())
    return database


async def test_writes_follow_one_another_and_reads_see_them(notes: Database) -> None:
    """Many writers at once keep the order of their calls."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(notes.write(lambda connection, number=number: _insert(connection, number)))  # type: ignore[misc]
    assert await notes.read(_notes) == list(range(50))
    statistics = notes.statistics()
    assert (statistics.writes, statistics.reads, statistics.failed) == (51, 1, 0)
    assert (statistics.writing, statistics.reading, statistics.waiting) == (False, 0, 0)


async def test_a_job_that_raises_leaves_no_trace(notes: Database) -> None:
    """What it wrote before is rolled back, and the next job works."""

    def job(connection: StoreConnection) -> None:
        _insert(connection, 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await notes.write(job)
    assert await notes.read(_notes) == []
    await notes.write(lambda connection: _insert(connection, 2))
    assert await notes.read(_notes) == [2]


async def test_a_mistake_in_sql_stays_what_it_is(notes: Database) -> None:
    """Only what can happen to a good program becomes a StoreError."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await notes.read(lambda connection: connection.execute("SELECT * FROM absent").fetchall())


async def test_a_read_can_not_write(notes: Database) -> None:
    """A reader refuses."""
    with pytest.raises(StoreError, match="read-only"):
        await notes.read(lambda connection: _insert(connection, 1))


async def test_a_read_sees_one_state_whatever_is_written_meanwhile(notes: Database) -> None:
    """The second look of one job shows what the first did."""
    looked, written = threading.Event(), threading.Event()

    def job(connection: StoreConnection) -> tuple[list[int], list[int]]:
        first = _notes(connection)
        looked.set()
        assert written.wait(10)
        return first, _notes(connection)

    reading = asyncio.create_task(notes.read(job))
    assert await asyncio.to_thread(looked.wait, 10)
    await notes.write(lambda connection: _insert(connection, 1))
    written.set()
    assert await reading == ([], [])
    assert await notes.read(_notes) == [1]


async def test_a_durable_write_syncs_and_another_does_not(notes: Database) -> None:
    """SQLite's `synchronous` is FULL (2) for what must survive a power cut, NORMAL (1) else."""

    def level(connection: StoreConnection) -> int:
        found: int = connection.execute("PRAGMA synchronous").fetchone()[0]
        return found

    assert [await notes.write(level, durable=durable) for durable in (True, False, False, True)] == [2, 1, 1, 2]


async def test_a_read_that_takes_too_long_is_stopped_and_frees_its_connection(tmp_path: Path, pool: Pool) -> None:
    """The caller goes on at once; the only reader works again."""
    async with Database(tmp_path / "one.db", pool, readers=1) as database:
        with pytest.raises(JobTimeoutError, match="slow"):
            await database.read(lambda connection: connection.execute(_ENDLESS).fetchone(), kind="slow", timeout_s=0.05)
        assert await database.read(lambda connection: connection.execute("SELECT 7").fetchone()) == (7,)
        assert database.statistics().failed == 1


async def test_a_cancelled_write_is_rolled_back_also_between_two_statements(notes: Database) -> None:
    """A loop of small statements ends at the next one."""
    began = threading.Event()

    def job(connection: StoreConnection) -> None:
        while True:
            _insert(connection, 1)
            began.set()

    def many(connection: StoreConnection) -> None:
        began.set()
        connection.executemany("INSERT INTO note VALUES (?)", iter(lambda: (1,), None))

    for endless in (job, many):
        began.clear()
        writing = asyncio.create_task(notes.write(endless))
        assert await asyncio.to_thread(began.wait, 10)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await notes.read(_notes) == []
        await notes.write(lambda connection: connection.execute("SELECT 1").close())


async def test_a_job_that_swallows_its_stop_is_not_committed(notes: Database) -> None:
    """A stopped transaction is rolled back even where its job goes on as if nothing had happened."""
    began, go_on = threading.Event(), threading.Event()

    def job(connection: StoreConnection) -> None:
        _insert(connection, 1)
        began.set()
        assert go_on.wait(10)

    writing = asyncio.create_task(notes.write(job))
    assert await asyncio.to_thread(began.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    await notes.write(lambda connection: _insert(connection, 2))
    assert await notes.read(_notes) == [2]


async def test_jobs_that_wait_are_bounded_and_their_patience_too(tmp_path: Path, pool: Pool) -> None:
    """While the writer is held, some wait, some give up, and the rest are refused; then all goes on."""
    async with Database(tmp_path / "state.db", pool) as database:
        held, release = threading.Event(), threading.Event()

        def hold(_: StoreConnection) -> None:
            held.set()
            assert release.wait(10)

        holding = asyncio.create_task(database.write(hold))
        assert await asyncio.to_thread(held.wait, 10)
        waiting = [asyncio.create_task(database.write(lambda _: None)) for _ in range(63)]
        impatient = asyncio.create_task(database.write(lambda _: None, timeout_s=0.01))
        await asyncio.sleep(0)
        assert database.statistics().waiting == 64
        with pytest.raises(BusyError):
            await database.write(lambda _: None)
        with pytest.raises(JobTimeoutError):
            await impatient
        waiting[0].cancel()
        release.set()
        await holding
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [outcome for outcome in outcomes if outcome is not None] == [outcomes[0]]
        assert database.statistics().waiting == 0


async def test_a_job_that_never_began_gives_its_connection_back(tmp_path: Path) -> None:
    """Timed out in the pool's queue it never runs, and the writer is free."""
    pool = Pool("file_io", most_workers=1)
    async with Database(tmp_path / "state.db", pool) as database:
        release = threading.Event()
        blocking = asyncio.create_task(pool.run(lambda: release.wait(10)))
        await asyncio.sleep(0)
        ran: list[bool] = []
        with pytest.raises(JobTimeoutError):
            await database.write(lambda _: ran.append(True), timeout_s=0.01)
        release.set()
        await blocking
        await database.write(lambda _: None)
        assert ran == []
    await pool.close()


async def test_a_full_disk_is_a_store_error_and_leaves_what_was_there(notes: Database) -> None:
    """SQLITE_FULL, here from a limit on pages; the transaction is gone whole, and reading goes on."""
    await notes.write(lambda connection: _insert(connection, 1))

    def fill(connection: StoreConnection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        connection.execute("CREATE TABLE blob (content BLOB)")
        for _ in range(10):
            connection.execute("INSERT INTO blob VALUES (zeroblob(8192))")

    with pytest.raises(StoreError, match="the disk is full"):
        await notes.write(fill)
    assert await notes.read(_notes) == [1]


async def test_another_process_may_use_the_file_too(notes: Database) -> None:
    """WAL: a foreign reader is no hindrance, and sees what is committed."""
    await notes.write(lambda connection: _insert(connection, 1))
    other = sqlite3.connect(notes.path)
    try:
        assert other.execute("SELECT number FROM note").fetchall() == [(1,)]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        other.close()


async def test_the_files_are_the_owners_alone(tmp_path: Path, pool: Pool) -> None:
    """Conversations are private: mode 0600, also for a file that was more open, and for what SQLite keeps beside it."""
    path = tmp_path / "deep" / "state.db"
    path.parent.mkdir()
    path.touch(mode=0o644)
    async with Database(path, pool) as database:
        await database.write(lambda connection: connection.execute("CREATE TABLE note (number INTEGER)").close())
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert _names(path.parent) == ["state.db"]


async def test_a_place_that_can_not_be_written_is_named(tmp_path: Path, pool: Pool) -> None:
    """A directory in the file's place, a file in the directory's."""
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "state.db"):
        with pytest.raises(StoreError, match="can't be opened"):
            async with Database(path, pool):
                pass


async def test_a_checkpoint_empties_the_log_unless_a_reader_needs_it(notes: Database) -> None:
    """And optimizing is no write."""
    for number in range(20):
        await notes.write(lambda connection, number=number: _insert(connection, number))  # type: ignore[misc]
    log = notes.path.with_name("state.db-wal")
    assert log.stat().st_size > 0
    assert await notes.checkpoint()
    assert log.stat().st_size == 0
    await notes.optimize()
    assert await notes.read(_notes) == list(range(20))


async def test_closing_waits_for_jobs_under_way(tmp_path: Path, pool: Pool) -> None:
    """The last write is committed, then there is one file again and no job is taken any more."""
    path = tmp_path / "state.db"
    began, go_on = threading.Event(), threading.Event()

    def job(connection: StoreConnection) -> None:
        began.set()
        assert go_on.wait(10)
        connection.execute("CREATE TABLE note (number INTEGER)")

    database = await Database(path, pool).__aenter__()
    writing = asyncio.create_task(database.write(job))
    assert await asyncio.to_thread(began.wait, 10)
    closing = asyncio.create_task(database.__aexit__(None, None, None))
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="not open"):
        await database.read(_notes)
    go_on.set()
    await closing
    await writing
    assert _names(tmp_path) == ["state.db"]
    async with Database(path, pool) as database:
        assert await database.read(_notes) == []


async def test_closing_stops_a_job_that_takes_too_long(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for it hears why; one who waits for the connection does not get it."""
    monkeypatch.setattr("edge_agent.store.database._PATIENCE_S", 0.02)
    async with Database(tmp_path / "state.db", pool, readers=1) as database:
        endless = [
            asyncio.create_task(database.read(lambda connection: connection.execute(_ENDLESS).fetchone(), timeout_s=60))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
    for task, said in zip(endless, ("stopped", "closed", "closed"), strict=True):
        with pytest.raises(StoreError, match=said):
            await task
    assert _names(tmp_path) == ["state.db"]


async def test_closing_does_not_wait_for_a_job_that_hangs(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left behind, loudly, and its connection is closed when it ends."""
    monkeypatch.setattr("edge_agent.store.database._PATIENCE_S", 0.02)
    held, release = threading.Event(), threading.Event()
    connections: list[StoreConnection] = []

    def hang(connection: StoreConnection) -> None:
        connections.append(connection)
        held.set()
        assert release.wait(10)

    async with Database(tmp_path / "state.db", pool) as database:
        hanging = asyncio.create_task(database.write(hang))
        assert await asyncio.to_thread(held.wait, 10)
    assert "left behind" in caplog.text
    release.set()
    with pytest.raises(StoreError, match="stopped"):
        await hanging
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].interrupt()


async def test_opening_that_is_cancelled_leaves_no_connection(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gave up does not get them; the thread closes them."""
    checking, go_on = threading.Event(), threading.Event()

    def slow(connection: StoreConnection, migrations: object) -> None:
        checking.set()
        assert go_on.wait(10)

    monkeypatch.setattr("edge_agent.store.opening.migrate", slow)
    opening = asyncio.create_task(Database(tmp_path / "state.db", pool).__aenter__())
    assert await asyncio.to_thread(checking.wait, 10)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go_on.set()
    await pool.close()
    assert _names(tmp_path) == ["state.db"]
