"""What is seen of engines at work: speed in a window of time, and frames that are heard meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.bench.capture import Heard, hear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from edge_agent.audio import AudioChunk
    from edge_agent.bench.meter import Meter
    from edge_agent.bench.result import Progress

SETTLE_S = 1.5
"""Before each window: caches are warm, and every engine is in the middle of its work."""


@dataclass(slots=True)
class Seen:
    """What one case did in one window or several.

    Attributes:
        tokens_per_s: The language model's speed, by window.
        threads: Mean number of threads that it was granted, by window, where that is known.
        window_s: All windows together.
        real_time_factors: Of each sentence that was rendered.
        lags_ms: Of each utterance: from its end to its transcript.
    """

    tokens_per_s: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    window_s: float = 0.0
    real_time_factors: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """Add what was seen in other windows."""
        self.tokens_per_s += other.tokens_per_s
        self.threads += other.threads
        self.window_s += other.window_s
        self.real_time_factors += other.real_time_factors
        self.lags_ms += other.lags_ms

    @property
    def mean(self) -> float:
        """Mean speed in tokens a second."""
        return statistics.fmean(self.tokens_per_s)

    @property
    def least(self) -> float:
        """The speed that one token in all the time would be: no other above 0 is lower."""
        return 1 / self.window_s

    @property
    def spread(self) -> float:
        """Standard deviation of the windows' speeds, over their mean."""
        return statistics.pstdev(self.tokens_per_s) / self.mean if self.mean else 0.0


async def watch(
    case: AbstractAsyncContextManager[Meter],
    window_s: float,
    *,
    settle_s: float = SETTLE_S,
    granted: Callable[[], float] | None = None,
) -> Seen:
    """Let a case work and return what it did.

    Args:
        case: Engines at work for as long as it is entered.
        window_s: How long they are watched.
        settle_s: How long they work before that.
        granted: Threads times seconds that the language model has been granted.
    """
    async with case as meter:
        await asyncio.sleep(settle_s)
        thread_s = granted() if granted else 0.0
        began_s = time.monotonic()
        await asyncio.sleep(window_s)
        ended_s = time.monotonic()
        return Seen(
            tokens_per_s=[meter.tokens_per_s(began_s, ended_s)],
            threads=[(granted() - thread_s) / (ended_s - began_s)] if granted else [],
            window_s=ended_s - began_s,
            real_time_factors=meter.real_time_factors(began_s),
            lags_ms=[lag_s * 1000 for lag_s in meter.lags_s(began_s)],
        )


async def hear_during(
    case: AbstractAsyncContextManager[Meter],
    speech: Sequence[AudioChunk],
    seconds: float,
    progress: Progress,
    *,
    settle_s: float = SETTLE_S,
) -> Heard:
    """Let a case work, and hear `seconds` of frames meanwhile."""
    async with case:
        await asyncio.sleep(settle_s)
        return await hear(speech, seconds, progress)
