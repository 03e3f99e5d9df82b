"""A microphone in a quiet room, and a speaker, on a machine without: null sinks of a private PulseAudio."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from array import array
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COMMANDS = ("pulseaudio", "pactl", "pacat", "paplay")
_MICROPHONE, _SPEAKER = "quiet", "speaker"
_RATE_HZ = 16_000
_SPEAKER_RATE_HZ = 48_000
_NOISE_S = 10
_NOISE = 8
"""Samples are within so many of 32,768 steps: about -75 dBFS, a microphone's own noise. Zeros would be a dead one."""
_START_S = 15.0
_END_S = 5.0
_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.microphone {{ type pulse; server "{server}"; device "{microphone}.monitor" }}
pcm.speaker {{ type pulse; server "{server}"; device "{speaker}" }}
pcm.!default {{
    type asym
    capture.pcm "microphone"
    playback.pcm "speaker"
    hint {{ show on; description "default" }}
}}
ctl.!default {{ type pulse; server "{server}" }}
"""


@dataclass(frozen=True, slots=True)
class NullSound:
    """A sound system without hardware.

    Attributes:
        env: The environment in which its microphone and its speaker are the default devices.
    """

    env: Mapping[str, str]

    def playing(self, recording: Path) -> list[str]:
        """Return the command, to be run in `env`, that lets the microphone hear a WAV file and ends with it."""
        return ["paplay", f"--device={_MICROPHONE}", str(recording)]


@contextmanager
def null_microphone() -> Iterator[Mapping[str, str]]:
    """Run it, and yield the environment in which it is the default microphone. Blocking.

    Raises:
        DeviceError: PulseAudio is not installed or does not start.
    """
    with null_sound() as sound:
        yield sound.env


@contextmanager
def null_sound() -> Iterator[NullSound]:
    """Run microphone and speaker. Blocking.

    Raises:
        DeviceError: PulseAudio is not installed or does not start.
    """
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        raise DeviceError(
            "null microphone",
            f"needs {', '.join(missing)}; `apt install pulseaudio pulseaudio-utils libasound2-plugins`",
        )
    # Not below a long path: a socket's has 108 bytes at the most.
    with tempfile.TemporaryDirectory(prefix="bench-sound-") as name:
        directory = Path(name)
        socket = directory / "pulse"
        server = f"unix:{socket}"
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        alsa = directory / "alsa.conf"
        alsa.write_text(_ALSA.format(server=server, microphone=_MICROPHONE, speaker=_SPEAKER), encoding="utf-8")
        env = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "PULSE_COOKIE": str(directory / "cookie"),
            "PULSE_SERVER": server,
            "ALSA_CONFIG_PATH": str(alsa),
            "JACK_NO_START_SERVER": "1",
        }
        noise = directory / "noise.raw"
        noise.write_bytes(_noise())
        with _running(_daemon(socket), env) as daemon:
            _wait_for(daemon, env)
            # Where ALSA's own files make PulseAudio the default device, they come after ours, and name no source.
            _tell("set-default-source", f"{_MICROPHONE}.monitor", env)
            _tell("set-default-sink", _SPEAKER, env)
            feed = [
                "sh",
                "-c",
                f'while cat "$0"; do :; done | exec pacat --server={server} --device={_MICROPHONE} {_FORMAT}',
            ]
            with _running([*feed, str(noise)], env):
                yield NullSound(env)


_FORMAT = f"--rate={_RATE_HZ} --channels=1 --format=s16le"


def _daemon(socket: Path) -> list[str]:
    return [
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--disable-shm=yes",
        "--realtime=no",
        "--high-priority=no",
        f"--load=module-native-protocol-unix auth-anonymous=1 socket={socket}",
        f"--load=module-null-sink sink_name={_SPEAKER} rate={_SPEAKER_RATE_HZ} channels=2",
        f"--load=module-null-sink sink_name={_MICROPHONE} rate={_RATE_HZ} channels=1",
    ]


def _noise() -> bytes:
    chance = random.Random(1)  # noqa: S311 - noise
    return array("h", (chance.randint(-_NOISE, _NOISE) for _ in range(_RATE_HZ * _NOISE_S))).tobytes()


def _wait_for(daemon: subprocess.Popen[bytes], env: dict[str, str]) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if daemon.poll() is not None:
            raise DeviceError("null microphone", f"pulseaudio ended with status {daemon.returncode}")
        if _pactl(["info"], env) == 0:
            return
        time.sleep(0.05)
    raise DeviceError("null microphone", f"pulseaudio does not answer within {_START_S:.0f} s")


def _tell(verb: str, device: str, env: dict[str, str]) -> None:
    if _pactl([verb, device], env) != 0:
        raise DeviceError("null microphone", f"pulseaudio refuses `pactl {verb} {device}`")


def _pactl(arguments: list[str], env: dict[str, str]) -> int:
    command = ["pactl", *arguments]
    return subprocess.run(command, env=env, capture_output=True, timeout=_START_S, check=False).returncode  # noqa: S603


@contextmanager
def _running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and end it and what it started."""
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
