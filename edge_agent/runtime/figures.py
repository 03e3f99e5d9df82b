"""The parts of the report, each made from what a part of the runtime tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.runtime.histogram import percentiles
from edge_agent.runtime.metrics import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.runtime.histogram import RecentHistogram
    from edge_agent.runtime.lag import LoopLag
    from edge_agent.runtime.metrics import Activity
    from edge_agent.runtime.pool import PoolStatistics
    from edge_agent.runtime.pressure import PressureState
    from edge_agent.runtime.worker import ThreadStatistics

_SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Spread:
    """How long it took, over the last five to ten minutes in which there was any: half, 95 and 99 of 100 no longer."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one kind in one place, or of all its kinds.

    Attributes:
        kind: None for all together.
        active: Waiting or worked on now.
        peak: The most at once; for all kinds, the most of one kind.
        success_rate: Share (0 to 1) of what ended that completed; None where nothing ended.
        busy_s: Sum of run times.
        wait: For a place to run; None where nothing ended lately, like the others.
        run: On a thread.
        stop: From the wish to stop to the thread being free.
    """

    place: str
    kind: str | None
    active: int
    peak: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    refused: int
    success_rate: float | None
    busy_s: float
    wait: Spread | None
    run: Spread | None
    stop: Spread | None

    @property
    def ended(self) -> int:
        """Pieces of work that ended, however that was."""
        return self.completed + self.failed + self.timed_out + self.cancelled


@dataclass(frozen=True, slots=True)
class Totals:
    """All work together.

    Attributes:
        peak: The most at once that was seen: looked at every few seconds, and with every report.
        per_s: Pieces that ended a second, since the start.
        per_s_last_minute: The same over the last minute.
    """

    active: int
    peak: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    refused: int
    success_rate: float | None
    per_s: float
    per_s_last_minute: float


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool as it stands.

    Attributes:
        busy: Threads with a job, stuck ones included.
        stuck: Threads in a job that was told to stop and has not.
        waiting: Jobs that are due; `queued` has them by priority.
        delayed: Jobs whose time has not come.
        busy_share: Mean share (0 to 1) of its threads' time that was worked, over the last ten seconds or so.
    """

    name: str
    workers: int
    most_workers: int
    busy: int
    stuck: int
    waiting: int
    queued: dict[str, int]
    delayed: int
    depth: int
    busy_share: float | None
    threads: tuple[ThreadStatistics, ...]


@dataclass(frozen=True, slots=True)
class LagReport:
    """How late the event loop is; `p99_ms` over the last one to two minutes."""

    latest_ms: float
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class PressureReport:
    """Where the pressure ladder stands, and the look at the machine behind it; None is what this kernel does not tell.

    Attributes:
        for_s: For how long it has been on this rung.
        throttled: What the Raspberry Pi's firmware does now, or saw since boot.
    """

    rung: str
    reasons: tuple[str, ...]
    for_s: float
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    memory_available_bytes: int | None
    memory_total_bytes: int | None
    cpu_stall_percent: float | None
    memory_stall_percent: float | None
    memory_full_stall_percent: float | None
    load_per_core: float | None


def account_for(place: str, kind: str | None, activities: Sequence[Activity]) -> Work:
    """Add up activities: one, or all of a place."""
    ended = {outcome: sum(activity.ended[outcome] for activity in activities) for outcome in Outcome}
    return Work(
        place=place,
        kind=kind,
        active=sum(activity.active for activity in activities),
        peak=max((activity.peak for activity in activities), default=0),
        completed=ended[Outcome.COMPLETED],
        failed=ended[Outcome.FAILED],
        timed_out=ended[Outcome.TIMED_OUT],
        cancelled=ended[Outcome.CANCELLED],
        refused=sum(activity.refused for activity in activities),
        success_rate=_rate(ended[Outcome.COMPLETED], sum(ended.values())),
        busy_s=round(sum(activity.busy_s for activity in activities), 3),
        wait=spread([activity.wait for activity in activities]),
        run=spread([activity.run for activity in activities]),
        stop=spread([activity.stop for activity in activities]),
    )


def add_up(places: Iterable[Work], *, peak: int, uptime_s: float, per_s_last_minute: float) -> Totals:
    """Add up all places."""
    all_of = tuple(places)
    completed, ended = sum(work.completed for work in all_of), sum(work.ended for work in all_of)
    return Totals(
        active=sum(work.active for work in all_of),
        peak=peak,
        completed=completed,
        failed=sum(work.failed for work in all_of),
        timed_out=sum(work.timed_out for work in all_of),
        cancelled=sum(work.cancelled for work in all_of),
        refused=sum(work.refused for work in all_of),
        success_rate=_rate(completed, ended),
        per_s=round(ended / uptime_s, 3) if uptime_s > 0 else 0.0,
        per_s_last_minute=round(per_s_last_minute, 3),
    )


def spread(recent: Iterable[RecentHistogram]) -> Spread | None:
    """Return percentiles over several histograms together; None where nothing was counted."""
    found = percentiles((half for both in recent for half in both.halves), _SHARES)
    return None if found is None else Spread(*map(_ms, found))


def describe_pool(pool: PoolStatistics, busy_share: float | None) -> PoolReport:
    """Take over what a pool tells."""
    return PoolReport(
        name=pool.name,
        workers=pool.workers,
        most_workers=pool.most_workers,
        busy=pool.busy,
        stuck=pool.stuck,
        waiting=sum(pool.queued.values()),
        queued={priority.name.lower(): count for priority, count in pool.queued.items()},
        delayed=pool.delayed,
        depth=pool.depth,
        busy_share=None if busy_share is None else round(busy_share, 3),
        threads=pool.threads,
    )


def describe_lag(lag: LoopLag) -> LagReport:
    """Take over what the lag monitor tells."""
    return LagReport(_ms(lag.latest_s), None if lag.p99_s is None else _ms(lag.p99_s))


def describe_pressure(state: PressureState, now_s: float) -> PressureReport:
    """Take over what the pressure ladder tells; `now_s` is on its clock."""
    reading = state.reading
    return PressureReport(
        rung=state.rung.label,
        reasons=state.reasons,
        for_s=round(max(0.0, now_s - state.since_s), 1),
        temperature_c=reading.temperature_c,
        throttled=None if reading.throttled is None else tuple((bit.name or "").lower() for bit in reading.throttled),
        memory_available_bytes=reading.memory_available_bytes,
        memory_total_bytes=reading.memory_total_bytes,
        cpu_stall_percent=reading.cpu_stall_percent,
        memory_stall_percent=reading.memory_stall_percent,
        memory_full_stall_percent=reading.memory_full_stall_percent,
        load_per_core=reading.load_per_core,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
