"""Microphone and speaker: opened, heard, clipped, dead; which rates they take; what comes back of what is played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge_agent.app.doctor.echo_path import measure_echo_path
from edge_agent.app.doctor.levels import (
    MOST_CLIPPED_SHARE,
    QUIET_DBFS,
    SILENCE_DBFS,
    measure_levels,
    play_tone,
)
from edge_agent.app.doctor.result import UNIT, CheckResult
from edge_agent.devices.cards import hardware_of
from edge_agent.devices.echo_cancel import EchoCancellation, ask_sound_server, judge
from edge_agent.devices.portaudio import choose_device, choose_format
from edge_agent.errors import DeviceError, EdgeAgentError, UnknownDeviceError
from edge_agent.runtime import loop

if TYPE_CHECKING:
    from edge_agent.app.doctor.echo_path import EchoPath
    from edge_agent.app.doctor.levels import LevelSummary
    from edge_agent.app.doctor.result import Figure, Surroundings, Verdict
    from edge_agent.config.schema import Config
    from edge_agent.devices.portaudio import Kind

_RATES_HZ = (16_000, 44_100, 48_000)
_LOUD_FLOOR_DBFS = -35.0
"""A room is quieter; above it a gain is too high, or a fan blows at the microphone."""
_SPEECH_ABOVE_FLOOR_DB = 18.0
"""Peaks of steady noise stand 12 dB above its RMS, those of speech 25 and more above a room's."""
_ALL_ZERO = 0.999
_LATEST_ECHO_MS = 250.0
"""Up to here the agent tells its own voice from a person's (docs/devices.md)."""
_LOUDEST_ECHO_DB = 0.0
_ALSA_MUTED = "is it muted, or its switch off? `alsamixer` (F4) or `pactl set-source-mute @DEFAULT_SOURCE@ 0`"
_LESS_GAIN = "turn its gain down: `alsamixer` (F4), or `pactl set-source-volume @DEFAULT_SOURCE@ 60%`"
_MORE_GAIN = (
    "turn its gain up: `alsamixer` (F4), or `pactl set-source-volume @DEFAULT_SOURCE@ 100%`; speak nearer to it"
)
_STOP_FIRST = f"sudo systemctl stop {UNIT}; edge-agent doctor --only {{}}; sudo systemctl start {UNIT}"


def check_microphone(config: Config, around: Surroundings) -> CheckResult:
    """Open the chosen microphone, listen for some seconds, and judge how loud, how clean and how alive it is."""
    if around.on_prompt is not None:
        around.on_prompt("say something, at arm's length")
    try:
        heard = loop.run(measure_levels(config.audio.input_device, around.listen_s, around.on_level))
    except EdgeAgentError as error:
        return _unusable("microphone", "audio.input_device", error, around)
    figures: dict[str, Figure] = {
        "device": heard.name,
        "rate_hz": heard.rate_hz,
        "rms_dbfs": round(heard.rms_dbfs, 1) + 0.0,  # -0.0 becomes 0.0
        "peak_dbfs": round(heard.peak_dbfs, 1) + 0.0,
        "floor_dbfs": round(heard.floor_dbfs, 1) + 0.0,
        "clipped_percent": round(100 * heard.clipped_share, 3),
        "zero_percent": round(100 * heard.zero_share, 1),
        "frames_lost": heard.frames_lost,
    }
    message, remedy = judge_levels(heard, is_asked=around.on_prompt is not None)
    verdict: Verdict = "ok"
    if remedy:
        verdict = "fault" if _is_dead(heard) else "warning"
    return CheckResult("microphone", verdict, message, remedy, figures)


def _is_dead(heard: LevelSummary) -> bool:
    """Whether nothing can be heard: a converter's noise is never zero. A sound server gives zeros while it rests."""
    return heard.zero_share > _ALL_ZERO and hardware_of(heard.name) is not None


def judge_levels(heard: LevelSummary, *, is_asked: bool) -> tuple[str, str]:
    """Return what is to be said of a microphone, and what to do; nothing where it is all right.

    Args:
        heard: What was measured.
        is_asked: Somebody was asked to speak, so that silence means something.
    """
    if heard.zero_share > _ALL_ZERO:
        return f"{heard.name} delivers nothing but zeros", _ALSA_MUTED
    message = f"{heard.name} delivers sound: peak {_decibels(heard.peak_dbfs)}, quietest {_shown(heard.floor_dbfs)}"
    if heard.clipped_share > MOST_CLIPPED_SHARE:
        return f"{message}; {100 * heard.clipped_share:.1f} % of it is clipped", _LESS_GAIN
    if heard.frames_lost:
        remedy = "too much runs beside it: `top`; another USB port, without a hub"
        return f"{message}; {heard.frames_lost} frames were lost", remedy
    if heard.floor_dbfs > _LOUD_FLOOR_DBFS and not is_asked:
        return f"{message}: noisy, for a room where nobody speaks", _LESS_GAIN
    is_like_noise = heard.peak_dbfs - heard.floor_dbfs < _SPEECH_ABOVE_FLOOR_DB
    if is_asked and (heard.peak_dbfs < QUIET_DBFS or is_like_noise):
        return f"{message}: no speech in it, or too quiet", _MORE_GAIN
    return message, ""


def check_speaker(config: Config, around: Surroundings) -> CheckResult:
    """Open the chosen speaker and play three notes."""
    audio = config.audio
    try:
        name = loop.run(play_tone(audio.output_device, audio.volume))
    except EdgeAgentError as error:
        return _unusable("speaker", "audio.output_device", error, around)
    figures: dict[str, Figure] = {"device": name, "volume_percent": audio.volume}
    if audio.volume == 0:
        return CheckResult("speaker", "warning", f"{name} takes sound, at volume 0", "raise audio.volume", figures)
    heard = "; three notes were played: did you hear them?" if around.on_prompt is not None else ""
    return CheckResult("speaker", "ok", f"{name} takes sound, at volume {audio.volume} %{heard}", figures=figures)


def check_sample_rates(config: Config, around: Surroundings) -> CheckResult:
    """Ask both chosen devices which of 16, 44.1 and 48 kHz they take."""
    wanted: tuple[tuple[Kind, str], ...] = (
        ("microphone", config.audio.input_device),
        ("speaker", config.audio.output_device),
    )
    figures: dict[str, Figure] = {}
    parts, silent = [], []
    for kind, device in wanted:
        try:
            name, rates_hz = _rates_of(kind, device)
        except (DeviceError, UnknownDeviceError) as error:
            return _untold("sample_rates", error, around)
        figures[f"{kind}_rates_hz"] = ", ".join(map(str, rates_hz)) or None
        parts.append(f"{kind} {name} takes {_kilohertz(rates_hz)}")
        if not rates_hz:
            silent.append(name)
    if silent:
        remedy = "take ALSA's converting device: a name with `plughw:`, `pulse` or `default` (edge-agent devices)"
        return CheckResult("sample_rates", "warning", "; ".join(parts), remedy, figures)
    return CheckResult("sample_rates", "ok", "; ".join(parts), figures=figures)


def check_echo_path(config: Config, around: Surroundings) -> CheckResult:
    """Play a sweep through the speaker and find it in what the microphone hears."""
    audio = config.audio
    if around.is_served:
        remedy = _STOP_FIRST.format("echo_path")
        return CheckResult("echo_path", "warning", "not measured: the service uses microphone and speaker", remedy)
    if audio.volume == 0:
        return CheckResult("echo_path", "warning", "not measured: audio.volume is 0", "raise audio.volume")
    try:
        found = loop.run(measure_echo_path(audio.input_device, audio.output_device, audio.volume))
    except EdgeAgentError as error:
        return _untold("echo_path", error, around)
    return judge_echo(found)


def judge_echo(found: EchoPath) -> CheckResult:
    """Say what an echo path means for being interrupted by voice."""
    figures: dict[str, Figure] = {
        "loop_ms": found.loop_ms,
        "delay_ms": found.delay_ms,
        "coupling_db": found.coupling_db,
    }
    if found.loop_ms is None or found.delay_ms is None or found.coupling_db is None:
        return _nothing_came_back(found, figures)
    message = (
        f"{found.microphone} hears {found.speaker} after {found.loop_ms:.0f} ms, at {round(found.coupling_db):+d} dB"
    )
    if found.delay_ms > _LATEST_ECHO_MS:
        remedy = "a Bluetooth or network speaker is too late for being interrupted by voice; take one with a wire"
        return CheckResult("echo_path", "warning", f"{message}: late", remedy, figures)
    if found.coupling_db > _LOUDEST_ECHO_DB:
        remedy = "it hears itself louder than it speaks: move them apart, lower audio.volume or the microphone's gain"
        return CheckResult("echo_path", "warning", message, remedy, figures)
    return CheckResult("echo_path", "ok", message, figures=figures)


def _nothing_came_back(found: EchoPath, figures: dict[str, Figure]) -> CheckResult:
    if _is_cancelled(found):
        message = f"nothing of {found.speaker} comes back: echo cancellation takes it out"
        return CheckResult("echo_path", "ok", message, figures=figures)
    message = f"{found.microphone} hears nothing of what {found.speaker} plays"
    remedy = (
        "did you hear a rising whistle? If not: is the loudspeaker connected, switched on and turned up (`alsamixer`)? "
        "If so: is the microphone muted, or far away? With headphones this is as it should be"
    )
    return CheckResult("echo_path", "warning", message, remedy, figures)


def _is_cancelled(found: EchoPath) -> bool:
    try:
        return judge(ask_sound_server(), found.microphone, found.speaker) is EchoCancellation.USED
    except DeviceError:
        return False


def _rates_of(kind: Kind, wanted: str) -> tuple[str, list[int]]:
    device = choose_device(kind, wanted)
    taken: list[int] = []
    for rate_hz in _RATES_HZ:
        try:
            form = choose_format(kind, device, (rate_hz,))
        except DeviceError:  # not even at its own rate: it is busy, or gone
            if taken:
                continue
            raise
        if form.rate_hz == rate_hz:
            taken.append(rate_hz)
    return device.name, taken


def _unusable(name: str, key: str, error: EdgeAgentError, around: Surroundings) -> CheckResult:
    """Return what a device that can't be opened means: nothing bad, where the service has it and is well."""
    if isinstance(error, UnknownDeviceError) or not around.is_served:
        return CheckResult(
            name,
            "fault",
            str(error).removeprefix(f"{name}: "),
            f"connect it, restart the sound server if that hangs, or choose another with {key}",
        )
    return as_the_service_says(name, around.status or {}, error)


def as_the_service_says(name: str, status: Mapping[str, Any], error: EdgeAgentError) -> CheckResult:
    """Return what the running service, which has the device, tells of it."""
    told, troubles = _section(status, "audio"), _section(status, "trouble")
    figures: dict[str, Figure] = {
        key: value for key, value in told.items() if isinstance(value, str | int | float) or value is None
    }
    if trouble := troubles.get(name):
        return CheckResult(name, "fault", f"the running service says: {trouble}", "edge-agent status", figures)
    device = told.get(name)
    if device and name == "microphone":
        parts = [f"the running service listens to {device}", f"{told.get('frames_lost', 0)} frames lost"]
        if (clipped := told.get("clipped_percent") or 0) > 100 * MOST_CLIPPED_SHARE:
            message = "; ".join([*parts, f"{clipped:g} % clipped"])
            return CheckResult(name, "warning", message, _LESS_GAIN, figures)
        return CheckResult(name, "ok", "; ".join(parts), figures=figures)
    if device:
        message = f"the running service speaks through {device}; {told.get('underruns', 0)} gaps"
        return CheckResult(name, "ok", message, figures=figures)
    message = f"not tried, the running service may hold it: {error}"
    return CheckResult(name, "warning", message, _STOP_FIRST.format(name), figures)


def _section(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = status.get(key)
    return found if isinstance(found, Mapping) else {}


def _untold(name: str, error: EdgeAgentError, around: Surroundings) -> CheckResult:
    held = "the running service may hold the device; " if around.is_served else ""
    remedy = _STOP_FIRST.format(name) if held else "see the lines microphone and speaker"
    return CheckResult(name, "warning", f"can't be told: {held}{error}", remedy)


def _kilohertz(rates_hz: list[int]) -> str:
    return ", ".join(f"{rate_hz / 1000:g}" for rate_hz in rates_hz) + " kHz" if rates_hz else "none of 16, 44.1, 48 kHz"


def _decibels(level_db: float) -> str:
    return f"{round(level_db)} dB"  # a format would print "-0"


def _shown(level_dbfs: float) -> str:
    return "silent" if level_dbfs <= SILENCE_DBFS else _decibels(level_dbfs)
