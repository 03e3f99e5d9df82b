"""One SQLite connection whose jobs are whole transactions and can be stopped from another thread."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

_BUSY_S = 5.0
"""How long a statement waits for another process that holds the file."""
_WAL_BYTES = 4 << 20
"""Size that the write-ahead log is cut back to after a checkpoint."""
_PRIMARY_CODE = 0xFF
"""The part of SQLite's extended error codes that tells the kind."""

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_BUSY: "another process keeps it busy",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked",
    sqlite3.SQLITE_READONLY: "is read-only; check its owner and the file system",
    sqlite3.SQLITE_PERM: "may not be opened; check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "can't be opened; check its directory's owner and mode",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it",
    sqlite3.SQLITE_NOMEM: "there is not enough memory to use it",
    sqlite3.SQLITE_INTERRUPT: "a job on it was stopped",
    sqlite3.SQLITE_CORRUPT: "is corrupt; it is set aside and begun anew at the next start",
    sqlite3.SQLITE_NOTADB: "is not a database; it is set aside and begun anew at the next start",
}
"""What can happen to a good program. Other errors are mistakes in SQL and stay what they are."""

Transaction = Literal["read", "write", "write durably", "none"]
"""What a job is wrapped in; "none" is for pragmas that may not stand in a transaction."""


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is damaged, or no database at all."""
    return _kind(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's run-time errors as StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (reason := _REASONS.get(_kind(error))) is None:
            raise
        raise StoreError(path, f"{reason} ({error})") from error


class StoreConnection(sqlite3.Connection):
    """A connection that one job at a time uses, on any thread. Made by `connect`.

    Jobs call `execute` and `executemany` of the connection itself: these end a job that was stopped, also where it is
    between two statements.
    """

    path: Path

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on to sqlite3
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._stopped = False
        self._interruptible = False
        self._durable: bool | None = None

    def reset(self) -> None:
        """Forget that the job before was stopped."""
        self._stopped = False

    def stop(self) -> None:
        """Make the running job end with StoreError. Any thread may call it, also more than once.

        A job that is already committing is committed.
        """
        with self._lock:
            self._stopped = True
            if self._interruptible:
                self.interrupt()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - as in sqlite3
        """Run one statement.

        Raises:
            StoreError: The job was stopped.
        """
        self._check()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run one statement for each set of parameters.

        Raises:
            StoreError: The job was stopped.
        """
        return super().executemany(sql, self._checked(parameters))

    def perform(self, transaction: Transaction, job: Callable[[StoreConnection], T]) -> T:
        """Run `job` in a transaction, which is committed or rolled back whole.

        Raises:
            StoreError: The database can't be read or written, or the job was stopped.
        """
        with store_errors(self.path):
            self._begin(transaction)
            try:
                with self._stoppable():
                    result = job(self)
            except BaseException:
                self._roll_back()
                raise
            self._commit()
            return result

    def _begin(self, transaction: Transaction) -> None:
        self._roll_back()  # what an earlier job could not, for example while the disk failed
        if transaction == "read":
            self._control("BEGIN")
        elif transaction != "none":
            durable = transaction == "write durably"
            if durable != self._durable:
                self._control(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._control("BEGIN IMMEDIATE")

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        # Only the job itself is interrupted: an interrupted ROLLBACK would leave the transaction open.
        with self._lock:
            self._interruptible = True
        try:
            yield
        finally:
            with self._lock:
                self._interruptible = False
        self._check()

    def _commit(self) -> None:
        if self.in_transaction:
            try:
                self._control("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self.in_transaction:  # SQLite has rolled back by itself after some errors
            self._control("ROLLBACK")

    def _control(self, sql: str) -> None:
        super().execute(sql).close()

    def _check(self) -> None:
        if self._stopped:
            raise StoreError(self.path, "a job on it was stopped")

    def _checked(self, parameters: Iterable[T]) -> Iterator[T]:
        for one in parameters:
            self._check()
            yield one


def connect(path: Path, *, read_only: bool = False) -> StoreConnection:
    """Connect to a file that exists. Blocking.

    Raises:
        sqlite3.Error: It can't be opened.
    """
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        factory=StoreConnection,
    )
    connection.path = path
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _kind(error: sqlite3.Error) -> int:
    # The module's own complaints (a closed connection, wrong parameters) carry no code.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    return code & _PRIMARY_CODE


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))
