"""A microphone and a speaker for a booted machine: PulseAudio's null sinks on this one, ALSA devices on the other.

here: say() ─▶ null sink ─▶ socket ─▶ ALSA's `default` there ─▶ the service ─▶ ALSA ─▶ socket ─▶ null sink ─▶ heard here
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from commands import CommandLine
from live_agent import render
from pulse_rig import PulseRig

_REPLIES = """
intents:
  Reply:
    data:
      - sentences:
          - "timer set for (five|ten|fifteen|twenty|thirty|forty) minutes"
          - "you have no timers"
          - "volume (ten|twenty|thirty|fifty) percent"
    action: {reply: "heard"}
"""
_QUIET_S = 0.7
_ANSWER_S = 30
_LOUD = 300
"""Amplitude, of 32,767, above which the speaker is not silent."""

_RATE_HZ = 48_000


class Room:
    """Where the machine's microphone and speaker are, and somebody who speaks to it.

    Attributes:
        directory: With the sockets; the machine has to see it at the same place.
        rig: The sound system: devices can be unplugged and frozen.
        alsa: Content of the machine's `/etc/asound.conf`.
        is_taken: Whether a service is in it.
    """

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = directory
        self.rig = PulseRig(directory)
        config = Path(self.rig.sound_env["ALSA_CONFIG_PATH"]).read_text(encoding="utf-8")
        self.alsa = config.partition("\n")[2]  # without the inclusion of the system's own file, which includes this one
        self.is_taken = False
        self._home = home
        self._commands = CommandLine(home)

    def say(self, text: str) -> None:
        """Have a voice say something into the microphone."""
        recording = self._home / f"{text.replace(' ', '_')}.wav"
        if not recording.exists():
            render(recording, text)
        self.rig.play(recording)

    def answer_to(self, text: str) -> str:
        """Say something; return what the speaker then said, recognized, or nothing where it stayed silent."""
        path = self._home / "answer.wav"
        with self.rig.record(path) as recording:
            self.say(text)
            end = time.monotonic() + _ANSWER_S
            began = recording.frames()
            while time.monotonic() < end:
                time.sleep(0.1)
                heard = np.frombuffer(recording.pcm(), np.int16)[began:]
                loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > _LOUD)
                if loud.size and heard.size - loud[-1] > _QUIET_S * _RATE_HZ:
                    break
            else:
                return ""
        return self.recognized(path)

    def recognized(self, recording: Path) -> str:
        """Recognize one of the answers that are expected here."""
        replies = self._commands.write("replies.yaml", _REPLIES)
        config = self._commands.write("replies.toml", f'[intents]\nbuiltin = false\npaths = ["{replies.name}"]\n')
        done = self._commands.run("transcribe", recording, "--config", config)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def room(home: Path) -> Iterator[Room]:
    """Set up a room, below /run: the service is shown no other machine's /tmp, and a socket's path is short."""
    missing = [
        command for command in ("pulseaudio", "pactl", "paplay", "parec", "flite") if shutil.which(command) is None
    ]
    assert not missing, f"{', '.join(missing)} not installed (apt install pulseaudio pulseaudio-utils flite)"
    for old in Path("/run").glob("edge-sound-*-*"):
        if not Path(f"/proc/{old.name.split('-')[2]}").is_dir():  # its tests were killed
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=f"edge-sound-{os.getpid()}-", dir="/run") as directory:
        place = Room(Path(directory), home)
        try:
            place.rig.start()
            place.directory.chmod(0o755)
            yield place
        finally:
            place.rig.stop()
            subprocess.run(["rm", "-f", home / "answer.raw"], check=False)
