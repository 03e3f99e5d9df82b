"""Pauses and noise where they were asked for, and the speaker's true beginning and end."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.audio import FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ
from edge_agent.bench.pause_speech import TAIL_S, begins_in_voice, pink_noise, read_clip, with_noise, with_pause
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEAD_S = 1.5


def noise(*parts: tuple[float, float]) -> NDArray[np.float64]:
    """Return white noise: each part of so many seconds at such a level in decibels."""
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(0, 10 ** (db / 20), round(s * HEAR_RATE_HZ)) for s, db in parts])


def write(path: Path, samples: NDArray[np.float64], rate_hz: int = HEAR_RATE_HZ) -> Path:
    """Write a recording."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A directory with one recording: a room, two words with a soft place between them, the room, and a click."""
    samples = noise((0.5, 20), (0.6, 65), (0.06, 45), (0.9, 65), (0.8, 20), (0.04, 65), (0.6, 20))
    write(tmp_path / "words.wav", samples)
    return tmp_path


def test_the_true_end_is_that_of_the_voice(speech: Path) -> None:
    """Within a frame or two of where it was made, the room before it counted, the click after it not."""
    clip = read_clip(speech, "words.wav")
    assert clip.begins_s == pytest.approx(LEAD_S + 0.5, abs=0.04)
    assert clip.ends_s == pytest.approx(LEAD_S + 0.5 + 1.56, abs=0.04)
    assert len(clip.samples) == round((LEAD_S + 3.5 + TAIL_S) * HEAR_RATE_HZ)


def test_a_breath_is_no_beginning_of_speech(speech: Path, tmp_path: Path) -> None:
    """A recording in which 0.4 s of something 18 dB softer than the voice come first is told apart."""
    write(tmp_path / "breath.wav", noise((0.5, 20), (0.4, 47), (0.6, 65), (0.8, 20)))
    breath, words = read_clip(tmp_path, "breath.wav"), read_clip(speech, "words.wav")
    assert breath.begins_s == pytest.approx(LEAD_S + 0.5, abs=0.04)
    assert not begins_in_voice(breath)
    assert begins_in_voice(words)


def test_the_room_goes_on_around_the_recording(speech: Path) -> None:
    """As loud as in it, and the same every time."""
    clip = read_clip(speech, "words.wav")
    for part in (clip.samples[:HEAR_RATE_HZ], clip.samples[-HEAR_RATE_HZ:]):
        assert 10 * np.log10(np.mean(part**2)) == pytest.approx(20, abs=1.5)
    assert np.array_equal(clip.samples, read_clip(speech, "words.wav").samples)


def test_a_pause_goes_to_the_soft_place(speech: Path) -> None:
    """Between the words, as long as asked for; what was said before and after it is all there, only later."""
    clip = read_clip(speech, "words.wav")
    paused = with_pause(clip, 0.5, np.random.default_rng(1))
    assert paused.begins_s == clip.begins_s
    assert paused.ends_s == pytest.approx(clip.ends_s + 0.5)
    changed = int(np.flatnonzero(paused.samples[: len(clip.samples)] != clip.samples)[0])
    assert changed / HEAR_RATE_HZ == pytest.approx(LEAD_S + 0.5 + 0.63, abs=0.05)
    begin = changed + FRAME_SAMPLES
    room = paused.samples[begin : begin + round(0.4 * HEAR_RATE_HZ)]
    assert 10 * np.log10(np.mean(room**2)) == pytest.approx(20, abs=1.5)
    rest = round(1.0 * HEAR_RATE_HZ) + round(TAIL_S * HEAR_RATE_HZ)
    assert np.array_equal(paused.samples[-rest:], clip.samples[-rest:])


@pytest.mark.parametrize("pink", [False, True])
def test_noise_lies_as_far_below_the_voice_as_asked(speech: Path, *, pink: bool) -> None:
    """10 dB below the 65 dB of the words, from the first sample to the last."""
    clip = read_clip(speech, "words.wav")
    noisy = with_noise(clip, 10, np.random.default_rng(1), pink=pink)
    added = noisy.samples - clip.samples
    assert 10 * np.log10(np.mean(added**2)) == pytest.approx(55, abs=1.0)
    assert noisy.ends_s == clip.ends_s


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    """Each octave holds as much power as the next."""
    power = np.abs(np.fft.rfft(pink_noise(1 << 16, np.random.default_rng(1)))) ** 2
    octaves = [power[1 << n : 2 << n].sum() for n in range(8, 15)]
    assert max(octaves) / min(octaves) < 1.4


def test_frames_are_whole_and_clipped() -> None:
    """No wrap-around, and a left-over of less than a frame is left out."""
    from dataclasses import replace

    from edge_agent.bench.pause_speech import Clip

    clip = Clip("loud", np.full(FRAME_SAMPLES * 2 + 5, 60_000.0), 0.0, FRAME_S, np.zeros(3), 1.0)
    frames = clip.frames()
    assert len(frames) == 2
    assert set(np.frombuffer(frames[0].pcm, "<i2")) == {32_767}
    assert replace(clip, samples=clip.samples[:FRAME_SAMPLES]).frames() == frames[:1]


def test_what_is_no_recording_of_speech_is_refused(tmp_path: Path) -> None:
    """Each with what is wrong with it."""
    write(tmp_path / "fast.wav", noise((1.0, 60)), 48_000)
    write(tmp_path / "silent.wav", np.zeros(HEAR_RATE_HZ))
    write(tmp_path / "empty.wav", np.zeros(0))
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    for name, problem in {
        "fast.wav": "not 16 kHz",
        "silent.wav": "nobody speaks",
        "empty.wav": "nobody speaks",
        "text.wav": "can't be read",
        "absent.wav": "can't be read",
    }.items():
        with pytest.raises(AudioFileError, match=problem):
            read_clip(tmp_path, name)
