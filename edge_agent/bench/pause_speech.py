"""Recorded speech with pauses put into it and noise over it, and where in it somebody speaks."""

from __future__ import annotations

import wave
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.audio import FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

_LEAD_S = 1.5
"""Before the recording: a voice activity detector has heard the room before somebody speaks."""
TAIL_S = 3.0
"""After the recording; an utterance that has not ended then counts as ended there."""
_VOICE_LEVEL = 0.3
"""Where between the floor and the loud parts, in decibels, a voice begins …"""
_VOICE_RANGE_DB = 28.0
"""… but no further below the loud parts than this, or in a silent room a breath would be one."""
_CLICK_S, _ALONE_S = 0.1, 0.3
"""What is shorter, with nothing so near, is a click; the last consonant of a word has the rest of it near."""
_FLOOR_PERCENTILE, _LOUD_PERCENTILE = 10, 97
_PAUSE_EDGE_S = 0.01
_ONSET_S, _ONSET_DB = 0.3, 6.0
"""A voice comes within 6 dB of its mean loudness so soon; a breath is 10 dB below it."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance in quiet surroundings. Times are seconds from its first sample.

    Attributes:
        name: The file, below the directory of speech.
        samples: 16 kHz, in the range of 16 bits, room before and after it included.
        begins_s: Where the voice begins, by its energy.
        ends_s: Where it ends: the true end of speech.
        room: Magnitude spectrum of 20 ms of the room without the voice.
        voice_rms: Loudness of the voice.
    """

    name: str
    samples: Samples
    begins_s: float
    ends_s: float
    room: Samples
    voice_rms: float

    def frames(self) -> tuple[AudioChunk, ...]:
        """Return it as 20 ms frames, clipped to 16 bits; what is left of a frame at its end is left out."""
        pcm = np.clip(np.rint(self.samples), -32_768, 32_767).astype("<i2").tobytes()
        size = FRAME_SAMPLES * 2
        return tuple(AudioChunk(pcm[at : at + size], HEAR_RATE_HZ) for at in range(0, len(pcm) - size + 1, size))


def read_clip(directory: Path, name: str) -> Clip:
    """Read a 16 kHz mono recording in 16 bits, and put its room's noise before and after it.

    Raises:
        AudioFileError: It can't be read, or has another form, or nobody speaks in it.
    """
    path = directory / name
    try:
        with wave.open(str(path)) as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    except (OSError, EOFError, wave.Error) as error:
        raise AudioFileError(path, f"can't be read: {error}") from error
    if form != (HEAR_RATE_HZ, 1, 2):
        raise AudioFileError(path, "is not 16 kHz, mono, 16 bits; convert it with `sox IN -r 16000 -c 1 -b 16 OUT`")
    levels_db = _levels_db(samples)
    runs = _voiced_runs(levels_db)
    if not runs:
        raise AudioFileError(path, "nobody speaks in it; take recordings of speech")
    voice_db = np.concatenate([levels_db[first:end] for first, end in runs])
    room = _quiet_spectrum(samples, levels_db)
    rng = np.random.default_rng(len(samples))
    lead, tail = (room_noise(room, round(length_s * HEAR_RATE_HZ), rng) for length_s in (_LEAD_S, TAIL_S))
    return Clip(
        name,
        np.concatenate((lead, samples, tail)),
        _LEAD_S + runs[0][0] * FRAME_S,
        _LEAD_S + runs[-1][1] * FRAME_S,
        room,
        float(np.sqrt(np.mean(10 ** (voice_db / 10)))),
    )


def begins_in_voice(clip: Clip) -> bool:
    """Tell whether there is a voice from `begins_s` on; before some there is a breath, which is no onset of speech."""
    at = round(clip.begins_s * HEAR_RATE_HZ)
    first = _levels_db(clip.samples[at : at + round(_ONSET_S * HEAR_RATE_HZ)])
    return bool(first.max() > 20 * np.log10(clip.voice_rms) - _ONSET_DB)


def with_pause(clip: Clip, pause_s: float, rng: np.random.Generator) -> Clip:
    """Put a pause, with the room's noise in it, at the quietest place of the middle third of what is said."""
    third_s = (clip.ends_s - clip.begins_s) / 3
    first, last = (round((clip.begins_s + count * third_s) / FRAME_S) for count in (1, 2))
    levels_db = _smoothed(_levels_db(clip.samples))
    at = (first + int(np.argmin(levels_db[first : max(last, first + 1)]))) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    fade = np.linspace(1.0, 0.0, round(_PAUSE_EDGE_S * HEAR_RATE_HZ))
    before, after = clip.samples[:at].copy(), clip.samples[at:].copy()
    before[-len(fade) :] *= fade
    after[: len(fade)] *= fade[::-1]
    pause = room_noise(clip.room, round(pause_s / FRAME_S) * FRAME_SAMPLES, rng)
    return replace(
        clip,
        samples=np.concatenate((before, pause, after)),
        ends_s=clip.ends_s + len(pause) / HEAR_RATE_HZ,
    )


def with_noise(clip: Clip, snr_db: float, rng: np.random.Generator, *, pink: bool) -> Clip:
    """Lay white or pink noise over all of it, `snr_db` below the voice."""
    noise = pink_noise(len(clip.samples), rng) if pink else rng.normal(0, 1, len(clip.samples))
    return replace(clip, samples=clip.samples + noise * clip.voice_rms / 10 ** (snr_db / 20))


def pink_noise(count: int, rng: np.random.Generator) -> Samples:
    """Return noise whose power falls by 3 dB an octave, with an RMS of 1; it is shaped in the frequency domain."""
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, count)
    scaled: Samples = noise / np.sqrt(np.mean(noise**2))
    return scaled


def room_noise(room: Samples, count: int, rng: np.random.Generator) -> Samples:
    """Return steady noise with the spectrum `room`, that of a frame: white noise filtered in the frequency domain."""
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    places = np.linspace(0, len(room) - 1, len(spectrum))
    # White noise of variance 1 has a frame's mean power spectrum of FRAME_SAMPLES.
    gains = np.interp(places, np.arange(len(room)), room) / np.sqrt(FRAME_SAMPLES)
    noise: Samples = np.fft.irfft(spectrum * gains, count)
    return noise


def _quiet_spectrum(samples: Samples, levels_db: Samples) -> Samples:
    """Return the root of the mean power spectrum of the quietest tenth of the frames."""
    frames = samples[: len(levels_db) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    quiet = frames[levels_db <= np.percentile(levels_db, _FLOOR_PERCENTILE)]
    spectrum: Samples = np.sqrt(np.mean(np.abs(np.fft.rfft(quiet, axis=1)) ** 2, axis=0))
    return spectrum


def _voiced_runs(levels_db: Samples) -> list[tuple[int, int]]:
    """Return first and end of each run of frames with a voice; those that stand alone are left out as clicks."""
    if not len(levels_db):
        return []
    floor_db, loud_db = np.percentile(levels_db, (_FLOOR_PERCENTILE, _LOUD_PERCENTILE))
    if loud_db <= floor_db:
        return []
    threshold_db = max(floor_db + _VOICE_LEVEL * (loud_db - floor_db), loud_db - _VOICE_RANGE_DB)
    is_voiced = _smoothed(levels_db) >= threshold_db
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_voiced, [False])).astype(np.int8)))
    runs = [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
    least, near = round(_CLICK_S / FRAME_S), round(_ALONE_S / FRAME_S)
    whole = [run for run in runs if run[1] - run[0] >= least]
    return [run for run in runs if any(run[0] - near <= end and first <= run[1] + near for first, end in whole)]


def _levels_db(samples: Samples) -> Samples:
    """Return the power of every 20 ms in decibels over one step of 16 bits."""
    whole = samples[: len(samples) - len(samples) % FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    levels_db: Samples = 10 * np.log10(np.mean(whole**2, axis=1) + 1)
    return levels_db


def _smoothed(levels_db: Samples) -> Samples:
    """Return the mean of each level and its neighbours."""
    padded = np.pad(levels_db, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3
