"""PCM as it travels between stages: 16-bit little-endian mono."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_BYTES = 2
HEAR_RATE_HZ = 16_000
"""Rate of everything on the hearing side; microphones and recordings are resampled to it."""
FRAME_S = 0.02
"""Length of a hearing frame; one of the three lengths (10, 20, 30 ms) that WebRTC's VAD takes."""
FRAME_SAMPLES = int(HEAR_RATE_HZ * FRAME_S)
FRAME_BYTES = FRAME_SAMPLES * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A run of mono samples.

    Attributes:
        pcm: Signed 16-bit little-endian samples.
        rate_hz: Samples a second.
        captured_at: `time.monotonic()` when the last sample was captured; None where no clock was involved.
    """

    pcm: bytes
    rate_hz: int
    captured_at: float | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.pcm) // SAMPLE_BYTES

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate_hz


def silence(duration_s: float, rate_hz: int) -> AudioChunk:
    """Return a chunk of zeros, rounded to whole samples."""
    return AudioChunk(bytes(round(duration_s * rate_hz) * SAMPLE_BYTES), rate_hz)
