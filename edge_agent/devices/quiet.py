"""A quiet room need not wake the loop fifty times a second."""

from __future__ import annotations

HELD_BLOCKS = 5
"""100 ms: as long as an onset takes to be one. The first of them waits 80 ms for its successors."""
_LOUDER = 3
"""Times the noise floor's peak; the peaks of steady noise differ by less from block to block."""
_FLOOR_RISE = 1.01
"""Per block, so that the floor follows a fan that is switched on within seconds."""
_MAGNITUDE = bytes(min(high, 255 - high) for high in range(256))
"""From the high byte of a sample to its magnitude in steps of 256: 0 is fainter than -42 dB."""
_LOOK_AT = slice(1, None, 8)
"""High bytes of every fourth sample; a peak that falls between them is no voice."""


class QuietGate:
    """Says for each block whether it, and those before it, are to be handed over now.

    While somebody is heard all are, at once. While nobody is, quiet ones wait until there are five, or a loud one
    comes, so that speech is on its way with its first block. Pure, but for `resting`, which another thread may set.

    Attributes:
        resting: Nobody is heard.
        calm_runs: How often in a row five quiet blocks went together: tenths of a second without a loud one.
    """

    def __init__(self) -> None:
        self.resting = False
        self.calm_runs = 0
        self._held = 0
        self._floor = 0.0

    def opens(self, block: bytes) -> bool:
        """Take the next block of 16-bit little-endian samples; return True where nothing is to be held back."""
        self._held += 1
        if self.resting and self._held < HELD_BLOCKS and not self._is_loud(block):
            return False
        self.calm_runs = self.calm_runs + 1 if self._held == HELD_BLOCKS else 0
        self._held = 0
        return True

    def _is_loud(self, block: bytes) -> bool:
        # Called fifty times a second in PortAudio's thread: bytes' own methods cost a tenth of numpy's.
        peak = max(block[_LOOK_AT].translate(_MAGNITUDE), default=0)
        floor = self._floor
        self._floor = min(float(peak), floor * _FLOOR_RISE + 0.01)
        return peak > _LOUDER * floor
