"""The one report: what the agent does, how fast, with what, and what limits it; the same for everyone who asks."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from edge_agent.errors import BusyError
from edge_agent.runtime.bottleneck import ChannelSigns, LimitSigns, PoolSigns, Signs, name_bottleneck
from edge_agent.runtime.figures import account_for, add_up, describe_lag, describe_pool, describe_pressure
from edge_agent.runtime.usage import ResourceUse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edge_agent.runtime.bottleneck import Bottleneck
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.figures import LagReport, PoolReport, PressureReport, Spread, Totals, Work
    from edge_agent.runtime.lag import LoopLag
    from edge_agent.runtime.ledger import LedgerStatistics
    from edge_agent.runtime.limits import LimitStatistics
    from edge_agent.runtime.metrics import Metrics
    from edge_agent.runtime.pool import PoolStatistics
    from edge_agent.runtime.pressure import PressureState
    from edge_agent.runtime.rates import RateStatistics
    from edge_agent.runtime.usage import Usage
    from edge_agent.runtime.worker import ThreadStatistics

T = TypeVar("T")

_USAGE_EVERY = 3
"""Samples to one look at what the agent takes."""
_RATE_S = 60.0
"""Tasks a second are counted over this time."""
_BUSY_S = 10.0
"""How busy a pool is, over this time: long enough to be a share, short enough to be now."""


class Threads(Protocol):
    """Where blocking calls run; a pool is one."""

    async def run(self, call: Callable[[], T], *, kind: str = "call") -> T:
        """Run `call`, which metrics count as `kind`, and return its result."""
        ...


def _none() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from; what an agent does not have is left out. All are called on the loop."""

    metrics: Metrics
    pools: Callable[[], Iterable[PoolStatistics]] = tuple
    ledger: Callable[[], LedgerStatistics | None] = _none
    channels: Callable[[], Iterable[ChannelStatistics]] = tuple
    limits: Callable[[], Iterable[LimitStatistics]] = tuple
    rates: Callable[[], Iterable[RateStatistics]] = tuple
    lag: LoopLag | None = None
    pressure: Callable[[], PressureState | None] = _none
    logs_lost: Callable[[], int] = int


@dataclass(frozen=True, slots=True)
class Report:
    """The agent at one moment.

    Attributes:
        tasks: All pieces of work together. A turn and the jobs that it gives to pools count each.
        places: Work by place: a pool, the scheduler, the tasks.
        work: Work by place and kind.
        cores: The core ledger; None where there is none.
        lag: Of the event loop; None where nobody measures it.
        logs_lost: Log records that nobody will read.
        bottleneck: What limits the device; None where nothing does.
    """

    uptime_s: float
    tasks: Totals
    places: tuple[Work, ...]
    work: tuple[Work, ...]
    pools: tuple[PoolReport, ...]
    cores: LedgerStatistics | None
    channels: tuple[ChannelStatistics, ...]
    limits: tuple[LimitStatistics, ...]
    rates: tuple[RateStatistics, ...]
    lag: LagReport | None
    pressure: PressureReport | None
    usage: Usage | None
    logs_lost: int
    bottleneck: Bottleneck | None

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers, texts, lists and objects."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Sample:
    """What rates are computed against.

    Attributes:
        ended: Pieces of work that ended so far.
        busy_s: Seconds that each thread of each pool has worked so far.
    """

    at_s: float
    ended: int
    busy_s: dict[tuple[str, str], float] = field(default_factory=dict)


class Reporter:
    """Makes reports, and remembers the last minute for what is counted over time. Belongs to the loop's thread.

    Args:
        usage: Reads what the agent takes.
        every_s: Between two samples.
        sleep: Waits that long.
    """

    def __init__(
        self,
        sources: Sources,
        usage: ResourceUse | None = None,
        every_s: float = 10.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sources = sources
        self._resource_use = usage or ResourceUse()
        self._every_s = every_s
        self._sleep = sleep
        self._samples: deque[_Sample] = deque(maxlen=max(2, int(_RATE_S / every_s) + 1))
        self._usage: Usage | None = None
        self._peak = 0
        self.sample()

    async def watch_loop(self, threads: Threads) -> NoReturn:
        """Take samples until cancelled; what blocks is read on `threads`, every third time: it costs milliseconds."""
        for count in itertools.count():
            self.sample()
            if count % _USAGE_EVERY == 0:
                try:
                    self._usage = await threads.run(self._resource_use.read, kind="usage")
                except BusyError:
                    self._usage = None  # the report then says that it does not know
            await self._sleep(self._every_s)
        raise AssertionError("counting has no end")

    def sample(self) -> None:
        """Note how far everything has come."""
        activities = list(self._sources.metrics)
        self._peak = max(self._peak, sum(activity.active for activity in activities))
        ended = sum(sum(activity.ended.values()) for activity in activities)
        busy_s = {
            (pool.name, thread.name): _busy_s(thread) for pool in self._sources.pools() for thread in pool.threads
        }
        self._samples.append(_Sample(self._sources.metrics.clock(), ended, busy_s))

    def report(self) -> Report:
        """Return where the agent stands now; takes a few milliseconds."""
        sources = self._sources
        now_s = sources.metrics.clock()
        activities = sorted(sources.metrics, key=attrgetter("place", "kind"))
        places = tuple(
            account_for(place, None, list(of_place)) for place, of_place in groupby(activities, key=attrgetter("place"))
        )
        ended = sum(place.ended for place in places)
        self._peak = max(self._peak, sum(place.active for place in places))
        uptime_s = now_s - sources.metrics.started_s
        lag, pressure = sources.lag, sources.pressure()
        draft = Report(
            uptime_s=round(uptime_s, 3),
            tasks=add_up(places, peak=self._peak, uptime_s=uptime_s, per_s_last_minute=self._ended_per_s(ended, now_s)),
            places=places,
            work=tuple(account_for(activity.place, activity.kind, [activity]) for activity in activities),
            pools=tuple(describe_pool(pool, self._busy_share(pool, now_s)) for pool in sources.pools()),
            cores=sources.ledger(),
            channels=tuple(sources.channels()),
            limits=tuple(sources.limits()),
            rates=tuple(sources.rates()),
            lag=None if lag is None else describe_lag(lag),
            pressure=None if pressure is None else describe_pressure(pressure, now_s),
            usage=self._usage,
            logs_lost=sources.logs_lost(),
            bottleneck=None,
        )
        return replace(draft, bottleneck=name_bottleneck(_signs(draft)))

    def _ended_per_s(self, ended: int, now_s: float) -> float:
        before = self._sample_of(now_s - _RATE_S)
        elapsed_s = now_s - before.at_s
        return (ended - before.ended) / elapsed_s if elapsed_s > 0 else 0.0

    def _busy_share(self, pool: PoolStatistics, now_s: float) -> float | None:
        """Compare thread by thread: one that ended meanwhile must not count as negative."""
        before = self._sample_of(now_s - _BUSY_S)
        elapsed_s = now_s - before.at_s
        if elapsed_s <= 0 or not pool.workers:
            return None
        worked_s = sum(
            max(0.0, _busy_s(thread) - before.busy_s.get((pool.name, thread.name), 0.0)) for thread in pool.threads
        )
        return min(1.0, worked_s / (elapsed_s * pool.workers))

    def _sample_of(self, at_s: float) -> _Sample:
        """Return the newest sample that is at least as old as `at_s`; the oldest where none is."""
        return next((sample for sample in reversed(self._samples) if sample.at_s <= at_s), self._samples[0])


def _busy_s(thread: ThreadStatistics) -> float:
    return thread.busy_s + (thread.job_age_s or 0.0)


def _signs(report: Report) -> Signs:
    """Pick out what tells where the device stands."""
    waits = {work.place: work.wait for work in report.places}
    pressure, usage, cores = report.pressure, report.usage, report.cores
    # The ladder's look minds the control group's limit.
    memory = usage if pressure is None or pressure.memory_available_bytes is None else pressure
    lag_p99_ms = None if report.lag is None else report.lag.p99_ms
    return Signs(
        rung=None if pressure is None else pressure.rung,
        reasons=() if pressure is None else pressure.reasons,
        memory_available_bytes=None if memory is None else memory.memory_available_bytes,
        memory_total_bytes=None if memory is None else memory.memory_total_bytes,
        lag_p99_s=None if lag_p99_ms is None else lag_p99_ms / 1000,
        cores=0 if cores is None else cores.cores,
        cores_held=0 if cores is None else cores.held,
        claims_waiting=0 if cores is None else cores.waiting,
        pools=tuple(_pool_signs(pool, waits.get(pool.name)) for pool in report.pools),
        limits=tuple(LimitSigns(one.resource, one.limit, one.in_use, one.waiting) for one in report.limits),
        channels=tuple(ChannelSigns(one.name, one.limit, one.queued) for one in report.channels if not one.closed),
    )


def _pool_signs(pool: PoolReport, wait: Spread | None) -> PoolSigns:
    stuck = next((thread for thread in pool.threads if thread.is_stuck), None)
    return PoolSigns(
        name=pool.name,
        workers=pool.workers,
        most_workers=pool.most_workers,
        busy=pool.busy - pool.stuck,
        waiting=pool.waiting,
        busy_share=pool.busy_share,
        wait_p95_s=None if wait is None else wait.p95_ms / 1000,
        stuck_job=None if stuck is None else (stuck.job or "a job", stuck.job_age_s or 0.0),
    )
