"""Opening the database's file: private, checked, up to date; what is corrupt is set aside, never deleted. Blocking."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

from edge_agent.errors import StoreError
from edge_agent.store.connection import connect, is_corrupt, store_errors
from edge_agent.store.migrations import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.migrations import Migration

_log = logging.getLogger(__name__)

_MODE = 0o600
_FINDINGS = 3
"""Damages that a check names before it gives up."""
KEPT_ASIDE = 3
"""Corrupt files that are kept; beyond it the oldest is deleted."""


class Opening:
    """Opens the file's connections, once. `perform` runs on a pool's thread, `stop` on any.

    Attributes:
        set_aside: Where a corrupt file was moved, if there was one.
    """

    def __init__(self, path: Path, readers: int, migrations: tuple[Migration, ...]) -> None:
        self._path = path
        self._readers = readers
        self._migrations = migrations
        self._lock = threading.Lock()
        self._stopped = False
        self._made: list[StoreConnection] = []
        self._performed = False
        self.set_aside: Path | None = None

    def perform(self) -> tuple[StoreConnection, tuple[StoreConnection, ...]]:
        """Open the file, or begin it, and return a connection to write and those to read.

        Raises:
            StoreError: It can't be opened, is locked, is newer than this program or not its own; or this was stopped.
        """
        try:
            writer = self._open_writer()
            with store_errors(self._path):
                readers = tuple(self._connect(read_only=True) for _ in range(self._readers))
            self._hand_over()
        except BaseException:
            self._close()
            raise
        return writer, readers

    def stop(self) -> None:
        """Nobody wants the connections any more: they are closed, now or when opening ends."""
        with self._lock:
            self._stopped = True
            for connection in self._made:
                connection.stop()
            if not self._performed:
                return
        self._close()

    def _hand_over(self) -> None:
        with self._lock:
            if self._stopped:
                raise StoreError(self._path, "was not opened: that was stopped")
            self._performed = True

    def _open_writer(self) -> StoreConnection:
        try:
            return self._open()
        except _CorruptError as error:
            self._close()
            self.set_aside = _set_aside(self._path)
            _log.error(
                "%s is corrupt (%s): it was moved to %s and an empty database was begun. What it held is out of use; "
                "`sqlite3 %s .recover` may bring it back",
                self._path,
                error,
                self.set_aside,
                self.set_aside,
            )
        try:
            return self._open()
        except _CorruptError as error:
            raise StoreError(
                self._path, f"is corrupt again after it was begun anew ({error}); check the disk"
            ) from error

    def _open(self) -> StoreConnection:
        _make_private(self._path)
        try:
            with store_errors(self._path):
                writer = self._connect()
            writer.perform("none", _check)
            migrate(writer, self._migrations)
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.Error) and is_corrupt(error.__cause__):
                raise _CorruptError(str(error.__cause__)) from error
            raise
        return writer

    def _connect(self, *, read_only: bool = False) -> StoreConnection:
        connection = connect(self._path, read_only=read_only)
        with self._lock:
            self._made.append(connection)
            if self._stopped:
                connection.stop()
        return connection

    def _close(self) -> None:
        for connection in self._made:
            connection.close()
        self._made.clear()


class _CorruptError(Exception):
    """The file is damaged, or no database."""


def _check(connection: StoreConnection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(connection.path, f"can't have a write-ahead log here (got {mode!r}); use a local file system")
    findings = [row[0] for row in connection.execute(f"PRAGMA quick_check({_FINDINGS})")]
    if findings != ["ok"]:
        raise _CorruptError("; ".join(findings))


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of this one.
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            if stat.S_IMODE(os.fstat(opened).st_mode) != _MODE:
                os.fchmod(opened, _MODE)
        finally:
            os.close(opened)
        _sync_directory(path.parent)  # else a power cut could take the new file's name, and with it every commit
    except OSError as error:
        raise StoreError(path, f"can't be opened: {error.strerror}; check its directory's owner and mode") from error


def _set_aside(path: Path) -> Path:
    """Move a corrupt database away, its write-ahead log with it, and return where it is."""
    try:
        kept = sorted(_kept_aside(path))
        aside = path.with_name(f"{path.name}.corrupt-{max(kept, default=0) + 1}")
        # The log first: left behind it would be played into the new file.
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        for number in kept[: max(0, len(kept) + 1 - KEPT_ASIDE)]:
            oldest = path.with_name(f"{path.name}.corrupt-{number}")
            _log.warning("%s is deleted: %d newer corrupt databases are kept", oldest, KEPT_ASIDE)
            for suffix in ("", "-wal", "-shm"):
                oldest.with_name(oldest.name + suffix).unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise StoreError(path, f"is corrupt and can't be moved aside: {error.strerror}") from error
    return aside


def _kept_aside(path: Path) -> list[int]:
    pattern = re.compile(re.escape(path.name) + r"\.corrupt-(\d+)")
    return [int(match[1]) for entry in path.parent.iterdir() if (match := pattern.fullmatch(entry.name))]


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
