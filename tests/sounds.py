"""Sounds made by arithmetic, and what can be measured of recorded ones."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.audio import AudioChunk

_LOUD = 500
"""Samples above this are sound; a null sink adds no noise."""


def tone(duration_s: float, rate_hz: int, hz: float, level: int = 20_000) -> AudioChunk:
    """Return a sine wave."""
    samples = np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate_hz)) / rate_hz) * level
    return AudioChunk(samples.astype("<i2").tobytes(), rate_hz)


def babble(duration_s: float, rate_hz: int, seed: int) -> NDArray[np.int16]:
    """Return noise from 100 to 3000 Hz whose loudness rises and falls like syllables: it resembles itself only."""
    count = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    bands = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(bands < 100) | (bands > 3000)] = 0
    noise = np.fft.irfft(spectrum, count)
    noise *= 0.6 - 0.4 * np.cos(2 * np.pi * 4 * np.arange(count) / rate_hz)
    samples: NDArray[np.int16] = (noise / np.abs(noise).max() * 20_000).astype(np.int16)
    return samples


def save(path: Path, samples: NDArray[np.int16], rate_hz: int) -> Path:
    """Write a 16-bit mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def load(path: Path) -> tuple[NDArray[np.int16], int]:
    """Read a 16-bit mono WAV file: samples and rate."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def similarity(heard: NDArray[np.int16], original: NDArray[np.int16]) -> float:
    """Return the best normalised correlation, -1 to 1, of `original` with an equally long part of `heard`."""
    size = 1 << (len(heard) + len(original)).bit_length()
    wide = heard.astype(np.float64)
    matches = np.fft.irfft(np.fft.rfft(wide, size) * np.conj(np.fft.rfft(original.astype(np.float64), size)), size)
    offset = int(matches[: len(heard) - len(original) + 1].argmax())
    part = wide[offset : offset + len(original)]
    energy = np.sqrt((part**2).sum() * (original.astype(np.float64) ** 2).sum())
    return float(matches[offset] / energy) if energy else 0.0


def loud_parts(samples: NDArray[np.int16], gap: int) -> list[tuple[int, int]]:
    """Return first and last sample of every sound; shorter silences than `gap` samples belong to it."""
    (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) > _LOUD)
    if not len(loud):
        return []
    (breaks,) = np.nonzero(np.diff(loud) > gap)
    starts, ends = [0, *(breaks + 1)], [*breaks, len(loud) - 1]
    return [(int(loud[start]), int(loud[end])) for start, end in zip(starts, ends, strict=True)]


def pitch_hz(samples: NDArray[np.int16], rate_hz: int) -> float:
    """Return the frequency that is strongest."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))
