"""What a microphone's sound is like, counted while it comes: nothing but zeros, full scale, a constant offset."""

from __future__ import annotations

from edge_agent.audio import FRAME_S

LOOK_EVERY = 5
"""One block of 20 ms in so many is looked at: a fifth of all samples tells as much, at a fifth of the cost."""
_FULL_SCALE = 1 << 15
_HIGHEST, _LOWEST = 0x7F, 0x80
"""High bytes of the samples that are within 0.07 dB of full scale."""


class SoundTally:
    """Counts over blocks of 16-bit little-endian samples. Pure.

    `take` is called from the device's thread, the rest from the loop; each figure by itself is right at any moment.

    Attributes:
        looked_at: Samples that were looked at.
        clipped: Those of them at full scale.
        has_sounded: Whether any sample was not zero.
    """

    def __init__(self) -> None:
        self.looked_at = 0
        self.clipped = 0
        self.has_sounded = False
        self._blocks = 0
        self._silent_looks = 0
        self._last = b""

    @property
    def silent_s(self) -> float:
        """For how long, to 0.1 s, every sample has been exactly zero."""
        return self._silent_looks * LOOK_EVERY * FRAME_S

    @property
    def offset(self) -> float:
        """Mean of the block that was looked at last, as a share of full scale."""
        samples = memoryview(self._last).cast("h")
        return sum(samples) / len(samples) / _FULL_SCALE if len(samples) else 0.0

    def take(self, block: bytes) -> None:
        """Take the next block of 20 ms, of any rate and number of channels."""
        # Called fifty times a second in PortAudio's thread: bytes' own methods cost a tenth of numpy's.
        self._blocks += 1
        if self._blocks % LOOK_EVERY:
            return
        self._last = block
        self.looked_at += len(block) // 2
        if block == bytes(len(block)):
            self._silent_looks += 1
            return
        self._silent_looks = 0
        self.has_sounded = True
        high = block[1::2]
        self.clipped += high.count(_HIGHEST) + high.count(_LOWEST)
