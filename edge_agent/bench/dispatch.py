"""From submitting an empty job to its result: our pool, a plain executor, and the pool that takes two hops."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from edge_agent.bench.result import Reference, at_most, less_than, percentile
from edge_agent.bench.seed_pool import TwoHopPools
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.bench.result import Findings, Progress

_ROUNDS = 40
"""The three take turns, so that whatever else the machine does hits all of them."""
_WARM_UP = 200


async def measure(findings: Findings, progress: Progress, *, jobs: int = 20_000) -> None:
    """Add `dispatch.*`: medians, tails, and the ratios of medians."""
    loop = asyncio.get_running_loop()
    pool = Pool("bench", least_workers=1, most_workers=1)
    executor = ThreadPoolExecutor(1, thread_name_prefix="plain")
    seed = TwoHopPools({"general": 1})
    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "pool": lambda: pool.run(_nothing),
        "executor": lambda: loop.run_in_executor(executor, _nothing),
        "seed": lambda: seed.submit_task("general", _nothing),
    }
    times_us: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for submit in ways.values():
            await _time(submit, _WARM_UP)
        per_round = max(1, -(-jobs // _ROUNDS))
        names = list(ways)
        for turn in range(_ROUNDS):
            progress(f"dispatch {turn + 1}/{_ROUNDS}")
            for name in names:
                times_us[name] += await _time(ways[name], per_round)
            names.append(names.pop(0))
    finally:
        await pool.close()
        await asyncio.to_thread(executor.shutdown)
        await asyncio.to_thread(seed.close)
    medians = {name: percentile(times, 50) for name, times in times_us.items()}
    count = len(times_us["pool"])
    executor_median = Reference("run_in_executor on a ThreadPoolExecutor, p50", medians["executor"], "us")
    seed_median = Reference("submit_task as the founding document has it, p50", medians["seed"], "us")
    findings.add(
        "dispatch.vs_executor",
        medians["pool"] / medians["executor"],
        "ratio",
        goal=at_most(2),
        reference=executor_median,
        samples=count,
    )
    findings.add(
        "dispatch.vs_seed",
        medians["pool"] / medians["seed"],
        "ratio",
        goal=less_than(1),
        reference=seed_median,
        samples=count,
    )
    for name in ways:
        findings.add_percentiles(f"dispatch.{name}", times_us[name], "us")
    findings.distributions["Dispatch of an empty job (us)"] = dict(times_us)


async def _time(submit: Callable[[], Awaitable[None]], count: int) -> list[float]:
    """Return the microseconds that each of `count` jobs took, one after the other."""
    times = []
    # As timeit does: a collection in the middle would be counted to whichever way it happens to hit.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(count):
            began_s = time.perf_counter()
            await submit()
            times.append((time.perf_counter() - began_s) * 1e6)
    finally:
        if was_enabled:
            gc.enable()
    return times


def _nothing() -> None:
    """Be an empty job."""
