"""Counts what engines get done under load."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Meter:
    """What was done, by the time it was done at. Lists are only appended to, so any thread may.

    Attributes:
        tokens: When each token came.
        sentences: When each sentence was rendered, how long that took, and how long it is.
        transcripts: When each utterance was recognized, and how long after its end.
    """

    tokens: list[float] = field(default_factory=list)
    sentences: list[tuple[float, float, float]] = field(default_factory=list)
    transcripts: list[tuple[float, float]] = field(default_factory=list)

    def token(self) -> None:
        """Count a token."""
        self.tokens.append(time.monotonic())

    def sentence(self, compute_s: float, audio_s: float) -> None:
        """Count a sentence that took `compute_s` to render."""
        self.sentences.append((time.monotonic(), compute_s, audio_s))

    def transcript(self, lag_s: float) -> None:
        """Count an utterance that was understood `lag_s` after its last frame."""
        self.transcripts.append((time.monotonic(), lag_s))

    def tokens_per_s(self, since_s: float, until_s: float) -> float:
        """Return the speed between two moments of the monotonic clock."""
        return sum(since_s < at_s <= until_s for at_s in self.tokens) / (until_s - since_s)

    def real_time_factors(self, since_s: float) -> list[float]:
        """Return compute time over length of each sentence that ended after `since_s`."""
        return [compute_s / audio_s for at_s, compute_s, audio_s in self.sentences if at_s > since_s and audio_s]

    def lags_s(self, since_s: float) -> list[float]:
        """Return the recognizer's lags after `since_s`."""
        return [lag_s for at_s, lag_s in self.transcripts if at_s > since_s]
