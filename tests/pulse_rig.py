"""A sound system without hardware: a plugin, so that any test may ask for `pulse_rig`.

                     agent_mic                        agent_speaker
    play() ─▶ sink mic_feed ─▶ monitor ─▶ the agent ─▶ sink speaker_out ─▶ monitor ─▶ record()

The agent's side is what PortAudio lists: ALSA devices of those names, on PulseAudio's null sinks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

MICROPHONE = "agent_mic"
SPEAKER = "agent_speaker"
_FEED, _OUT = "mic_feed", "speaker_out"
_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.{microphone} {{
    type pulse
    server "{server}"
    device "{feed}.monitor"
    hint {{ show on; description "{microphone}" }}
}}
pcm.{speaker} {{
    type pulse
    server "{server}"
    device "{out}"
    hint {{ show on; description "{speaker}" }}
}}
pcm.agent_both {{
    type asym
    capture.pcm "{microphone}"
    playback.pcm "{speaker}"
    hint {{ show on; description "both" }}
}}
pcm.!default {{ type plug; slave.pcm "agent_both"; hint {{ show on; description "default" }} }}
ctl.!default {{ type pulse; server "{server}" }}
"""


class PulseRig:
    """A private PulseAudio daemon with a microphone and a speaker made of null sinks.

    Attributes:
        env: What a child process needs to find this sound system and no other; whole, ready for `Popen(env=…)`.
    """

    microphone = MICROPHONE
    speaker = SPEAKER

    def __init__(self, directory: Path) -> None:
        server = f"unix:{directory}/pulse"
        alsa = directory / "alsa.conf"
        alsa.write_text(_ALSA.format(microphone=MICROPHONE, speaker=SPEAKER, feed=_FEED, out=_OUT, server=server))
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        self._socket = directory / "pulse"
        self.sound_env = {
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "PULSE_SERVER": server,
            "PULSE_COOKIE": str(directory / "cookie"),
            "ALSA_CONFIG_PATH": str(alsa),
            "JACK_NO_START_SERVER": "1",
        }
        self.env = {**os.environ, **self.sound_env}
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
            *(f"module-null-sink sink_name={sink} rate=48000 channels=2" for sink in (_FEED, _OUT)),
        ]
        self._daemon = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--disable-shm=yes",
                "--realtime=no",
                "--high-priority=no",
                *(f"--load={module}" for module in modules),
            ],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            if self._daemon.poll() is not None:
                raise AssertionError(f"pulseaudio ended with status {self._daemon.returncode}")
            if self._socket.exists() and self._pactl("info").returncode == 0:
                return
            time.sleep(0.025)
        raise AssertionError("pulseaudio does not answer")

    def stop(self) -> None:
        """Kill the daemon: both devices are gone."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None
            self._socket.unlink(missing_ok=True)

    def play(self, recording: Path) -> None:
        """Play a WAV file to the microphone; return when it was heard to its end."""
        with self.playing(recording) as player:
            assert player.wait(timeout=120) == 0

    @contextlib.contextmanager
    def playing(self, recording: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Play a WAV file to the microphone; leaving the context ends it."""
        player = subprocess.Popen(["paplay", f"--device={_FEED}", str(recording)], env=self.env)
        try:
            yield player
        finally:
            player.terminate()
            player.wait()

    def record(self, path: Path, *, rate_hz: int = 48_000) -> SpeakerRecording:
        """Record what comes out of the speaker into a mono WAV file for as long as the returned context lasts."""
        return SpeakerRecording(path, rate_hz, self.env)

    def unload_microphone(self) -> None:
        """Pull the microphone's plug."""
        self._unload(_FEED)

    def load_microphone(self) -> None:
        """Plug the microphone in again."""
        self._load(_FEED)

    def unload_speaker(self) -> None:
        """Pull the speaker's plug."""
        self._unload(_OUT)

    def load_speaker(self) -> None:
        """Plug the speaker in again."""
        self._load(_OUT)

    def _load(self, sink: str) -> None:
        loaded = self._pactl("load-module", "module-null-sink", f"sink_name={sink}", "rate=48000", "channels=2")
        assert loaded.returncode == 0, loaded.stderr

    def _unload(self, sink: str) -> None:
        for line in self._pactl("list", "short", "modules").stdout.splitlines():
            number, name, arguments, *_ = [*line.split("\t"), "", ""]
            if name == "module-null-sink" and f"sink_name={sink}" in arguments.split():
                assert self._pactl("unload-module", number).returncode == 0
                return
        raise AssertionError(f"{sink} is not loaded")

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *arguments], env=self.env, capture_output=True, text=True, timeout=20, check=False
        )


class SpeakerRecording:
    """What comes out of the speaker, as it comes.

    Attributes:
        path: The WAV file, whole once the context was left.
    """

    def __init__(self, path: Path, rate_hz: int, env: dict[str, str]) -> None:
        self.path = path
        self._rate_hz = rate_hz
        self._env = env
        self._raw = path.with_suffix(".raw")
        self._recorder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._recorder = subprocess.Popen(
            [
                "parec",
                f"--device={_OUT}.monitor",
                f"--rate={self._rate_hz}",
                "--channels=1",
                "--format=s16le",
                "--latency-msec=10",
                str(self._raw),
            ],
            env=self._env,
        )
        for _ in range(400):
            if self.frames():
                return self
            time.sleep(0.025)
        self.__exit__(None, None, None)
        raise AssertionError("parec records nothing")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._recorder is not None
        self._recorder.terminate()
        self._recorder.wait()
        pcm = self.pcm()
        with wave.open(str(self.path), "wb") as file:
            file.setparams((1, 2, self._rate_hz, 0, "NONE", ""))
            file.writeframes(pcm)
        self._raw.unlink(missing_ok=True)

    def frames(self) -> int:
        """Number of samples recorded so far."""
        return self._raw.stat().st_size // 2 if self._raw.exists() else 0

    def pcm(self) -> bytes:
        """What was recorded so far: 16-bit mono."""
        data = self._raw.read_bytes() if self._raw.exists() else b""
        return data[: len(data) // 2 * 2]


@pytest.fixture
def pulse_rig() -> Iterator[PulseRig]:
    """A running sound system of its own."""
    missing = [command for command in ("pulseaudio", "pactl", "paplay", "parec") if shutil.which(command) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (apt install pulseaudio pulseaudio-utils libasound2-plugins)")
    # Not tmp_path: a socket's path must be shorter than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="pulse-") as directory:
        rig = PulseRig(Path(directory))
        try:
            rig.start()
            yield rig
        finally:
            rig.stop()
