"""Logging that never blocks the loop: records go through a queue to a thread that writes them."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAITING_RECORDS = 2000
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _DroppingHandler(logging.handlers.QueueHandler):
    """Counts records instead of waiting where the writer is behind."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


@contextmanager
def logging_to(stream: TextIO, level: str) -> Iterator[None]:
    """Log the package's records of `level` and above to `stream` for as long as the context lasts."""
    records: queue.Queue[logging.LogRecord] = queue.Queue(_WAITING_RECORDS)
    handler = _DroppingHandler(records)
    writer = logging.StreamHandler(stream)
    writer.setFormatter(logging.Formatter(_FORMAT))
    listener = logging.handlers.QueueListener(records, writer)
    root = logging.getLogger("edge_agent")
    before = root.level
    root.setLevel(level.upper())
    root.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        listener.stop()
        if handler.dropped:
            stream.write(f"{handler.dropped} log records were dropped: the writer was behind\n")
