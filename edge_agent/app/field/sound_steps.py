"""Microphone, speaker, and what of the one comes back by the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.doctor.echo_path import measure_echo_path
from edge_agent.app.doctor.levels import measure_levels, play_tone
from edge_agent.app.doctor.sound import judge_echo, judge_levels
from edge_agent.app.field.step import StepResult

if TYPE_CHECKING:
    from edge_agent.app.field.step import Figure, Person
    from edge_agent.config.audio import AudioConfig
    from edge_agent.runtime.pool import Pool

_QUIET_S = 3.0
_SPOKEN_S = 5.0


async def try_microphone(audio: AudioConfig, person: Person, pool: Pool) -> StepResult:
    """Measure the room while nobody speaks, and then, where somebody is there, a voice."""
    if person.is_there:
        await pool.run(partial(person.tell, "be quiet for 3 seconds"), kind="field.tell")
    quiet = await measure_levels(audio.input_device, _QUIET_S)
    figures: dict[str, Figure] = {
        "device": quiet.name,
        "rate_hz": quiet.rate_hz,
        "noise_floor_dbfs": round(quiet.rms_dbfs, 1),
        "zero_percent": round(100 * quiet.zero_share, 1),
        "clipped_percent": round(100 * quiet.clipped_share, 3),
        "frames_lost": quiet.frames_lost,
        "speech_rms_dbfs": None,
        "speech_peak_dbfs": None,
    }
    message, remedy = judge_levels(quiet, is_asked=False)
    if person.is_there and not remedy:
        await pool.run(
            partial(person.tell, "say something, at the distance at which you will speak"), kind="field.tell"
        )
        spoken = await measure_levels(
            audio.input_device, _SPOKEN_S, lambda level: person.level(level.rms_dbfs, level.peak_dbfs)
        )
        message, remedy = judge_levels(spoken, is_asked=True)
        figures |= {
            "speech_rms_dbfs": round(spoken.rms_dbfs, 1),
            "speech_peak_dbfs": round(spoken.peak_dbfs, 1),
            "clipped_percent": round(100 * spoken.clipped_share, 3),
            "frames_lost": quiet.frames_lost + spoken.frames_lost,
        }
    if remedy:
        return StepResult("microphone", "fail", f"{message}; {remedy}", figures)
    return StepResult("microphone", "pass", message, figures)


async def try_speaker(audio: AudioConfig, person: Person, pool: Pool) -> StepResult:
    """Play three notes; a person says whether they were heard, else the microphone does, in the step `echo`."""
    name = await play_tone(audio.output_device, audio.volume)
    figures: dict[str, Figure] = {"device": name, "volume_percent": audio.volume}
    heard = await pool.run(partial(person.confirm, "speaker", "did you hear three notes"), kind="field.ask")
    if heard is None:
        found = await measure_echo_path(audio.input_device, audio.output_device, audio.volume)
        if found.loop_ms is None:
            reason = f"{name} takes sound; nobody said whether it is heard, and the microphone does not hear it"
            return StepResult("speaker", "fail", reason, figures)
        return StepResult("speaker", "pass", f"{name} is heard by {found.microphone}", figures)
    if not heard:
        return StepResult("speaker", "fail", f"{name} takes sound, and nobody hears it", figures)
    return StepResult("speaker", "pass", f"{name} was heard", figures)


async def try_echo(audio: AudioConfig) -> StepResult:
    """Measure how late and how loud the agent hears itself."""
    found = await measure_echo_path(audio.input_device, audio.output_device, audio.volume)
    judged = judge_echo(found)
    outcome = "pass" if judged.verdict == "ok" else "fail"
    message = f"{judged.message}; {judged.remedy}" if judged.remedy else judged.message
    return StepResult("echo", "pass" if outcome == "pass" else "fail", message, dict(judged.figures))
