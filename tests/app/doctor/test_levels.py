"""The level meter, by arithmetic and on a null sink."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pulse_rig import PulseRig
from sounds import save, tone

from edge_agent.app.doctor.levels import SILENCE_DBFS, Level, LevelMeter, dbfs, measure_levels, play_tone, three_notes
from edge_agent.app.doctor.sound import judge_levels
from edge_agent.errors import UnknownDeviceError


def metered(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> LevelMeter:
    """Return a meter that has seen these samples, a tenth of a second at a time."""
    meter = LevelMeter()
    for start in range(0, len(samples), 1600):
        meter.add(samples[start : start + 1600].tobytes())
    return meter


def test_a_sine_of_half_the_scale() -> None:
    """Its peak is at -6 dB, its RMS 3 dB below."""
    samples = np.frombuffer(tone(1, 16_000, 440, level=16_384).pcm, "<i2")
    told = metered(samples).summary("mic", 48_000)
    assert told.peak_dbfs == pytest.approx(-6.02, abs=0.05)
    assert told.rms_dbfs == pytest.approx(-9.03, abs=0.05)
    assert told.clipped_share == 0
    assert (told.name, told.rate_hz) == ("mic", 48_000)


def test_clipping_zeros_and_floor() -> None:
    """Shares of the samples; the floor is what the quietest tenth of a second is."""
    loud = np.clip(np.frombuffer(tone(1, 16_000, 100, level=32_000).pcm, "<i2").astype(float) * 2, -32_768, 32_767)
    half = np.concatenate((loud, np.zeros(16_000))).astype("<i2")
    told = metered(half).summary("mic", 16_000)
    assert told.clipped_share == pytest.approx(1 / 3, abs=0.02)  # beyond half the height: two thirds of each half
    assert told.zero_share == pytest.approx(0.5, abs=0.02)
    assert told.floor_dbfs == SILENCE_DBFS
    assert "clipped" in judge_levels(told, is_asked=False)[0]


def test_decibels() -> None:
    """Zero is nothing, full scale is 0."""
    assert dbfs(0) == SILENCE_DBFS
    assert dbfs(32_768) == 0
    assert LevelMeter().add(b"") == Level(SILENCE_DBFS, SILENCE_DBFS)


def test_what_is_said_of_a_microphone() -> None:
    """Dead, too quiet, noisy, all right."""
    zeros = metered(np.zeros(16_000, np.int16)).summary("mic", 16_000)
    assert "nothing but zeros" in judge_levels(zeros, is_asked=False)[0]
    random = np.random.default_rng(1)
    quiet = metered((random.standard_normal(16_000) * 15).astype("<i2")).summary("mic", 16_000)
    assert judge_levels(quiet, is_asked=False)[1] == ""
    assert "no speech" in judge_levels(quiet, is_asked=True)[0]
    noisy = metered((random.standard_normal(16_000) * 3000).astype("<i2")).summary("mic", 16_000)
    assert "noisy" in judge_levels(noisy, is_asked=False)[0]
    assert "no speech" in judge_levels(noisy, is_asked=True)[0]  # a fan is no voice, however loud
    voice = np.concatenate((random.standard_normal(8_000) * 30, random.standard_normal(8_000) * 1500)).astype("<i2")
    assert judge_levels(metered(voice).summary("mic", 16_000), is_asked=True)[1] == ""


def test_the_notes() -> None:
    """About a second, at half of full scale."""
    notes = np.frombuffer(three_notes().pcm, "<i2")
    assert 0.9 < len(notes) / three_notes().rate_hz < 1.3
    assert 15_000 < np.abs(notes.astype(int)).max() < 17_000


@pytest.mark.live
async def test_a_microphone_is_measured(sound_system: PulseRig, tmp_path: Path) -> None:
    """As loud as what is played into it; the meter moves ten times a second."""
    hum = save(tmp_path / "hum.wav", np.frombuffer(tone(20, 16_000, 440, level=3277).pcm, "<i2"), 16_000)
    levels: list[Level] = []
    with sound_system.playing(hum):
        heard = await measure_levels(sound_system.microphone, 2.0, levels.append)
    assert heard.name == "agent_mic"
    assert heard.peak_dbfs == pytest.approx(-20, abs=0.5)
    assert len(levels) == 20
    assert max(level.rms_dbfs for level in levels) == pytest.approx(-23, abs=0.5)


@pytest.mark.live
async def test_a_tone_is_played(sound_system: PulseRig) -> None:
    """The device's name comes back; one that is not there is refused."""
    assert await play_tone(sound_system.speaker, 50) == "agent_speaker"
    with pytest.raises(UnknownDeviceError):
        await play_tone("trumpet", 50)
