"""Whether the sound server takes the agent's own voice out of what the microphone hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import CheckResult
from edge_agent.devices.echo_cancel import EchoCancellation, ask_sound_server, judge
from edge_agent.devices.portaudio import choose_device
from edge_agent.errors import DeviceError, UnknownDeviceError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.devices.echo_cancel import SoundServer

_NAME = "echo_cancellation"
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
