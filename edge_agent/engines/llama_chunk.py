"""How much of a prompt one step evaluates."""

from __future__ import annotations

_EVEN = 8
"""Chunks are multiples of it: matrix kernels work on tiles of 4 or 8 rows."""
_TRUST = 0.5
"""Weight of the newest measurement."""


class ChunkSize:
    """Chooses the number of tokens in a step so that it takes about `target_s`.

        tokens      8 ── 16 ── 32 ── 64         grows by doubling at most, shrinks at once
        step takes  |<------ target ------>|    however many threads there are

    A step is the unit in which a job can be pre-empted and a grant changed. The speed is learned from the steps
    themselves, by thread, and kept from job to job.
    """

    def __init__(self, least: int = 8, most: int = 64, target_s: float = 0.08) -> None:
        if not 0 < least <= most:
            raise ValueError("a chunk holds at least one token")
        self._least = least
        self.most = most
        self._target_s = target_s
        self._tokens_per_thread_s = 0.0
        self._last = 0

    def tokens(self, threads: int) -> int:
        """Return how many tokens the next step may evaluate on `threads` threads."""
        wanted = self._tokens_per_thread_s * threads * self._target_s
        even = int(min(wanted, 2 * self._last)) // _EVEN * _EVEN
        return max(self._least, min(self.most, even))

    def note(self, tokens: int, threads: int, took_s: float) -> None:
        """Learn from a step that evaluated `tokens`; the short remainder of a prompt says little, and is left out."""
        if tokens < self._least or took_s <= 0:
            return
        speed, known = tokens / took_s / threads, self._tokens_per_thread_s
        if 0 < known < speed:
            speed = known + _TRUST * (speed - known)
        self._tokens_per_thread_s = speed
        self._last = tokens
