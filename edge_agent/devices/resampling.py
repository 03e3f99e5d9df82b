"""Changes the sample rate of a stream, with soxr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StreamResampler:
    """Resamples mono 16-bit samples chunk by chunk; a no-op where both rates are the same.

    soxr's medium quality ("MQ") passes 0.9 of the band with 96 dB of rejection: more than 16-bit speech can show.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16", quality="MQ")

    def feed(self, samples: NDArray[np.int16], *, last: bool = False) -> NDArray[np.int16]:
        """Return what is ready at the new rate; `last` gives out the rest."""
        if self._stream is None:
            return samples
        resampled: NDArray[np.int16] = self._stream.resample_chunk(samples, last=last)
        return resampled


def to_samples(pcm: bytes) -> NDArray[np.int16]:
    """Return 16-bit little-endian PCM as an array, without copying."""
    return np.frombuffer(pcm, dtype="<i2")
