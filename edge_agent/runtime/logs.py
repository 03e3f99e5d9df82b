"""Logging that never blocks the loop: records go through a queue to a thread that writes them."""

from __future__ import annotations

import contextlib
import copy
import logging
import logging.handlers
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, TextIO

from edge_agent.runtime.fields import note_fields
from edge_agent.runtime.folding import Folding
from edge_agent.runtime.journal import JournalWriter, priority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_WAITING_RECORDS = 2000
_PATIENCE_S = 2.0
"""What the end of logging waits for a writer that hangs; shutdown has a bound of 5 s."""


class LogQueue(logging.handlers.QueueHandler):
    """Takes records on any thread without ever waiting; counts what did not fit.

    Attributes:
        dropped: Records that were lost because the writer was behind.
        unwritten: Records that the stream did not take: a full disk, a closed pipe.
    """

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(records)
        self.dropped = 0
        self.unwritten = 0

    @property
    def lost(self) -> int:
        """All records that nobody will read."""
        return self.dropped + self.unwritten

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix the message, whose arguments may change; leave tracebacks, which read source files, to the writer."""
        prepared = copy.copy(record)
        prepared.msg, prepared.args = record.getMessage(), None
        note_fields(prepared)
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it where there is no room."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class LineFormatter(logging.Formatter):
    """Prefixes every line of a record, so that each line of a traceback says whose it is.

    For the journal the prefix is `<priority>`, which it takes off again (sd-daemon(3)), and there is no time, which it
    adds itself. Elsewhere it is time, level and name.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines."""
        if self._journal:
            prefix = f"<{priority(record.levelno)}>{record.name}: "
        else:
            prefix = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: "
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


def is_journal(stream: TextIO | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether `stream` goes to systemd's journal: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM")
    if stream is None or not named:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or in memory
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


@contextlib.contextmanager
def logging_to(stream: TextIO | None, level: str) -> Iterator[LogQueue]:
    """Log to `stream` for as long as the context lasts; None is a standard stream that was closed, and takes nothing.

    It gets the package's records of `level` and above, and everyone else's warnings. The value counts what was dropped.
    Where `stream` goes to the journal and systemd-python is there, each record is one entry with its fields.
    """
    records: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING_RECORDS)
    handler = LogQueue(records)
    writer = threading.Thread(target=_write, args=(records, handler, stream), name="edge-log", daemon=True)
    root, ours = logging.getLogger(), logging.getLogger("edge_agent")
    before = ours.level
    ours.setLevel(level.upper())
    root.addHandler(handler)
    writer.start()
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)
        _finish(records, handler, writer)


def set_level(level: str) -> None:
    """Log the package's records of `level` and above from now on."""
    logging.getLogger("edge_agent").setLevel(level.upper())


def _write(records: queue.Queue[logging.LogRecord | None], handler: LogQueue, stream: TextIO | None) -> None:
    """Write records until None comes; say how many were dropped as soon as that is seen."""
    write = _writer_to(stream)
    folding = Folding()
    told = 0

    def put(record: logging.LogRecord) -> None:
        try:
            write(record)
        except (OSError, ValueError):  # there is nowhere left to complain, and the agent goes on
            handler.unwritten += 1

    while True:
        record = records.get()
        for due in folding.finish() if record is None else folding.take(record, time.monotonic()):
            put(due)
        if (dropped := handler.dropped) > told:
            put(_confession(dropped - told))
            told = dropped
        if record is None:
            return


def _writer_to(stream: TextIO | None) -> Callable[[logging.LogRecord], None]:
    """Return what writes a record: as an entry of the journal where `stream` goes there, else as lines."""
    if stream is None:
        return lambda _: None
    to_journal = is_journal(stream)
    formatter = LineFormatter(journal=to_journal)

    def write_lines(record: logging.LogRecord) -> None:
        stream.write(formatter.format(record) + "\n")
        stream.flush()

    journal = JournalWriter.open() if to_journal else None
    if journal is None:
        return write_lines

    def write_entry(record: logging.LogRecord) -> None:
        try:
            journal.write(record)
        except OSError:  # no socket in this namespace, or journald is being replaced: its stream may still be there
            write_lines(record)

    return write_entry


def _confession(count: int) -> logging.LogRecord:
    message = f"{count} log records were dropped: the writer was behind"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None)


def _finish(records: queue.Queue[logging.LogRecord | None], handler: LogQueue, writer: threading.Thread) -> None:
    """Let the writer finish what is queued; give up on one that hangs. Nobody else queues any more."""
    try:
        records.put(None, timeout=_PATIENCE_S)
    except queue.Full:
        # It ends if ever it comes back. Until then it is a daemon, and keeps no process alive.
        with contextlib.suppress(queue.Empty):
            while True:
                records.get_nowait()
                handler.dropped += 1
        records.put_nowait(None)
    else:
        writer.join(_PATIENCE_S)
