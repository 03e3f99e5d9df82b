"""A model is tried in a child process, which can be ended before its time."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from edge_agent.engines import probe as probing
from edge_agent.engines.probe import ProbeStop, probe

_HANGS = "tokenize"
"""Python's own module; it waits for somebody to write into the pipe that it is given for a file."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes into."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_stop_before_the_beginning_lets_nothing_run(pipe: Path) -> None:
    """The child is killed as soon as it is there."""
    stop = ProbeStop()
    stop.set()
    assert probe(_HANGS, pipe, stop) == "the engine dies of SIGKILL on it"


def test_a_stop_ends_a_child_that_hangs(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another thread; the child is gone when the probe returns."""
    children: list[subprocess.Popen[bytes]] = []
    began = threading.Event()
    real = ProbeStop.watch

    def watch(self: ProbeStop, child: subprocess.Popen[bytes] | None) -> None:
        real(self, child)
        if child is not None:
            children.append(child)
            began.set()

    monkeypatch.setattr(ProbeStop, "watch", watch)
    stop = ProbeStop()

    def end() -> None:
        began.wait()
        stop.set()

    stopper = threading.Thread(target=end)
    stopper.start()
    assert probe(_HANGS, pipe, stop) == "the engine dies of SIGKILL on it"
    stopper.join()
    assert children[0].poll() is not None
    stop.set()  # late: there is nothing to kill


def test_a_child_that_takes_too_long_is_killed(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time that grows with the model."""
    monkeypatch.setattr(probing, "_BASE_TIMEOUT_S", 0.2)
    assert probe(_HANGS, pipe) == "did not load within 0 s"


def test_nothing_is_imported_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may have written it: /tmp is one."""
    (tmp_path / "resource.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    model = tmp_path / "a.gguf"
    model.write_bytes(b"no model")
    monkeypatch.chdir(tmp_path)
    assert probe("edge_agent.engines.llama_probe", model)
    assert not (tmp_path / "ran").exists()


def test_every_child_of_python_s_ignores_the_current_directory() -> None:
    """Each `sys.executable … -m` of the package has -P before it."""
    package = Path(probing.__file__).parents[1]
    commands = [
        (path, match[0])
        for path in package.rglob("*.py")
        for match in re.finditer(r'sys\.executable,\s*("-[^"]+",\s*)*"-m"', path.read_text(encoding="utf-8"))
    ]
    assert len(commands) >= 2
    assert [path for path, command in commands if '"-P"' not in command] == []


def test_a_voice_is_tried(tmp_path: Path, voice_files: dict[int, tuple[bytes, bytes]]) -> None:
    """A whole one renders a word; half a one is told."""
    pytest.importorskip("piper", reason="piper-tts is not installed")
    voice = tmp_path / "en_US-tiny-low.onnx"
    voice.write_bytes(voice_files[1][0])
    voice.with_name(f"{voice.name}.json").write_bytes(voice_files[1][1])
    assert probe("edge_agent.engines.piper_probe", voice) is None
    voice.write_bytes(voice_files[1][0][:1000])
    assert "ONNX Runtime can't load it" in (probe("edge_agent.engines.piper_probe", voice) or "")
