"""Log records as the journal's entries: one a record, with its fields, in journald's own form."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.runtime.journal import JournalWriter
from edge_agent.runtime.logs import logging_to

_log = logging.getLogger("edge_agent.test")


def entry_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the fields that are sent for a record."""
    sent: list[str] = []

    def send(*fields: str) -> None:
        sent.extend(fields)

    JournalWriter(send).write(record)
    return dict(field.split("=", 1) for field in sent)


def test_an_entry_has_text_priority_place_and_our_fields() -> None:
    """And nothing else of what a record holds."""
    record = logging.LogRecord("edge_agent.hear", logging.WARNING, "ears.py", 7, "lost %d frames", (3,), None, "listen")
    record.__dict__.update(EDGE_TURN=12, EDGE_STAGE="hear.capture", EDGE_DEVICE=None, secret="x", MESSAGE_ID="ab12")
    assert entry_of(record) == {
        "MESSAGE": "lost 3 frames",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "edge-agent",
        "LOGGER": "edge_agent.hear",
        "THREAD_NAME": "MainThread",
        "CODE_FILE": "ears.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "listen",
        "MESSAGE_ID": "ab12",
        "EDGE_TURN": "12",
        "EDGE_STAGE": "hear.capture",
    }


def test_a_traceback_is_part_of_its_entry() -> None:
    """Not thirty entries."""
    try:
        raise RuntimeError("first\nsecond")  # noqa: TRY301 - to have a traceback
    except RuntimeError:
        record = logging.LogRecord("edge_agent", logging.ERROR, "x.py", 1, "it broke", None, sys.exc_info())
    entry = entry_of(record)
    assert entry["MESSAGE"].startswith("it broke\nTraceback")
    assert entry["MESSAGE"].endswith("second")
    assert entry["PRIORITY"] == "3"


def test_a_value_is_bounded() -> None:
    """Whatever somebody put into a field."""
    record = logging.LogRecord("edge_agent", logging.INFO, "x.py", 1, "m", None, None)
    record.__dict__["EDGE_REPLY"] = "x" * 10_000
    assert len(entry_of(record)["EDGE_REPLY"]) == 4000


@pytest.fixture
def journal_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the journal's stream."""
    path = tmp_path / "journal"
    path.touch()
    status = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    return path


def test_logging_to_the_journal_sends_entries(journal_stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through systemd-python; the stream stays empty."""
    sent: list[Any] = []
    monkeypatch.setattr("systemd.journal.sendv", lambda *fields: sent.append(fields))
    with journal_stream.open("w") as stream, logging_to(stream, "info"):
        _log.info("listening", extra={"EDGE_DEVICE": "USB"})
    (fields,) = sent
    assert {"MESSAGE=listening", "PRIORITY=6", "EDGE_DEVICE=USB"} <= set(fields)
    assert journal_stream.read_text() == ""


def test_where_the_journal_says_no_its_stream_is_written_to(
    journal_stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record is not lost for a socket that is not there."""

    def refuse(*_fields: str) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("systemd.journal.sendv", refuse)
    with journal_stream.open("w") as stream, logging_to(stream, "info") as queue:
        _log.error("no microphone")
    assert journal_stream.read_text() == "<3>edge_agent.test: no microphone\n"
    assert queue.lost == 0


def test_without_systemd_python_its_stream_is_written_to(journal_stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small install."""
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    with journal_stream.open("w") as stream, logging_to(stream, "info"):
        _log.warning("hot")
    assert journal_stream.read_text() == "<4>edge_agent.test: hot\n"
    assert os.environ["JOURNAL_STREAM"]
