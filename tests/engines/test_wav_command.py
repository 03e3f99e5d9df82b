"""A command-line synthesizer is stopped from another thread, at whatever it is doing."""

from __future__ import annotations

import shutil
import stat
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.config.engines import EspeakConfig, FliteConfig
from edge_agent.engines.espeak import EspeakSynthesizer
from edge_agent.engines.flite import FliteSynthesizer
from edge_agent.engines.wav_command import ChildStop, WavCommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HEADER = r"RIFF\377\377\377\377WAVEfmt \020\0\0\0\01\0\01\0\200\076\0\0\0\175\0\0\02\0\020\0data\377\377\377\377"
"""The header of a 16 kHz mono WAV file of unknown length, for printf."""


def command(path: Path, body: str) -> WavCommand:
    """Return a command that is a shell script, which writes its process number to a file first."""
    path.write_text(f"#!/bin/sh\necho $$ >{path}.pid\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return WavCommand(str(path), "none", timeout_s=20.0)


def pid(path: Path) -> int:
    """Wait for the script's process number."""
    file = path.with_name(f"{path.name}.pid")
    deadline_s = time.monotonic() + 10
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    return int(file.read_text())


@pytest.mark.parametrize(
    "body",
    [
        "exec sleep 60",
        f"printf '{_HEADER}'; exec sleep 60",
        f"printf '{_HEADER}'; sleep 60",
        f"printf '{_HEADER}'; exec >&-; exec sleep 60",
        f"trap '' TERM INT; printf '{_HEADER}'; exec cat /dev/zero",
    ],
    ids=["silent", "after its header", "by a child of its own", "after its output", "endless"],
)
def test_a_stop_ends_the_child_and_the_job(tmp_path: Path, body: str) -> None:
    """At once, quietly, whether it is mute, slow to end or will not stop talking; nothing of it is left."""
    path, stop = tmp_path / "voice", ChildStop()
    ended: list[float] = []

    def pull() -> None:
        for _ in command(path, body).render([], "hello", stop=stop):
            pass
        ended.append(time.monotonic())

    thread = threading.Thread(target=pull)
    thread.start()
    number = pid(path)
    time.sleep(0.005)
    began_s = time.monotonic()
    stop.set()
    thread.join(30)
    assert ended[0] - began_s < 5
    assert not psutil.pid_exists(number)


def test_a_stop_before_the_first_step_starts_nothing(tmp_path: Path) -> None:
    """And one after the end does nothing."""
    path, stop = tmp_path / "voice", ChildStop()
    stop.set()
    assert list(command(path, "exit 1").render([], "hello", stop=stop)) == []
    assert not path.with_name("voice.pid").exists()
    other = ChildStop()
    assert list(command(path, f"printf '{_HEADER}'").render([], "hello", stop=other)) == []
    other.set()
    other.end()


def test_a_stop_that_meets_the_start_is_not_lost(tmp_path: Path) -> None:
    """The child that is handed over after it is ended at once."""
    import subprocess

    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    stop = ChildStop()
    stop.set()
    stop.watch(child)
    stop.end()
    assert child.returncode is not None
    assert child.returncode < 0


def test_a_hundred_stops_leave_no_process(tmp_path: Path) -> None:
    """At any moment of a short life."""
    voice = command(tmp_path / "voice", f"printf '{_HEADER}'; head -c 64000 /dev/zero")
    before = {child.pid for child in psutil.Process().children()}
    for number in range(100):
        stop = ChildStop()
        timer = threading.Timer(number * 0.0001, stop.set)
        timer.start()
        for _ in voice.render([], "hello", stop=stop):
            pass
        timer.join()
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize(
    ("program", "make"),
    [
        ("flite", lambda: FliteSynthesizer(FliteConfig())),
        ("espeak-ng", lambda: EspeakSynthesizer(EspeakConfig(), "en")),
    ],
)
def test_a_stopped_sentence_does_not_touch_the_next(
    program: str, make: Callable[[], FliteSynthesizer | EspeakSynthesizer]
) -> None:
    """The one that is stopped ends with what was yielded; another that was made before goes on."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt install {program})")
    voice = make()
    voice.load()
    one, other, third = (voice.synthesize("The lamp is on. " * 30) for _ in range(3))
    next(one)
    next(other)
    voice.stop(one)
    assert list(one) == []
    assert len(list(other)) > 20
    voice.stop()
    assert list(third) == []
    assert list(voice.synthesize("The lamp is on."))
