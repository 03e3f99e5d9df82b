"""What doctor says of microphone, speaker and the way between them, with null sinks for devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doctor_rig import LOOP, looped, paper
from pulse_rig import PulseRig
from sounds import save, tone

from edge_agent.app.doctor import sound
from edge_agent.app.doctor.echo_path import EchoPath, measure_echo_path
from edge_agent.app.doctor.levels import SILENCE_DBFS, LevelSummary
from edge_agent.app.doctor.sound import (
    check_echo_path,
    check_microphone,
    check_sample_rates,
    check_speaker,
    judge_echo,
)
from edge_agent.config.audio import AudioConfig
from edge_agent.config.schema import Config
from edge_agent.errors import DeviceError
from edge_agent.runtime import loop

SERVED = {
    "state": "idle",
    "audio": {"microphone": "USB mic", "frames_lost": 2, "clipped_percent": 0.0, "speaker": "USB out", "underruns": 1},
    "trouble": {"microphone": "", "speaker": ""},
}


def config_of(**audio: object) -> Config:
    """Return a configuration of microphone and speaker."""
    return Config(audio=AudioConfig.model_validate(audio))


@pytest.mark.live
def test_devices_that_work(sound_system: PulseRig, tmp_path: Path) -> None:
    """A microphone that hears something and a speaker that takes something are all right, at all three rates."""
    around = paper(tmp_path, listen_s=0.5)
    hum = np.frombuffer(tone(20, 16_000, 440, level=3000).pcm, "<i2") * (np.arange(20 * 16_000) % 8000 < 4000)
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker)
    prompts: list[str] = []
    with sound_system.playing(save(tmp_path / "hum.wav", hum, 16_000)):
        heard = check_microphone(config, paper(tmp_path, listen_s=1.5, on_prompt=prompts.append))
    assert heard.verdict == "ok", heard
    assert heard.message.startswith("agent_mic delivers sound: peak -21 dB")
    assert prompts == ["say something, at arm's length"]
    assert check_speaker(config, around).verdict == "ok"
    rates = check_sample_rates(config, around)
    assert rates.verdict == "ok"
    assert rates.message.startswith("microphone agent_mic takes 16, 44.1, 48 kHz; speaker agent_speaker takes")
    assert rates.figures["microphone_rates_hz"] == "16000, 44100, 48000"


@pytest.mark.live
def test_devices_that_work_and_are_not_heard(sound_system: PulseRig, tmp_path: Path) -> None:
    """Nothing but zeros, and volume 0, are warnings with a remedy."""
    around = paper(tmp_path, listen_s=0.5)
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker, volume=0)
    zeros, mute = check_microphone(config, around), check_speaker(config, around)
    assert (zeros.verdict, mute.verdict) == ("warning", "warning")
    assert "nothing but zeros" in zeros.message
    assert "muted" in zeros.remedy
    assert "audio.volume" in mute.remedy
    assert "volume is 0" in check_echo_path(config, around).message


@pytest.mark.parametrize(
    ("name", "zero_share", "verdict"),
    [
        ("USB PnP Sound Device: Audio (hw:1,0)", 1.0, "fault"),
        ("USB PnP Sound Device: Audio (hw:1,0)", 0.5, "ok"),
        ("pulse", 1.0, "warning"),
    ],
    ids=["hardware", "hardware that hears", "server"],
)
def test_a_hardware_microphone_of_nothing_but_zeros_is_a_fault(
    name: str, zero_share: float, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody will be heard through it; a sound server's monitor may only rest."""

    async def measure(*_: object) -> LevelSummary:
        peak_dbfs = SILENCE_DBFS if zero_share == 1 else -20.0
        return LevelSummary(name, -50.0, peak_dbfs, 0.0, zero_share, 16_000, floor_dbfs=-60.0)

    monkeypatch.setattr(sound, "measure_levels", measure)
    found = check_microphone(config_of(), paper(tmp_path))
    assert found.verdict == verdict
    assert ("muted" in found.remedy) is (zero_share == 1)


def test_a_device_that_is_away_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has its name at the head."""

    async def measure(*_: object) -> LevelSummary:
        raise DeviceError("microphone", "none is connected")

    monkeypatch.setattr(sound, "measure_levels", measure)
    assert check_microphone(config_of(), paper(tmp_path)).message == "none is connected"


def test_nothing_is_minus_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in words nor in figures."""

    async def measure(*_: object) -> LevelSummary:
        return LevelSummary(
            name="mic",
            rms_dbfs=-0.04,
            peak_dbfs=-0.04,
            floor_dbfs=-40,
            clipped_share=0,
            zero_share=0,
            rate_hz=16_000,
            frames_lost=0,
        )

    monkeypatch.setattr(sound, "measure_levels", measure)
    found = check_microphone(config_of(), paper(tmp_path))
    assert "peak 0 dB" in found.message
    assert str(found.figures["peak_dbfs"]) == "0.0"
    echo = judge_echo(EchoPath("mic", "out", loop_ms=90.0, delay_ms=20.0, coupling_db=-0.2, heard_rms=9.0))
    assert "+0 dB" in echo.message


@pytest.mark.live
def test_devices_that_are_not_there(sound_system: PulseRig, tmp_path: Path) -> None:
    """Each is a fault that names the setting, also while the service runs; what builds on them is not told."""
    config = config_of(input_device="gramophone", output_device="trumpet")
    for around in (paper(tmp_path), paper(tmp_path, status=SERVED)):
        microphone, speaker = check_microphone(config, around), check_speaker(config, around)
        assert microphone.verdict == speaker.verdict == "fault"
        assert "no microphone matches 'gramophone'" in microphone.message
        assert "audio.input_device" in microphone.remedy
        assert "audio.output_device" in speaker.remedy
        assert check_sample_rates(config, around).verdict == "warning"
    assert check_echo_path(config, paper(tmp_path)).verdict == "warning"


@pytest.mark.live
def test_devices_that_the_service_holds_are_told_of_by_it(sound_system: PulseRig, tmp_path: Path) -> None:
    """What can't be opened is a fault, unless the service has it, whose figures are shown then."""
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker)
    sound_system.stop()
    assert check_microphone(config, paper(tmp_path)).verdict == "fault"
    held = check_microphone(config, paper(tmp_path, status=SERVED))
    assert (held.verdict, held.figures["frames_lost"]) == ("ok", 2)
    assert "listens to USB mic" in held.message
    assert "speaks through USB out" in check_speaker(config, paper(tmp_path, status=SERVED)).message
    deaf = {**SERVED, "trouble": {"microphone": "delivers nothing but zeros for 30 s"}}
    assert check_microphone(config, paper(tmp_path, status=deaf)).verdict == "fault"
    running = {"systemctl show": "ActiveState=active"}
    assert check_microphone(config, paper(tmp_path, running)).verdict == "warning"  # and this user may not ask it
    untold = check_microphone(config, paper(tmp_path, status={}))
    assert untold.verdict == "warning"
    assert "systemctl stop edge-agent" in untold.remedy


@pytest.mark.live
def test_the_service_is_not_disturbed_by_a_sweep(sound_system: PulseRig, tmp_path: Path) -> None:
    """It hears and speaks; the command that makes room is named."""
    found = check_echo_path(config_of(), paper(tmp_path, status=SERVED))
    assert found.verdict == "warning"
    assert "sudo systemctl stop edge-agent; edge-agent doctor --only echo_path" in found.remedy


@pytest.mark.live
def test_the_echo_path_of_a_wire(sound_system: PulseRig) -> None:
    """A microphone on the speaker's monitor: 0 dB at any volume, as late as the buffers are long."""
    with looped(sound_system) as microphone:
        for volume in (100, 50):
            found = loop.run(measure_echo_path(microphone, sound_system.speaker, volume))
            assert found.coupling_db == pytest.approx(0, abs=0.5)
            assert found.loop_ms is not None
            assert 20 < found.loop_ms < 400


@pytest.mark.live
def test_an_echo_path_that_leads_nowhere(sound_system: PulseRig, tmp_path: Path) -> None:
    """The microphone hears something else: a warning that asks what was heard."""
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker)
    found = check_echo_path(config, paper(tmp_path))
    assert found.verdict == "warning"
    assert "hears nothing of what agent_speaker plays" in found.message
    assert "whistle" in found.remedy
    with looped(sound_system):
        assert check_echo_path(config_of(input_device=LOOP), paper(tmp_path)).verdict == "ok"


@pytest.mark.parametrize(
    ("delay_ms", "coupling_db", "verdict"), [(40.0, -20.0, "ok"), (300.0, -20.0, "warning"), (40.0, 5.0, "warning")]
)
def test_what_an_echo_means(delay_ms: float, coupling_db: float, verdict: str) -> None:
    """Too late, or louder than what was played, hinders being interrupted."""
    found = judge_echo(EchoPath("mic", "out", delay_ms + 100, delay_ms, coupling_db, 0.1))
    assert found.verdict == verdict
    assert bool(found.remedy) is (verdict != "ok")
