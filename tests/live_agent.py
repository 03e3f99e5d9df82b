"""The agent as a child process, live on PulseAudio null sinks, and speech to say to it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from commands import isolated
from pulse_rig import PulseRig

DEADLINE_S = 60


class Agent:
    """`edge-agent run` as a child, with what it prints at hand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []
        self.turns: list[dict[str, Any]] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_log, args=(process.stderr,)),
            threading.Thread(target=self._read_turns, args=(process.stdout,)),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Wait until the log holds `text` that often."""
        self._wait(lambda: sum(text in line for line in self.log) >= count, f"{text!r} in the log")

    def wait_for_turns(self, count: int) -> None:
        """Wait until so many turns have ended."""
        self._wait(lambda: len(self.turns) >= count, f"turn {count}")

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit status and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        took_s = time.monotonic() - began
        for reader in self._readers:
            reader.join()
        return status, took_s

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            log = "".join(self.log)
            assert time.monotonic() < end, f"{what} did not come within {DEADLINE_S} s:\n{log}\n{self.turns}"
            assert self.process.poll() is None, f"the agent ended:\n{log}"
            time.sleep(0.05)

    def _read_log(self, stream: IO[str]) -> None:
        self.log.extend(stream)

    def _read_turns(self, stream: IO[str]) -> None:
        self.turns.extend(json.loads(line) for line in stream)


@contextmanager
def running(rig: PulseRig, home: Path, config: str, **variables: str) -> Iterator[Agent]:
    """Run the agent on the rig's sound system; leaving ends it, whatever happened."""
    (home / "config.toml").write_text(config, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "run", "--json", "--config", str(home / "config.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=isolated(home, {**rig.sound_env, **variables}),
        cwd=home,
    )
    agent = Agent(process)
    try:
        yield agent
    finally:
        if process.poll() is None:
            agent.stop()
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


CONFIG = f"""
[audio]
input_device = "{PulseRig.microphone}"
output_device = "{PulseRig.speaker}"
[gpio]
driver = "simulated"
[gpio.outputs.lamp]
pin = 17
"""


def render(path: Path, text: str) -> Path:
    """Have Flite say something into a file."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed")
    subprocess.run([flite, "-voice", "slt", "-t", text, "-o", path], check=True, timeout=30)
    return path
