"""What `run` writes where its output is the journal: the log, with priorities, and nothing that people have said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.cli.console import ConsoleView, JsonLines
from edge_agent.cli.talk import _service_view
from edge_agent.pipeline.observer import SilentObserver


def goes_to_the_journal(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Let a standard stream be a file that passes for the journal's."""
    stream = path.open("w")
    status = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    monkeypatch.setattr(sys, name, stream)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_conversation_is_not_for_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, as_json: bool
) -> None:
    """Whoever may read the journal need not know what was said in the room."""
    goes_to_the_journal(monkeypatch, "stdout", tmp_path / "journal")
    with _service_view(as_json=as_json) as view:
        assert type(view) is SilentObserver
    sys.stdout.close()


def test_elsewhere_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person or a script wants it."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with _service_view(as_json=False) as view:
        assert isinstance(view, ConsoleView)
    with _service_view(as_json=True) as lines:
        assert isinstance(lines, JsonLines)


def test_an_error_that_ends_the_service_has_its_priority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each line of it; on a terminal there is no such prefix."""
    path = tmp_path / "journal"
    goes_to_the_journal(monkeypatch, "stderr", path)
    main._complain("audio.volume: wrong\naudio.volum: unknown key")
    sys.stderr.close()
    assert path.read_text() == "<3>edge-agent: audio.volume: wrong\n<3>edge-agent: audio.volum: unknown key\n"
