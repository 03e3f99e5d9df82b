"""The account of work: what is active, how it ended, how long it waited and ran, by place and by kind."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING

from edge_agent.runtime.histogram import RecentHistogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_KINDS = 200
"""Kinds of work told apart in one place; more are counted as `other`, so that memory is bounded."""


class Outcome(StrEnum):
    """How a piece of work ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


class Activity:
    """One kind of work in one place, such as `recognize` in pool `asr`. Belongs to the loop's thread.

    Attributes:
        ended: Number of pieces of work by outcome.
        refused: Pieces of work that were turned away.
        active: Being worked on or waited for now.
        peak: The most that were active at once.
        busy_s: Sum of run times.
        stop: From the wish to stop to the thread being free, of those that were stopped while they ran.
    """

    __slots__ = ("_clock", "active", "busy_s", "ended", "kind", "peak", "place", "refused", "run", "stop", "wait")

    def __init__(self, place: str, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.place = place
        self.kind = kind
        self.ended = dict.fromkeys(Outcome, 0)
        self.refused = 0
        self.active = 0
        self.peak = 0
        self.busy_s = 0.0
        self.wait = RecentHistogram()
        self.run = RecentHistogram()
        self.stop = RecentHistogram()
        self._clock = clock

    def begin(self) -> None:
        """Count a piece of work that was accepted."""
        self.active += 1
        self.peak = max(self.peak, self.active)

    def end(self, outcome: Outcome, wait_s: float, run_s: float | None) -> None:
        """Count how it ended, how long it waited for a place and how long it was worked on; None: not at all."""
        now_s = self._clock()
        self.active -= 1
        self.ended[outcome] += 1
        self.wait.add(wait_s, now_s)
        if run_s is not None:
            self.busy_s += run_s
            self.run.add(run_s, now_s)

    def freed(self, after_s: float) -> None:
        """Count how long a piece of work that was to stop still kept its thread."""
        self.stop.add(after_s, self._clock())

    def refuse(self) -> None:
        """Count a piece of work that was turned away."""
        self.refused += 1

    @property
    def success_rate(self) -> float | None:
        """Share (0 to 1) of what ended that completed; None where nothing ended."""
        total = sum(self.ended.values())
        return self.ended[Outcome.COMPLETED] / total if total else None


class Metrics:
    """All activities of an agent, made when first asked for. Belongs to the loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started_s = clock()
        self._activities: dict[tuple[str, str], Activity] = {}
        self._kinds: dict[str, int] = {}

    def activity(self, place: str, kind: str) -> Activity:
        """Return the account of `kind` in `place`, for example `turn` in `tasks`."""
        found = self._activities.get((place, kind))
        if found is not None:
            return found
        kinds = self._kinds.get(place, 0)
        if kinds >= _MOST_KINDS and kind != "other":
            return self.activity(place, "other")
        self._kinds[place] = kinds + 1
        made = self._activities[place, kind] = Activity(place, kind, self.clock)
        return made

    def __iter__(self) -> Iterator[Activity]:
        return iter(self._activities.values())
