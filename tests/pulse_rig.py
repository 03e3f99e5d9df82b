"""A sound system without hardware: a plugin, so that any test may ask for `pulse_rig`.

                     agent_mic                        agent_speaker
    play() ─▶ sink mic_feed ─▶ monitor ─▶ the agent ─▶ sink speaker_out ─▶ monitor ─▶ record()

The agent's side is what PortAudio lists: ALSA devices of those names, on PulseAudio's null sinks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from edge_agent.devices.portaudio import refresh_devices

MICROPHONE = "agent_mic"
SPEAKER = "agent_speaker"
_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.{microphone} {{
    type pulse
    server "{microphone_server}"
    device "{monitor}"
    hint {{ show on; description "{microphone}" }}
}}
pcm.{speaker} {{
    type pulse
    server "{speaker_server}"
    device "{sink}"
    hint {{ show on; description "{speaker}" }}
}}
pcm.!default {{
    type asym
    capture.pcm "{microphone}"
    playback.pcm "{speaker}"
    hint {{ show on; description "default" }}
}}
ctl.!default {{ type pulse; server "{speaker_server}" }}
"""


class _Daemon:
    """A PulseAudio daemon that has one null sink.

    One each for microphone and speaker: where a device vanishes and another is left, PulseAudio moves its streams
    there, and the microphone would hear the speaker.
    """

    def __init__(self, directory: Path, sink: str, env: dict[str, str]) -> None:
        self.sink = sink
        self._socket = directory / sink
        self.server = f"unix:{self._socket}"
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        modules = (f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}", " ".join(self._null_sink()))
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),  # where the tests are killed it is not left behind
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
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            if self._process.poll() is not None:
                raise AssertionError(f"pulseaudio ended with status {self._process.returncode}")
            if self._socket.exists() and self._pactl("info").returncode == 0:
                return
            time.sleep(0.025)
        raise AssertionError("pulseaudio does not answer")

    def kill(self) -> None:
        """End it at once, also when it is frozen."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it answer nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def unload(self) -> None:
        """Take the sink away."""
        for line in self._pactl("list", "short", "modules").stdout.splitlines():
            number, name, *_ = line.split("\t")
            if name == "module-null-sink":
                assert self._pactl("unload-module", number).returncode == 0
                return
        raise AssertionError(f"{self.sink} is not loaded")

    def load(self) -> None:
        """Bring the sink back."""
        loaded = self._pactl("load-module", *self._null_sink())
        assert loaded.returncode == 0, loaded.stderr

    def suspend(self, *, suspended: bool) -> None:
        """Let the sink and with it its monitor rest, or go on."""
        done = self._pactl("suspend-sink", self.sink, "1" if suspended else "0")
        assert done.returncode == 0, done.stderr

    def _null_sink(self) -> tuple[str, ...]:
        return ("module-null-sink", f"sink_name={self.sink}", "rate=48000", "channels=2")

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["pactl", f"--server={self.server}", *arguments]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=20, check=False)


class PulseRig:
    """A private sound system with a microphone and a speaker made of null sinks.

    Attributes:
        sound_env: Variables by which a program finds this sound system and no other.
        env: The whole environment with them, ready for `Popen(env=…)`.
    """

    microphone = MICROPHONE
    speaker = SPEAKER

    def __init__(self, directory: Path) -> None:
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        alsa = directory / "alsa.conf"
        self.sound_env = {
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "PULSE_COOKIE": str(directory / "cookie"),
            "ALSA_CONFIG_PATH": str(alsa),
            "JACK_NO_START_SERVER": "1",
        }
        self.env = {**os.environ, **self.sound_env}
        self._feed = _Daemon(directory, "mic_feed", self.env)
        self._out = _Daemon(directory, "speaker_out", self.env)
        self.sound_env["PULSE_SERVER"] = self.env["PULSE_SERVER"] = self._out.server
        alsa.write_text(
            _ALSA.format(
                microphone=MICROPHONE,
                microphone_server=self._feed.server,
                monitor=f"{self._feed.sink}.monitor",
                speaker=SPEAKER,
                speaker_server=self._out.server,
                sink=self._out.sink,
            )
        )

    def start(self) -> None:
        """Start and wait until both devices are there."""
        self._feed.start()
        self._out.start()

    def stop(self) -> None:
        """Kill the sound system: both devices are gone."""
        self._feed.kill()
        self._out.kill()

    def play(self, recording: Path) -> None:
        """Play a WAV file to the microphone; return when it was heard to its end."""
        with self.playing(recording) as player:
            assert player.wait(timeout=120) == 0

    @contextlib.contextmanager
    def playing(self, recording: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Play a WAV file to the microphone; leaving the context ends it."""
        command = ["paplay", f"--server={self._feed.server}", f"--device={self._feed.sink}", str(recording)]
        player = subprocess.Popen(command, env=self.env)
        try:
            yield player
        finally:
            player.terminate()
            player.wait()

    def record(self, path: Path, *, rate_hz: int = 48_000) -> SpeakerRecording:
        """Record what comes out of the speaker into a mono WAV file for as long as the returned context lasts."""
        command = ["parec", f"--server={self._out.server}", f"--device={self._out.sink}.monitor"]
        return SpeakerRecording(path, rate_hz, command, self.env)

    def unload_microphone(self) -> None:
        """Pull the microphone's plug."""
        self._feed.unload()

    def load_microphone(self) -> None:
        """Plug the microphone in again."""
        self._feed.load()

    def suspend_microphone(self, *, suspended: bool) -> None:
        """Let the sound server suspend the microphone, as one that it believes to be unused; or wake it up."""
        self._feed.suspend(suspended=suspended)

    def freeze_microphone(self) -> None:
        """Let the microphone's sound server hang."""
        self._feed.freeze()

    def thaw_microphone(self) -> None:
        """Let it go on."""
        self._feed.thaw()

    def unload_speaker(self) -> None:
        """Pull the speaker's plug."""
        self._out.unload()

    def load_speaker(self) -> None:
        """Plug the speaker in again."""
        self._out.load()

    def freeze_speaker(self) -> None:
        """Let the speaker's sound server hang."""
        self._out.freeze()

    def thaw_speaker(self) -> None:
        """Let it go on."""
        self._out.thaw()


class SpeakerRecording:
    """What comes out of the speaker, as it comes.

    Attributes:
        path: The WAV file, whole once the context was left.
    """

    def __init__(self, path: Path, rate_hz: int, command: list[str], env: dict[str, str]) -> None:
        self.path = path
        self._rate_hz = rate_hz
        self._command = command
        self._env = env
        self._raw = path.with_suffix(".raw")
        self._recorder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._recorder = subprocess.Popen(
            [
                *self._command,
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


@pytest.fixture
def sound_system(pulse_rig: PulseRig, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseRig]:
    """A running sound system that PortAudio in this process finds."""
    with monkeypatch.context() as patched:
        for name, value in pulse_rig.sound_env.items():
            patched.setenv(name, value)
        assert refresh_devices()
        yield pulse_rig
    assert refresh_devices(), "a stream was left open"
