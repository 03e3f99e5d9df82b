"""Short tones that say what words would take too long for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from edge_agent.audio import AudioChunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Earcon = Literal["listening", "nothing", "failed", "alert"]

_PEAK = 10 ** (-12 / 20) * 32_767
"""-12 dB of full scale: heard beside a voice, and startles nobody."""
_ATTACK_S = 0.006
_RELEASE_S = 0.03
_OVERTONES = ((1, 1.0), (2, 0.25), (3, 0.08))
"""Multiples of the pitch and their strength: rounder than a sine, and heard on a small speaker that has no bass."""


@dataclass(frozen=True, slots=True)
class _Note:
    pitch_hz: float
    begins_s: float
    length_s: float


_E4, _G4, _A4, _C5, _E5, _G5, _A5, _C6 = 329.63, 392.00, 440.00, 523.25, 659.26, 783.99, 880.00, 1046.50
_MELODIES: dict[Earcon, tuple[_Note, ...]] = {
    "listening": (_Note(_E5, 0.0, 0.10), _Note(_A5, 0.07, 0.13)),  # rises, like a question
    "nothing": (_Note(_A4, 0.0, 0.18),),
    "failed": (_Note(_G4, 0.0, 0.12), _Note(_E4, 0.10, 0.15)),  # falls
    "alert": tuple(
        _Note(pitch_hz, begins_s + later_s, 0.18)
        for begins_s in (0.0, 0.6)
        for pitch_hz, later_s in ((_C5, 0.0), (_G5, 0.13), (_C6, 0.26))
    ),
}


@cache
def earcon(name: Earcon, rate_hz: int = 24_000) -> AudioChunk:
    """Return a tone of at most 0.25 s, `alert` of at most 1.2 s, at a peak of -12 dB of full scale.

    `listening`: the agent hears from now on; `nothing`: it heard no words; `failed`: it could not answer; `alert`: a
    timer or alarm rings. The same samples each time.
    """
    import numpy as np

    notes = _MELODIES[name]
    length = round(max(note.begins_s + note.length_s for note in notes) * rate_hz)
    sound = np.zeros(length)
    for note in notes:
        samples = _rendered(note, rate_hz)
        start = round(note.begins_s * rate_hz)
        samples = samples[: length - start]
        sound[start : start + len(samples)] += samples
    sound *= _PEAK / np.abs(sound).max()
    return AudioChunk(sound.astype("<i2").tobytes(), rate_hz)


def _rendered(note: _Note, rate_hz: int) -> NDArray[np.float64]:
    """Return a note that is struck and dies away, silent at both ends."""
    import numpy as np

    times = np.arange(round(note.length_s * rate_hz)) / rate_hz
    wave = sum(
        strength * np.sin(2 * np.pi * multiple * note.pitch_hz * times)
        for multiple, strength in _OVERTONES
        if multiple * note.pitch_hz < rate_hz / 2
    )
    envelope = np.exp(-times * 2 / note.length_s)
    envelope *= np.minimum(times / _ATTACK_S, 1)
    envelope *= np.clip((note.length_s - times - 1 / rate_hz) / _RELEASE_S, 0, 1)
    sound: NDArray[np.float64] = wave * envelope
    return sound
