"""What things are compared with: the pool with two hops, the fair share, the meter, the slope of memory."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bench.ledger import fair_share
from edge_agent.bench.memory import growth
from edge_agent.bench.meter import Meter
from edge_agent.bench.scheduling import random_graph
from edge_agent.bench.seed_pool import TwoHopPools
from edge_agent.bench.watching import Seen


async def test_a_job_of_the_seed_takes_two_threads() -> None:
    """One of its pool works, and one of the loop's default executor waits for it."""
    waiting: list[str] = []

    class Watched(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN002, ANN003, ANN202
            def call() -> object:
                waiting.append(threading.current_thread().name)
                return fn(*args, **kwargs)

            return super().submit(call)

    loop = asyncio.get_running_loop()
    loop.set_default_executor(Watched(1, thread_name_prefix="default"))
    pools = TwoHopPools({"general": 1})
    try:
        worked_on = await pools.submit_task("general", lambda: threading.current_thread().name)
    finally:
        await asyncio.to_thread(pools.close)
        await loop.shutdown_default_executor()
    assert worked_on.startswith("general")
    assert [name.partition("_")[0] for name in waiting] == ["default"] * 2  # the second closed the pools
    assert (pools.completed, pools.failed) == (1, 0)
    assert pools.mean_s > 0


async def test_the_seed_keeps_a_running_mean_and_counts_failures() -> None:
    """The mean of two jobs is their mean, and an error is passed on."""
    pools = TwoHopPools({"general": 1})
    try:
        with patch("edge_agent.bench.seed_pool.time.time", side_effect=[10.0, 11.0, 20.0, 23.0, 30.0]):
            for _ in range(2):
                await pools.submit_task("general", int)
            with pytest.raises(ZeroDivisionError):
                await pools.submit_task("general", lambda: 1 // 0)
    finally:
        await asyncio.to_thread(pools.close)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert pools.mean_s == pytest.approx(2.0)
    assert (pools.completed, pools.failed) == (2, 1)


async def test_a_timeout_of_the_seed_leaves_the_job_running() -> None:
    """The fault that our pool does not have."""
    release, ended = threading.Event(), threading.Event()

    def job() -> None:
        release.wait(10)
        ended.set()

    pools = TwoHopPools({"general": 1})
    try:
        with pytest.raises(TimeoutError):
            await pools.submit_task("general", job, timeout_s=0.001)
        assert not ended.is_set()
    finally:
        release.set()
        await asyncio.to_thread(pools.close)
        await asyncio.get_running_loop().shutdown_default_executor()
    assert ended.is_set()


@pytest.mark.parametrize(
    ("threads", "speed"),
    [(0, 0), (0.25, 17.5), (1, 70), (1.5, 85), (2, 100), (2.5, 95), (3, 90), (7, 90), (-1, 0)],
)
def test_the_fair_share_lies_on_straight_lines(threads: float, speed: float) -> None:
    """Between nothing at no threads and what was measured; beyond the last it stays."""
    assert fair_share({1: 70.0, 2: 100.0, 3: 90.0}, threads) == pytest.approx(speed)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8), st.floats(0, 10))
@settings(derandomize=True, deadline=None)
def test_the_fair_share_lies_between_its_neighbours(speeds: list[float], threads: float) -> None:
    """So that no grant is compared with a speed that was not there."""
    known = {0: 0.0} | {count + 1: speed for count, speed in enumerate(speeds)}
    below = min(int(threads), len(speeds))
    above = min(below + 1, len(speeds))
    low, high = sorted((known[below], known[above]))
    assert low - 1e-9 <= fair_share({count: known[count] for count in known if count}, threads) <= high + 1e-9


def test_speed_is_counted_within_the_window() -> None:
    """Tokens, sentences and transcripts from before it are not its own."""
    meter = Meter(
        tokens=[0.5, 1.0, 1.5, 2.0, 3.0, 3.5],
        sentences=[(1.0, 9.0, 1.0), (2.0, 0.5, 2.0), (3.0, 1.0, 0.0)],
        transcripts=[(1.0, 9.0), (2.5, 0.25)],
    )
    assert meter.tokens_per_s(1.0, 3.0) == 1.5
    assert meter.real_time_factors(1.0) == [0.25]
    assert meter.lags_s(1.0) == [0.25]


def test_windows_add_up() -> None:
    """Mean and spread are over windows; the least speed is one token in all of them."""
    seen = Seen(tokens_per_s=[90.0], window_s=10.0)
    seen.add(Seen(tokens_per_s=[110.0], window_s=10.0, threads=[1.5]))
    assert (seen.mean, seen.spread, seen.least, seen.threads) == (100.0, 0.1, 0.05, [1.5])


def test_the_slope_of_memory_leaves_the_warm_up_out() -> None:
    """A jump at the start is no leak; a steady growth is, whatever came before."""
    counts = [number * 100 for number in range(1, 51)]
    flat = growth(counts, [1_000_000 if count < 500 else 9_000_000 for count in counts])
    assert (flat.slope_bytes, flat.grown_bytes, flat.samples) == (0.0, 0, 40)
    leaking = growth(counts, [5_000_000 + 24 * count for count in counts])
    assert leaking.slope_bytes == pytest.approx(24)


def test_the_graph_has_no_cycles_and_some_depth() -> None:
    """Every task depends on earlier ones only; it is the same each time."""
    graph = random_graph(500)
    assert all(other < number for number, after in enumerate(graph) for other in after)
    assert 1 < sum(map(len, graph)) / len(graph) < 2
    assert graph == random_graph(500)
