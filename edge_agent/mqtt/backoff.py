"""How long to wait before the next attempt."""

from __future__ import annotations

import random


class Backoff:
    """Full jitter: any time up to a ceiling that doubles, so that many devices do not come back at the same moment.

    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        first_s: The ceiling at first.
        longest_s: The ceiling at last.
        least: Share of the ceiling that is waited in any case.
    """

    def __init__(
        self, first_s: float, longest_s: float, *, least: float = 0.0, rng: random.Random | None = None
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._least = least
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """Return how long to wait now, and longer next time."""
        ceiling_s = self._ceiling_s
        self._ceiling_s = min(2 * ceiling_s, self._longest_s)
        return self._rng.uniform(self._least * ceiling_s, ceiling_s)

    def reset(self) -> None:
        """Begin anew: it went well."""
        self._ceiling_s = self._first_s
