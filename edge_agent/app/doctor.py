"""`doctor`: what keeps this device from hearing and speaking well, and what to do about it."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edge_agent.audio import FRAME_S, silence
from edge_agent.devices.echo_cancel import EchoCancellation, ask_sound_server, judge
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import choose_device
from edge_agent.devices.speaker import Speaker
from edge_agent.errors import DeviceError, EdgeAgentError, ServiceError, UnknownDeviceError
from edge_agent.gateway.client import ask_service
from edge_agent.gateway.places import sockets_to_ask
from edge_agent.runtime import loop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.config.schema import Config
    from edge_agent.devices.echo_cancel import SoundServer

Verdict = Literal["ok", "warning", "fault"]

_LISTENED_S = 0.5
_NAME = "echo cancellation"
_PULSEAUDIO = """\
add to /etc/pulse/default.pa (or ~/.config/pulse/default.pa), then `pulseaudio -k`:
load-module module-echo-cancel aec_method=webrtc source_name=echo_cancelled sink_name=echo_cancelled_out
set-default-source echo_cancelled
set-default-sink echo_cancelled_out"""
_PIPEWIRE = """\
write to ~/.config/pipewire/pipewire.conf.d/60-echo-cancel.conf:
context.modules = [
  { name = libpipewire-module-echo-cancel
    args = {
      library.name = aec/libspa-aec-webrtc
      source.props = { node.name = "echo_cancelled" }
      sink.props = { node.name = "echo_cancelled_out" }
    }
  }
]
then `systemctl --user restart pipewire`, `pactl set-default-source echo_cancelled` and \
`pactl set-default-sink echo_cancelled_out`"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        verdict: fault: the agent can't do its work; warning: it can, and could better.
        remedy: What to do, with the exact lines; empty where there is nothing to do.
    """

    name: str
    verdict: Verdict
    message: str
    remedy: str = ""


class Check(Protocol):
    """One thing to look at. Blocking, in seconds at most; what is wrong is its result, never an error."""

    def __call__(self, config: Config) -> CheckResult:
        """Look."""
        ...


def check_microphone(config: Config) -> CheckResult:
    """Open the chosen microphone and listen for half a second."""
    try:
        name, loudest = loop.run(_listen(config.audio.input_device))
    except EdgeAgentError as error:
        return _unusable("microphone", "audio.input_device", error)
    if loudest == 0:
        remedy = "is it muted, or its switch off? `alsamixer` (F4) or `pactl set-source-mute @DEFAULT_SOURCE@ 0`"
        return CheckResult("microphone", "warning", f"{name} delivers nothing but zeros", remedy)
    return CheckResult("microphone", "ok", f"{name} delivers sound")


def check_speaker(config: Config) -> CheckResult:
    """Open the chosen speaker and play a little silence."""
    try:
        name = loop.run(_play_silence(config.audio.output_device))
    except EdgeAgentError as error:
        return _unusable("speaker", "audio.output_device", error)
    if config.audio.volume == 0:
        return CheckResult("speaker", "warning", f"{name} takes sound, at volume 0", "raise audio.volume")
    return CheckResult("speaker", "ok", f"{name} takes sound")


def check_echo_cancellation(config: Config) -> CheckResult:
    """Ask the sound server whether the agent's own voice is taken out of what the chosen microphone hears."""
    try:
        microphone = choose_device("microphone", config.audio.input_device).name
        speaker = choose_device("speaker", config.audio.output_device).name
    except (DeviceError, UnknownDeviceError) as error:
        return CheckResult(_NAME, "warning", f"can't be told without microphone and speaker: {error}")
    try:
        server = ask_sound_server()
    except DeviceError as error:
        return CheckResult(_NAME, "warning", f"can't be told: {error}")
    if server is None:
        return CheckResult(
            _NAME,
            "warning",
            "no sound server runs: a voice is told from the agent's own by its loudness alone",
            "speak up to interrupt; or install PipeWire or PulseAudio, and ask again; a USB speakerphone with its own "
            "echo cancellation needs neither",
        )
    return _advise(judge(server, microphone, speaker), server, microphone, speaker)


CHECKS: tuple[Check, ...] = (check_microphone, check_speaker, check_echo_cancellation)


def examine(config: Config, checks: Iterable[Check] = CHECKS) -> list[CheckResult]:
    """Make all checks, one after the other, whatever the others find. Blocking; no loop may run in this thread."""
    return [check(config) for check in checks]


def _advise(state: EchoCancellation, server: SoundServer, microphone: str, speaker: str) -> CheckResult:
    kind, lines = ("PipeWire", _PIPEWIRE) if server.is_pipewire else ("PulseAudio", _PULSEAUDIO)
    match state:
        case EchoCancellation.USED:
            return CheckResult(_NAME, "ok", f"{kind} takes the agent's voice out of what {microphone} hears")
        case EchoCancellation.SPEAKER_BESIDE:
            message = f"{speaker} plays past {kind}'s echo cancellation, which therefore takes out nothing"
            remedy = f'`pactl set-default-sink {server.cancelling_sink}`, with audio.output_device = "default"'
        case EchoCancellation.NOT_CHOSEN:
            message = f"{kind} cancels echoes, but not in what {microphone} hears"
            remedy = f"`pactl set-default-source {server.cancelling_source}`"
            if server.cancelling_sink is not None:
                remedy += f" and `pactl set-default-sink {server.cancelling_sink}`"
            remedy += ', with audio.input_device and output_device = "default"'
        case EchoCancellation.ABSENT:
            message, remedy = f"{kind} has no echo cancellation loaded", lines
        case EchoCancellation.SERVER_BYPASSED:
            message = f"{microphone} is opened past {kind}, which could cancel the echo"
            remedy = 'set audio.input_device and output_device to "default"'
            if server.cancelling_source is None:
                remedy += f", and {lines}"
        case _:
            message = f"can't be told: {microphone} is an ALSA device of your own"
            remedy = f'make sure that it leads to a source of {kind}\'s echo cancellation, or use "default"'
    return CheckResult(_NAME, "warning", message, remedy)


def _unusable(name: str, key: str, error: EdgeAgentError) -> CheckResult:
    """Return what a device that can't be opened means: nothing bad, where the service has it."""
    if not isinstance(error, UnknownDeviceError) and _service_runs():
        remedy = "stop the service to have its devices tried, or ask it: `edge-agent status`"
        return CheckResult(name, "warning", f"not tried, the running service may hold it: {error}", remedy)
    return CheckResult(name, "fault", str(error), f"connect it, or choose another with {key}")


def _service_runs() -> bool:
    try:
        ask_service(sockets_to_ask(), {"get": "status"}, timeout_s=3.0)
    except ServiceError:
        return False
    return True


async def _listen(device: str) -> tuple[str, int]:
    """Return a microphone's name and the largest sample that it delivers in half a second."""
    import numpy as np

    loudest = 0
    async with Microphone(device) as microphone, aclosing(microphone.frames()) as frames:
        left = round(_LISTENED_S / FRAME_S)
        async for frame in frames:
            loudest = max(loudest, int(np.abs(np.frombuffer(frame.pcm, "<i2").astype(np.int32)).max()))
            left -= 1
            if left == 0:
                break
        return microphone.name, loudest


async def _play_silence(device: str) -> str:
    async with Speaker(device) as speaker:
        await speaker.write(silence(0.1, 16_000))
        await speaker.drain()
        return speaker.name
