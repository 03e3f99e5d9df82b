"""The report: every figure comes from where it should, and rates are of now."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import PoolBusyError
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.figures import spread
from edge_agent.runtime.histogram import RecentHistogram
from edge_agent.runtime.jobs import Priority
from edge_agent.runtime.lag import LoopLag
from edge_agent.runtime.ledger import CoreLedger, Rank
from edge_agent.runtime.limits import ResourceLimits
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.pool import Pool, PoolStatistics
from edge_agent.runtime.pressure import PressureState, Rung
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.report import Reporter, Sources
from edge_agent.runtime.sensors import Reading, Throttled
from edge_agent.runtime.usage import ResourceUse, Usage
from edge_agent.runtime.worker import ThreadStatistics

T = TypeVar("T")
_MIB = 1 << 20


class Clock:
    """Goes on when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class FixedUse(ResourceUse):
    """Always the same figures."""

    def read(self) -> Usage:
        """Return them."""
        return Usage(0.5, 10.0, 90 * _MIB, 1, 30 * _MIB, 12, 40, 600 * _MIB, 1024 * _MIB, {"MainThread": 1.0})


class HereAndNow:
    """Runs blocking calls in place, or is too busy."""

    def __init__(self) -> None:
        self.is_busy = False

    async def run(self, call: Callable[[], T], *, kind: str = "call") -> T:
        """Run `call`."""
        if self.is_busy:
            raise PoolBusyError("general", 1)
        return call()


def pool_of(
    name: str, threads: Sequence[ThreadStatistics] = (), *, waiting: int = 0, most: int = 1, delayed: int = 0
) -> PoolStatistics:
    """Return a pool as it stands."""
    queued = {Priority.HIGH: 0, Priority.NORMAL: waiting, Priority.LOW: 0}
    busy, stuck = sum(one.job is not None for one in threads), sum(one.is_stuck for one in threads)
    return PoolStatistics(name, len(threads), most, busy, stuck, 64, queued, delayed, tuple(threads))


def thread_of(name: str, busy_s: float, job: str | None = None, age_s: float | None = None) -> ThreadStatistics:
    """Return a thread as it stands."""
    return ThreadStatistics(name, job, age_s, 1, busy_s, 0.0, is_stuck=False)


def work(metrics: Metrics, place: str, kind: str, *outcomes: Outcome, run_s: float = 0.1) -> None:
    """Let pieces of work begin and end."""
    for outcome in outcomes:
        activity = metrics.activity(place, kind)
        activity.begin()
        activity.end(outcome, 0.01, run_s)


def test_an_idle_agent_has_a_report() -> None:
    """With nothing known but the time."""
    clock = Clock()
    reporter = Reporter(Sources(Metrics(clock)))
    clock.now_s += 90
    report = reporter.report()
    assert report.uptime_s == 90
    assert (report.tasks.completed, report.tasks.success_rate, report.tasks.per_s) == (0, None, 0.0)
    assert (report.bottleneck, report.cores, report.lag, report.pressure, report.usage) == (None,) * 5
    json.dumps(report.as_json(), allow_nan=False)


def test_work_is_told_by_place_and_by_kind() -> None:
    """A place adds up its kinds, percentiles included; the total adds up the places."""
    metrics = Metrics(Clock())
    work(metrics, "asr", "recognize", *[Outcome.COMPLETED] * 3, run_s=0.1)
    work(metrics, "asr", "adapt", Outcome.FAILED, run_s=8.0)
    work(metrics, "llm", "generate", Outcome.CANCELLED, Outcome.TIMED_OUT)
    metrics.activity("llm", "generate").refuse()
    metrics.activity("tts", "synthesize").begin()
    report = Reporter(Sources(metrics)).report()
    assert [(one.place, one.kind) for one in report.work] == [
        ("asr", "adapt"),
        ("asr", "recognize"),
        ("llm", "generate"),
        ("tts", "synthesize"),
    ]
    asr, llm, tts = report.places
    assert (asr.completed, asr.failed, asr.success_rate, asr.busy_s) == (3, 1, 0.75, 8.3)
    assert asr.run is not None
    assert asr.run.p50_ms == pytest.approx(100, rel=0.1)
    assert asr.run.p99_ms == pytest.approx(8000)
    assert (llm.cancelled, llm.timed_out, llm.refused, llm.success_rate) == (1, 1, 1, 0.0)
    assert (tts.active, tts.peak, tts.wait) == (1, 1, None)
    tasks = report.tasks
    assert (tasks.active, tasks.completed, tasks.failed, tasks.refused) == (1, 3, 1, 1)
    assert tasks.success_rate == 0.5


def test_rates_are_of_the_last_minute_and_since_the_start() -> None:
    """Two hundred at the beginning, then sixty in a minute."""
    clock = Clock()
    metrics = Metrics(clock)
    reporter = Reporter(Sources(metrics), every_s=5.0)
    work(metrics, "asr", "recognize", *[Outcome.COMPLETED] * 200)
    for _ in range(20):
        clock.now_s += 5
        reporter.sample()
    for _ in range(12):
        work(metrics, "asr", "recognize", *[Outcome.COMPLETED] * 5)
        clock.now_s += 5
        reporter.sample()
    tasks = reporter.report().tasks
    assert tasks.per_s_last_minute == pytest.approx(1.0)
    assert tasks.per_s == pytest.approx(260 / 160, abs=0.001)


def test_the_peak_is_kept() -> None:
    """Also when the work is over, as far as somebody looked."""
    metrics = Metrics(Clock())
    reporter = Reporter(Sources(metrics))
    for place in ("asr", "llm", "tts"):
        metrics.activity(place, "job").begin()
    reporter.sample()
    for place in ("asr", "llm", "tts"):
        metrics.activity(place, "job").end(Outcome.COMPLETED, 0, 0)
    assert (reporter.report().tasks.active, reporter.report().tasks.peak) == (0, 3)


def test_how_busy_a_pool_is_counts_the_job_under_way() -> None:
    """Over the last ten seconds, thread by thread; one that ended does not count as negative."""
    clock = Clock()
    pools = [pool_of("llm", [thread_of("edge-llm-1", 100.0), thread_of("edge-llm-2", 50.0)], most=2)]
    reporter = Reporter(Sources(Metrics(clock), pools=lambda: pools), every_s=5.0)
    for second in (5, 10, 15):
        clock.now_s = 1000.0 + second
        pools[:] = [pool_of("llm", [thread_of("edge-llm-1", 100.0), thread_of("edge-llm-2", 50.0)], most=2)]
        reporter.sample()
    clock.now_s += 5
    pools[:] = [pool_of("llm", [thread_of("edge-llm-2", 50.0, "generate", 4.0)], most=2, waiting=2, delayed=3)]
    (pool,) = reporter.report().pools
    assert pool.busy_share == pytest.approx(4.0 / 10.0)
    assert (pool.busy, pool.workers, pool.waiting, pool.delayed) == (1, 1, 2, 3)
    assert pool.queued == {"high": 0, "normal": 2, "low": 0}


def test_a_pool_with_jobs_waiting_is_the_bottleneck() -> None:
    """The report's own figures show it."""
    clock = Clock()
    metrics = Metrics(clock)
    busy = [0.0]

    def pool() -> PoolStatistics:
        return pool_of("llm", [thread_of("edge-llm-1", 0.0, "generate", busy[0])], waiting=3)

    reporter = Reporter(Sources(metrics, pools=lambda: [pool()]))
    activity = metrics.activity("llm", "generate")
    activity.begin()
    activity.end(Outcome.COMPLETED, 2.1, 3.0)
    clock.now_s += 10
    busy[0] = 10.0
    found = reporter.report().bottleneck
    assert found is not None
    assert f"{found.what}: {found.why}" == "pool llm: 3 jobs waiting, p95 wait 2.1 s, its one thread busy 100 %"


def test_pressure_is_told_with_its_reading() -> None:
    """Bits by their names, memory as the ladder sees it."""
    clock = Clock()
    reading = Reading(
        temperature_c=84.2,
        throttled=Throttled.THROTTLED | Throttled.UNDER_VOLTAGE_SEEN,
        memory_available_bytes=40 * _MIB,
        memory_total_bytes=512 * _MIB,
    )
    states = [PressureState(Rung.HOT, ("temperature 84.2 °C", "throttled"), reading, clock.now_s)]
    reporter = Reporter(Sources(Metrics(clock), pressure=lambda: states[0]))
    clock.now_s += 12
    report = reporter.report()
    assert report.pressure is not None
    assert (report.pressure.rung, report.pressure.for_s, report.pressure.temperature_c) == ("hot", 12.0, 84.2)
    assert report.pressure.throttled == ("throttled", "under_voltage_seen")
    assert report.bottleneck is not None
    assert report.bottleneck.what == "temperature"
    states[0] = PressureState(Rung.NORMAL, (), reading, clock.now_s)
    found = reporter.report().bottleneck
    assert found is not None
    assert (found.what, found.why) == ("memory", "40 of 512 MiB left")


async def test_a_real_runtime_reports() -> None:
    """Pools, ledger, channels, limits and rates as they are."""
    metrics = Metrics()
    pool = Pool("asr", metrics=metrics)
    ledger = CoreLedger(4, 1)
    ledger.claim("llama", Rank.REASONING, 3)
    channel: Channel[int] = Channel(2, on_full="drop_oldest", name="microphone")
    for number in range(3):
        channel.offer(number)
    limits, rate = ResourceLimits({"llm": 1}), RateLimiter("questions", burst=1, per_s=1.0, most_identities=10)
    sources = Sources(
        metrics,
        pools=lambda: [pool.statistics()],
        ledger=ledger.statistics,
        channels=lambda: [channel.statistics()],
        limits=limits.statistics,
        rates=lambda: [rate.statistics()],
        lag=LoopLag(),
        logs_lost=lambda: 7,
    )
    reporter = Reporter(sources)
    assert await pool.run(threading.get_ident, kind="recognize") != threading.get_ident()
    report = reporter.report()
    await pool.close()
    assert [(one.place, one.kind, one.completed) for one in report.work] == [("asr", "recognize", 1)]
    assert report.cores is not None
    assert (report.cores.cores, report.cores.held) == (4, 0)
    assert [(one.name, one.dropped) for one in report.channels] == [("microphone", 1)]
    assert [one.resource for one in report.limits] == ["llm"]
    assert [one.kind for one in report.rates] == ["questions"]
    assert report.logs_lost == 7
    assert report.bottleneck is not None
    assert report.bottleneck.what == "channel microphone"
    read_back = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert read_back["pools"][0]["threads"][0]["name"] == "edge-asr-1"
    assert set(read_back) == {
        *("uptime_s", "tasks", "places", "work", "pools", "cores", "channels", "limits", "rates", "lag"),
        *("pressure", "usage", "logs_lost", "bottleneck"),
    }


async def test_the_watch_samples_and_reads_resource_use() -> None:
    """Every few seconds; what can't be read now is not known, and the watch goes on."""
    clock, threads = Clock(), HereAndNow()
    rounds = asyncio.Semaphore(0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now_s += seconds
        await rounds.acquire()

    metrics = Metrics(clock)
    reporter = Reporter(Sources(metrics), FixedUse(), every_s=5.0, sleep=sleep)
    task: asyncio.Task[None] = asyncio.create_task(reporter.watch_loop(threads))

    async def one_round() -> None:
        before = len(slept)
        rounds.release()
        while len(slept) == before:  # noqa: ASYNC110 - virtual time: this is the loop's own turns
            await asyncio.sleep(0)

    await one_round()
    usage = reporter.report().usage
    assert usage is not None
    assert (usage.rss_bytes, usage.thread_cpu_s) == (90 * _MIB, {"MainThread": 1.0})
    work(metrics, "asr", "recognize", *[Outcome.COMPLETED] * 10)
    threads.is_busy = True
    for _ in range(3):  # every third time
        await one_round()
    report = reporter.report()
    assert report.usage is None
    assert report.tasks.per_s_last_minute > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(slept) == {5.0}


def test_the_memory_of_a_reporter_is_bounded() -> None:
    """However long it watches."""
    clock = Clock()
    reporter = Reporter(Sources(Metrics(clock)))
    for _ in range(1000):
        clock.now_s += 5
        reporter.sample()
    assert len(reporter._samples) == 7


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.lists(st.floats(0.0, 3600.0), max_size=30), min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_spread_is_what_the_histograms_say(parts: list[list[float]], seed: int) -> None:
    """All percentiles in one pass are the same as one by one, over any division into histograms."""
    whole, divided = RecentHistogram(), [RecentHistogram() for _ in parts]
    shuffled = random.Random(seed)
    for histogram, durations in zip(divided, parts, strict=True):
        for duration in durations:
            now_s = shuffled.uniform(0, 200)
            histogram.add(duration, now_s)
            whole.add(duration, now_s)
    found = spread(divided)
    expected = [whole.percentile(share) for share in (0.5, 0.95, 0.99)]
    if found is None:
        assert expected == [None] * 3
    else:
        assert [found.p50_ms, found.p95_ms, found.p99_ms] == [round((value or 0.0) * 1000, 3) for value in expected]
