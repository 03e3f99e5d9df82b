"""Steady noise that a voice activity detector takes for a voice."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.hear.vad import VoiceActivityDetector

_FLOOR_S = 0.2
"""A voice is never steady for so long; the quietest such stretch of the last `_MEMORY_S` is the room."""
_MEMORY_S = 6.0
_LEVEL_S = 0.06
_ABOVE_FLOOR_DB = 4.0
_STEADY_S = 0.2
_VOICE_DB = 10.0
"""How much louder than the room something must have been: from a voice alone nobody can tell what the room is."""


class NoiseAwareVad:
    """Takes back what another detector calls speech where it has been as quiet as the room for 0.2 s.

    Measured on 53 recordings with pauses put in, noise added at 20 and 10 dB and a fixed silence of 0.6 s: as many
    utterances are cut off as without it; of those with a pause, 95 % end within 1.1 s instead of 3.4 s (no noise added)
    and within 0.8 s instead of 1.2 s (10 dB). Without the 0.2 s to wait for, cut-offs rose from 40 to 43 % (pauses, no
    noise added).

    Args:
        detector: Judges the frames.
    """

    def __init__(self, detector: VoiceActivityDetector) -> None:
        self._detector = detector
        self._powers: deque[float] = deque(maxlen=round(_FLOOR_S / FRAME_S))
        self._stretches: deque[float] = deque(maxlen=round(_MEMORY_S / FRAME_S))
        self._recent = round(_LEVEL_S / FRAME_S)
        self._steady_frames = round(_STEADY_S / FRAME_S)
        self._quiet_run = 0

    def is_speech(self, frame: AudioChunk) -> bool:
        """Judge one frame."""
        is_quiet = self._is_quiet(_power(frame))
        self._quiet_run = self._quiet_run + 1 if is_quiet else 0
        return self._detector.is_speech(frame) and self._quiet_run < self._steady_frames

    def reset(self) -> None:
        """Forget room and voice, after a gap in the audio."""
        self._detector.reset()
        self._powers.clear()
        self._stretches.clear()
        self._quiet_run = 0

    def _is_quiet(self, power: float) -> bool:
        self._powers.append(power)
        if len(self._powers) < self._steady_frames:
            return False
        self._stretches.append(_decibels(sum(self._powers) / len(self._powers)))
        floor_db, loud_db = min(self._stretches), max(self._stretches)
        level_db = _decibels(sum(list(self._powers)[-self._recent :]) / self._recent)
        return level_db < floor_db + _ABOVE_FLOOR_DB and loud_db > floor_db + _VOICE_DB


def _power(frame: AudioChunk) -> float:
    """Return the mean square of the samples, in steps of 16 bits, and 1 more so that silence has a logarithm."""
    import numpy as np

    samples = np.frombuffer(frame.pcm, "<i2").astype(np.float64)
    return float(samples @ samples) / max(len(samples), 1) + 1.0


def _decibels(power: float) -> float:
    return 10 * math.log10(power)
