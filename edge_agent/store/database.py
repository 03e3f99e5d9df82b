"""The device's SQLite database: one writer, a few readers, every job on a pool and in a transaction of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from edge_agent.errors import JobTimeoutError, StoreError
from edge_agent.runtime.pool import Priority
from edge_agent.store.desk import Desk
from edge_agent.store.migrations import MIGRATIONS
from edge_agent.store.opening import Opening

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from edge_agent.runtime.pool import Pool
    from edge_agent.store.connection import StoreConnection, Transaction
    from edge_agent.store.migrations import Migration

T = TypeVar("T")

_log = logging.getLogger(__name__)

_WAITING_JOBS = 64
"""Jobs that may wait for the writer, and as many for a reader."""
_OPEN_S = 60.0
"""A quick check reads the whole file; a full card of the slowest kind reads 10 MB a second."""
_JOB_S = 10.0
_UPKEEP_S = 60.0
_PATIENCE_S = 1.5
"""How long closing waits for jobs, and again after it has stopped them; shutdown as a whole has 5 s."""


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """What the database has done since it was opened.

    Attributes:
        writes: Transactions committed.
        reads: Reads completed.
        failed: Jobs that raised, timed out, were refused or cancelled.
        writing: Whether the writer is busy.
        reading: Readers that are busy.
        waiting: Jobs that wait for a connection.
        set_aside: Where a corrupt file was moved at opening.
    """

    writes: int
    reads: int
    failed: int
    writing: bool
    reading: int
    waiting: int
    set_aside: Path | None


class Database:
    """An async context manager; its methods belong to the loop.

    Jobs get a connection and return plain values, never a cursor. They run on a pool's thread, so they touch no state
    of the loop. A job that raises, times out or is cancelled leaves no trace in the database, except one whose commit
    was already under way.

    Args:
        path: The file; its directory is made where it is missing.
        pool: Where jobs run. Must outlive the database.
        readers: Reads that run side by side, and beside a write.
        set_aside: Is told, on the loop, where a corrupt file was moved before an empty one was begun.
        migrations: The schema.
    """

    def __init__(
        self,
        path: Path,
        pool: Pool,
        *,
        readers: int = 2,
        set_aside: Callable[[Path], None] | None = None,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        if readers < 1:
            raise ValueError("a database has at least one reader")
        self.path = path
        self._pool = pool
        self._readers = readers
        self._tell = set_aside
        self._migrations = tuple(migrations)
        self._writing: Desk | None = None
        self._reading: Desk | None = None
        self._set_aside: Path | None = None
        self._writes = self._reads = self._failed = 0

    async def __aenter__(self) -> Self:
        """Open, check and migrate the file.

        Raises:
            StoreError: It can't be opened, or a newer edge_agent or another program wrote it.
            JobTimeoutError: That took longer than a minute.
            PoolBusyError: The pool is full.
        """
        opening = Opening(self.path, self._readers, self._migrations)
        try:
            writer, readers = await self._pool.run(
                opening.perform, kind="store.open", timeout_s=_OPEN_S, stop=opening.stop
            )
        except BaseException:
            opening.stop()
            raise
        self._set_aside = opening.set_aside
        self._writing = Desk(self.path, (writer,), _WAITING_JOBS)
        self._reading = Desk(self.path, readers, _WAITING_JOBS)
        if self._set_aside is not None and self._tell is not None:
            self._tell(self._set_aside)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for jobs, stop those that take too long, and close the connections; the file is then one file again."""
        # Readers first: the last connection to close empties the write-ahead log.
        desks = self._desk("read"), self._desk("write")
        self._writing = self._reading = None
        for desk in desks:
            desk.close()
        try:
            if not await self._go_home(*desks):
                for desk in desks:
                    desk.stop_all()
                if not await self._go_home(*desks):
                    _log.error(
                        "%s: %d jobs do not end, and are left behind", self.path, sum(desk.lent for desk in desks)
                    )
        finally:
            free = [connection for desk in desks for connection in desk.abandon()]
            await self._pool.run(lambda: _close(free), kind="store.close", priority=Priority.HIGH)

    async def write(
        self,
        job: Callable[[StoreConnection], T],
        *,
        kind: str = "store.write",
        durable: bool = True,
        priority: Priority = Priority.NORMAL,
        timeout_s: float = _JOB_S,
    ) -> T:
        """Run `job` as one transaction and return its result; writes follow one another in order.

        With `durable` the transaction survives a power cut once this returns; without, it survives the end of the
        process, and a power cut may take the last ones, whole.

        Args:
            job: Gets the connection, on a pool's thread.
            kind: What the metrics count it as.
            durable: Whether it must survive a power cut.
            priority: Its place in the pool's queue.
            timeout_s: From now, waiting included.

        Raises:
            StoreError: The database can't be read or written.
            JobTimeoutError: It took too long, and is rolled back.
            BusyError: Too many jobs wait.
        """
        result = await self._perform("write durably" if durable else "write", job, kind, priority, timeout_s)
        self._writes += 1
        return result

    async def read(
        self,
        job: Callable[[StoreConnection], T],
        *,
        kind: str = "store.read",
        priority: Priority = Priority.NORMAL,
        timeout_s: float = _JOB_S,
    ) -> T:
        """Run `job` on one state of the database, whatever is written meanwhile, and return its result.

        Raises:
            StoreError: The database can't be read, or the job tried to write.
            JobTimeoutError: It took too long, and is stopped.
            BusyError: Too many jobs wait.
        """
        result = await self._perform("read", job, kind, priority, timeout_s)
        self._reads += 1
        return result

    async def optimize(self) -> None:
        """Let SQLite look after its statistics of tables. For idle time, about daily.

        Raises:
            StoreError: The database can't be written.
            JobTimeoutError: It took longer than a minute, and is stopped.
            BusyError: Too many jobs wait.
        """
        await self._upkeep(lambda connection: connection.execute("PRAGMA optimize").close(), "store.optimize")

    async def checkpoint(self) -> bool:
        """Move the write-ahead log into the file and empty it; False where a reader kept it from that. For idle time.

        Raises:
            StoreError: The database can't be written.
            JobTimeoutError: It took longer than a minute, and is stopped.
            BusyError: Too many jobs wait.
        """

        def job(connection: StoreConnection) -> bool:
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

        return await self._upkeep(job, "store.checkpoint")

    def statistics(self) -> DatabaseStatistics:
        """Return the database's figures."""
        writing, reading = self._writing, self._reading
        return DatabaseStatistics(
            writes=self._writes,
            reads=self._reads,
            failed=self._failed,
            writing=bool(writing and writing.lent),
            reading=reading.lent if reading else 0,
            waiting=sum(desk.waiting for desk in (writing, reading) if desk),
            set_aside=self._set_aside,
        )

    async def _upkeep(self, job: Callable[[StoreConnection], T], kind: str) -> T:
        return await self._perform("none", job, kind, Priority.LOW, _UPKEEP_S)

    async def _perform(
        self,
        transaction: Transaction,
        job: Callable[[StoreConnection], T],
        kind: str,
        priority: Priority,
        timeout_s: float,
    ) -> T:
        desk = self._desk(transaction)
        ends_s = time.monotonic() + timeout_s
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    loan = await desk.lend()
            except TimeoutError as error:
                raise JobTimeoutError(kind, timeout_s) from error
            try:
                return await self._pool.run(
                    lambda: loan.perform(transaction, job),
                    kind=kind,
                    priority=priority,
                    timeout_s=max(0.0, ends_s - time.monotonic()),
                    stop=loan.stop,
                )
            finally:
                loan.leave()
        except BaseException:
            self._failed += 1
            raise

    def _desk(self, transaction: Transaction) -> Desk:
        desk = self._reading if transaction == "read" else self._writing
        if desk is None:
            raise StoreError(self.path, "is not open")
        return desk

    async def _go_home(self, *desks: Desk) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for desk in desks:
                    await desk.home()
        except TimeoutError:
            return False
        return True


def _close(connections: Sequence[StoreConnection]) -> None:
    for connection in connections:
        connection.close()
