"""Whether PulseAudio or PipeWire takes the echo of what is played out of what the microphone hears.

Both have a module for that. It offers a virtual microphone, without the echo, and a virtual speaker, what is played
through which is what it takes out. `pactl` lists them on either server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ANSWER_S = 3.0
"""A sound server answers in milliseconds; one that takes longer hangs."""
_SERVER_NAMES = frozenset({"default", "pulse", "pulseaudio", "pipewire", "sysdefault"})
"""ALSA devices that lead to the sound server where there is one."""


@dataclass(frozen=True, slots=True)
class ServerDevice:
    """A source or a sink of the sound server, as it is called and described there."""

    name: str
    description: str
    cancels_echo: bool


@dataclass(frozen=True, slots=True)
class SoundServer:
    """What a sound server says of itself; among `sources` are the monitors of sinks, which hear what is played."""

    name: str
    default_source: str
    default_sink: str
    sources: tuple[ServerDevice, ...]
    sinks: tuple[ServerDevice, ...]

    @property
    def is_pipewire(self) -> bool:
        """Whether it is PipeWire, and only speaks PulseAudio's language."""
        return "pipewire" in self.name.casefold()

    @property
    def cancelling_source(self) -> str | None:
        """The virtual microphone, where there is one."""
        return next((source.name for source in self.sources if source.cancels_echo), None)

    @property
    def cancelling_sink(self) -> str | None:
        """The virtual speaker, where there is one."""
        return next((sink.name for sink in self.sinks if sink.cancels_echo), None)


class EchoCancellation(StrEnum):
    """How the chosen microphone stands to the server's echo cancellation.

    Attributes:
        USED: Microphone and speaker go through it.
        SPEAKER_BESIDE: The microphone does; what is played goes past it, so that nothing can be taken out.
        NOT_CHOSEN: It is there, and another microphone is used.
        ABSENT: The server has none loaded.
        SERVER_BYPASSED: A server runs, and the microphone is opened without it.
        NO_SERVER: No sound server runs.
        UNTOLD: The microphone is an ALSA device of somebody's own, which may lead anywhere.
    """

    USED = "used"
    SPEAKER_BESIDE = "speaker_beside"
    NOT_CHOSEN = "not_chosen"
    ABSENT = "absent"
    SERVER_BYPASSED = "server_bypassed"
    NO_SERVER = "no_server"
    UNTOLD = "untold"


def ask_sound_server(environ: Mapping[str, str] = os.environ) -> SoundServer | None:
    """Return what the sound server of this user says, None where none runs. Blocking, bounded.

    Raises:
        DeviceError: It can't be asked: `pactl` is missing, or does not answer as it should.
    """
    pactl = shutil.which("pactl", path=environ.get("PATH"))
    if pactl is None:
        if _has_socket(environ):
            raise DeviceError("sound server", "can't be asked; install pactl: apt install pulseaudio-utils")
        return None
    info = _ask(pactl, ("info",), environ)
    if info is None:
        return None
    sources, sinks = (_ask(pactl, ("list", what), environ) for what in ("sources", "sinks"))
    try:
        return SoundServer(
            name=str(info["server_name"]),
            default_source=str(info.get("default_source_name") or ""),
            default_sink=str(info.get("default_sink_name") or ""),
            sources=tuple(_device(entry, is_monitor=_is_monitor(entry)) for entry in sources or ()),
            sinks=tuple(_device(entry, is_monitor=False) for entry in sinks or ()),
        )
    except (TypeError, LookupError, AttributeError) as error:
        raise DeviceError("sound server", "answers in a form that is not known") from error


def judge(
    server: SoundServer | None, microphone: str, speaker: str, environ: Mapping[str, str] = os.environ
) -> EchoCancellation:
    """Say how a microphone and a speaker, by the names that PortAudio has for them, stand to echo cancellation."""
    if server is None:
        return EchoCancellation.NO_SERVER
    if _is_hardware(microphone):
        return EchoCancellation.SERVER_BYPASSED
    source = _find(microphone, server.sources, environ.get("PULSE_SOURCE") or server.default_source)
    if source is None and microphone.casefold() not in _SERVER_NAMES:
        return EchoCancellation.UNTOLD
    if source is None or not source.cancels_echo:
        return EchoCancellation.NOT_CHOSEN if server.cancelling_source else EchoCancellation.ABSENT
    sink = None
    if not _is_hardware(speaker):
        sink = _find(speaker, server.sinks, environ.get("PULSE_SINK") or server.default_sink)
    # PipeWire can listen to the real speaker instead, and then has no virtual one.
    beside = server.cancelling_sink is not None and (sink is None or not sink.cancels_echo)
    return EchoCancellation.SPEAKER_BESIDE if beside else EchoCancellation.USED


def _find(device: str, devices: Iterable[ServerDevice], default: str) -> ServerDevice | None:
    """Return where a device of PortAudio's leads in the server; None where that can't be told."""
    wanted = default if device.casefold() in _SERVER_NAMES else device
    return next((entry for entry in devices if wanted in {entry.name, entry.description}), None)


def _is_hardware(device: str) -> bool:
    return "(hw:" in device or "(plughw:" in device


def _is_monitor(entry: Mapping[str, Any]) -> bool:
    """Tell the monitor of a sink from a microphone; of a sink the same key names its monitor."""
    return bool(entry.get("monitor_source")) or str(entry["name"]).endswith(".monitor")


def _device(entry: Mapping[str, Any], *, is_monitor: bool) -> ServerDevice:
    name, description = str(entry["name"]), str(entry.get("description") or "")
    # PulseAudio tells by the driver, PipeWire by the node's group or whatever its owner called it.
    told = [name, description, str(entry.get("driver") or ""), *map(str, (entry.get("properties") or {}).values())]
    plain = [text.casefold().replace("-", "").replace("_", "").replace(" ", "") for text in told]
    return ServerDevice(name, description, cancels_echo=not is_monitor and any("echocancel" in text for text in plain))


def _ask(pactl: str, arguments: tuple[str, ...], environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what pactl prints; None where there is no server to connect to."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [pactl, "--format=json", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
            env={**environ, "LC_ALL": "C"},  # elsewhere it writes 0,0 into JSON
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError("sound server", f"does not answer for {_ANSWER_S:.0f} s; restart it") from error
    except OSError as error:
        raise DeviceError("sound server", f"can't be asked: {error.strerror}") from error
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()
        if "onnection" in complaint:  # "Connection failure: Connection refused"
            return None
        first = complaint.splitlines()[0] if complaint else f"status {done.returncode}"
        raise DeviceError("sound server", f"can't be asked: {first}; pactl of PulseAudio 16 or later is needed")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise DeviceError(
            "sound server", "can't be asked: pactl prints no JSON; version 16 or later is needed"
        ) from error


def _has_socket(environ: Mapping[str, str]) -> bool:
    if environ.get("PULSE_SERVER"):
        return True
    runtime = environ.get("XDG_RUNTIME_DIR")
    return runtime is not None and Path(runtime, "pulse", "native").exists()
