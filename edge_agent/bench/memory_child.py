"""Does work of four kinds in blocks and prints the memory: `python -m edge_agent.bench.memory_child COUNT`.

A line of JSON for each block: how many of each kind were done, resident memory, and by how much each kind changed it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import PoolBusyError
from edge_agent.runtime import loop
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.scheduled import Task
from edge_agent.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BLOCKS = 100
_FILL_S = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


async def main(count: int) -> None:
    """Do `count` jobs, tasks, rate-limited identities and refused submissions."""
    block = max(1, count // _BLOCKS)
    release = threading.Event()
    busy = Pool("full", most_workers=1, depth=1)
    blocking = []
    for queued in (0, 1):
        blocking.append(asyncio.create_task(busy.run(release.wait)))
        await _until(busy, queued)
    pool = Pool("bench", most_workers=2)
    limiter = RateLimiter("bench", burst=1, per_s=1)
    try:
        async with Scheduler() as scheduler:
            kinds: dict[str, Callable[[int], Awaitable[None]]] = {
                "jobs": lambda at: _jobs(pool, at, block),
                "tasks": lambda at: _tasks(scheduler, at, block),
                "identities": lambda at: _identities(limiter, at, block),
                "refusals": lambda at: _refusals(busy, at, block),
            }
            for at in range(0, block * _BLOCKS, block):
                grown = {}
                for kind, work in kinds.items():
                    before = _resident_bytes()
                    await work(at)
                    grown[kind] = _resident_bytes() - before
                gc.collect()
                sample = {"count": at + block, "resident": _resident_bytes(), **grown}
                sys.stdout.write(f"{json.dumps(sample)}\n")
                sys.stdout.flush()
    finally:
        release.set()
        await asyncio.gather(*blocking)
        await busy.close()
        await pool.close()


async def _until(pool: Pool, queued: int) -> None:
    """Wait until one job runs and `queued` wait."""
    async with asyncio.timeout(_FILL_S):
        # A pool tells nobody that a thread took a job, for nobody else wants to know.
        while (state := pool.statistics()).busy != 1 or sum(state.queued.values()) != queued:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def _jobs(pool: Pool, _at: int, count: int) -> None:
    for _ in range(count):
        await pool.run(_nothing)


async def _tasks(scheduler: Scheduler, at: int, count: int) -> None:
    async def work() -> None:
        """Be an empty task."""

    for number in range(at, at + count):
        await scheduler.submit(Task(f"task-{number}", work))[0].result()


async def _identities(limiter: RateLimiter, at: int, count: int) -> None:
    for number in range(at, at + count):
        limiter.allow(f"identity-{number}")


async def _refusals(pool: Pool, _at: int, count: int) -> None:
    refused = 0
    for _ in range(count):
        try:
            await pool.run(_nothing)
        except PoolBusyError:
            refused += 1
    if refused != count:
        raise AssertionError(f"only {refused} of {count} submissions were refused")


def _nothing() -> None:
    """Be an empty job."""


def _resident_bytes() -> int:
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


if __name__ == "__main__":
    loop.run(main(int(sys.argv[1])))
