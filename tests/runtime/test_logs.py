"""Logging: nobody waits for it, nothing is lost in silence, and the journal gets priorities."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.runtime import logs
from edge_agent.runtime.logs import LineFormatter, is_journal, logging_to

_log = logging.getLogger("edge_agent.test")


class StuckStream(io.StringIO):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then take it."""
        self.reached.set()
        assert self.go_on.wait(10)
        return super().write(text)


class FullStream(io.StringIO):
    """A disk without room."""

    def write(self, text: str) -> int:
        """Refuse."""
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """The writer's thread ends with its context."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-log"]


def record_of(message: str, level: int = logging.INFO) -> logging.LogRecord:
    """Return a record."""
    return logging.LogRecord("edge_agent.hear", level, __file__, 1, message, None, None)


def test_records_are_written_with_time_level_and_name() -> None:
    """Of the level asked for and above."""
    stream = io.StringIO()
    with logging_to(stream, "info"):
        _log.debug("not this")
        _log.warning("lost %d frames", 3)
    assert re.fullmatch(r"[\d-]{10} [\d:,]{12} WARNING edge_agent\.test: lost 3 frames\n", stream.getvalue())


def test_warnings_of_libraries_come_too() -> None:
    """Through the same queue: their own way would block the loop."""
    stream = io.StringIO()
    with logging_to(stream, "info"):
        logging.getLogger("asyncio").warning("slow")
        logging.getLogger("asyncio").info("not this")
    assert stream.getvalue().count("\n") == 1
    assert "WARNING asyncio: slow" in stream.getvalue()


def test_every_line_says_whose_it_is() -> None:
    """Those of a traceback too, and text from outside can't pass for a record of its own."""
    stream = io.StringIO()
    with logging_to(stream, "info"):
        try:
            raise RuntimeError("first\nsecond")  # noqa: TRY301 - to have a traceback
        except RuntimeError:
            _log.exception("it broke:\n2026-01-01 ERROR forged")
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 6
    assert all(re.match(r"[\d-]{10} [\d:,]{12} ERROR   edge_agent\.test: ", line) for line in lines)
    assert lines[-1].endswith(": second")


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (logging.WARNING + 5, 4),
    ],
)
def test_the_journal_gets_priorities_and_no_time(level: int, priority: int) -> None:
    """On every line, since the journal makes a record of each."""
    formatted = LineFormatter(journal=True).format(record_of("one\ntwo", level))
    assert formatted == f"<{priority}>edge_agent.hear: one\n<{priority}>edge_agent.hear: two"


def test_an_empty_message_is_a_line() -> None:
    """It says at least where it comes from."""
    assert LineFormatter(journal=True).format(record_of("")) == "<6>edge_agent.hear: "


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    """JOURNAL_STREAM may be inherited by a process whose standard error goes elsewhere."""
    with (tmp_path / "log").open("w") as stream, (tmp_path / "other").open("w") as other:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environ)
        assert not is_journal(other, environ)
        assert not is_journal(stream, {})
    assert not is_journal(stream, environ), "closed"
    assert not is_journal(io.StringIO(), environ)
    assert not is_journal(None, environ)


def test_nobody_waits_for_a_writer_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records beyond the queue are counted, and the log says so where they are missing."""
    monkeypatch.setattr(logs, "_WAITING_RECORDS", 10)
    stream = StuckStream()
    with logging_to(stream, "info") as log_queue:
        _log.info("first")
        assert stream.reached.wait(10)
        for number in range(25):
            _log.info("record %d", number)
        assert (log_queue.dropped, log_queue.lost) == (15, 15)
        stream.go_on.set()
    lines = [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()]
    complaint = "15 log records were dropped: the writer was behind"
    assert lines == ["first", complaint, *(f"record {number}" for number in range(10))]


def test_a_writer_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of logging has a bound, with room in its queue or without."""
    monkeypatch.setattr(logs, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(logs, "_WAITING_RECORDS", 2)
    for waiting in (1, 5):
        stream = StuckStream()
        with logging_to(stream, "info") as log_queue:
            _log.info("first")
            assert stream.reached.wait(10)
            for _ in range(waiting):
                _log.info("more")
        assert log_queue.lost == (0 if waiting == 1 else 5)
        stream.go_on.set()
        for thread in threading.enumerate():
            if thread.name == "edge-log":
                thread.join(10)


def test_a_stream_that_takes_nothing_is_no_crash() -> None:
    """A full disk loses the log, not the agent; a closed standard error is none at all."""
    with logging_to(FullStream(), "info") as log_queue:
        _log.info("one")
        _log.info("two")
    assert (log_queue.dropped, log_queue.unwritten, log_queue.lost) == (0, 2, 2)
    with logging_to(None, "info") as log_queue:
        _log.info("one")
    assert log_queue.lost == 0


def test_arguments_are_taken_at_once() -> None:
    """What is changed afterwards does not change the record."""
    stream = StuckStream()
    with logging_to(stream, "info"):
        _log.info("first")
        assert stream.reached.wait(10)
        slots = {"minutes": 10}
        _log.info("slots %s", slots)
        slots["minutes"] = 99
        stream.go_on.set()
    assert "slots {'minutes': 10}" in stream.getvalue()


def test_everything_is_put_back() -> None:
    """Levels and handlers are as before."""
    root, ours = logging.getLogger(), logging.getLogger("edge_agent")
    before = (ours.level, list(root.handlers), list(ours.handlers))
    with logging_to(io.StringIO(), "debug"):
        assert ours.level == logging.DEBUG
    assert (ours.level, list(root.handlers), list(ours.handlers)) == before
