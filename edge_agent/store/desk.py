"""Hands connections out, one job each, and takes them back when the job has really ended."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import BusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.store.connection import StoreConnection, Transaction

T = TypeVar("T")


class Loan:
    """One job's hold on a connection.

    Who awaits a job may be gone (cancelled, timed out) while the job still runs, so a connection comes back from the
    thread, not from the awaiting coroutine; except where the job never began.
    """

    def __init__(self, connection: StoreConnection, desk: Desk) -> None:
        self._connection = connection
        self._desk = desk
        self._lock = threading.Lock()
        self._begun = False
        self._over = False

    def perform(self, transaction: Transaction, job: Callable[[StoreConnection], T]) -> T:
        """Run `job` on the connection, then give it back. Called on a pool's thread.

        Raises:
            StoreError: The database can't be read or written, or the job was stopped.
        """
        with self._lock:
            if self._over:
                raise StoreError(self._connection.path, "a job on it was stopped")
            self._begun = True
            self._connection.reset()
        try:
            return self._connection.perform(transaction, job)
        finally:
            with self._lock:
                self._over = True
            self._desk.return_from_thread(self._connection)

    def stop(self) -> None:
        """End the job if it runs. Any thread may call it."""
        with self._lock:
            if self._begun and not self._over:
                self._connection.stop()

    def leave(self) -> None:
        """Nobody waits for the job any more: it ends if it runs, and never begins if it waits. Belongs to the loop."""
        with self._lock:
            if self._over:
                return
            if self._begun:
                self._connection.stop()
                return
            self._over = True
        self._desk.give_back(self._connection)


class Desk:
    """Connections of one kind. Belongs to the loop, except where it says otherwise.

    Args:
        path: The database, for messages.
        depth: Jobs that may wait for a connection; more are refused.
    """

    def __init__(self, path: Path, connections: tuple[StoreConnection, ...], depth: int) -> None:
        self._path = path
        self._depth = depth
        self._loop = asyncio.get_running_loop()
        self._all = connections
        self._free = list(connections)
        self._waiting: deque[asyncio.Future[StoreConnection]] = deque()
        self._home = asyncio.Event()
        self._home.set()
        self._closed = False
        self._lock = threading.Lock()
        self._abandoned = False
        self.lent = 0

    @property
    def waiting(self) -> int:
        """Jobs that wait for a connection."""
        return len(self._waiting)

    async def lend(self) -> Loan:
        """Wait for a connection.

        Raises:
            BusyError: Too many wait already.
            StoreError: The desk is or was closed meanwhile.
        """
        if self._closed:
            raise StoreError(self._path, "is closed")
        if self._free:
            self.lent += 1
            self._home.clear()
            return Loan(self._free.pop(), self)
        if len(self._waiting) >= self._depth:
            raise BusyError(f"the queue of {self._path.name}", self._depth)
        turn: asyncio.Future[StoreConnection] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            return Loan(await turn, self)
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())  # it came at the same moment
            raise

    def give_back(self, connection: StoreConnection) -> None:
        """Lend a connection to the next job."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)
        self.lent -= 1
        if not self.lent:
            self._home.set()

    def return_from_thread(self, connection: StoreConnection) -> None:
        """Give back from a pool's thread."""
        with self._lock:
            if not self._abandoned:
                self._loop.call_soon_threadsafe(self.give_back, connection)
                return
        connection.close()

    def close(self) -> None:
        """Lend nothing more, also to those who wait."""
        self._closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(StoreError(self._path, "is closed"))

    async def home(self) -> None:
        """Wait until no job holds a connection."""
        await self._home.wait()

    def stop_all(self) -> None:
        """End the jobs that run."""
        for connection in self._all:
            connection.stop()

    def abandon(self) -> tuple[StoreConnection, ...]:
        """Let jobs that still run close their connections themselves, and return those that are free."""
        with self._lock:
            self._abandoned = True
        return tuple(self._free)
