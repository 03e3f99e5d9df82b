"""The reference for dispatch: a pool whose every job takes two threads.

The founding document describes `SmartThreadPoolManager.submit_task`: a job is submitted to one of several plain thread
pools, and its result is waited for by a blocking call in the loop's default executor. This is that description, written
anew for comparison, and nothing else uses it. Its faults are part of it: a second thread waits for each job, a time-out
leaves both running, and the default executor's size bounds all pools together.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class TwoHopPools:
    """Named pools; results come by way of the loop's default executor.

    Attributes:
        completed: Jobs that returned.
        failed: Jobs that raised, timed out or were cancelled.
        mean_s: Running mean of the time from submitting to the result.
    """

    def __init__(self, workers: dict[str, int]) -> None:
        self._pools = {name: ThreadPoolExecutor(count, thread_name_prefix=name) for name, count in workers.items()}
        self.completed = 0
        self.failed = 0
        self.mean_s = 0.0

    async def submit_task(self, pool: str, call: Callable[[], T], timeout_s: float | None = None) -> T:
        """Run `call` in `pool` and return its result."""
        began_s = time.time()
        job = self._pools[pool].submit(call)
        waiting = asyncio.get_running_loop().run_in_executor(None, job.result)
        try:
            result = await (waiting if timeout_s is None else asyncio.wait_for(waiting, timeout_s))
        except BaseException:
            self.failed += 1
            raise
        self.completed += 1
        self.mean_s += (time.time() - began_s - self.mean_s) / self.completed
        return result

    def close(self) -> None:
        """Wait for all jobs and end the threads. Blocking."""
        for pool in self._pools.values():
            pool.shutdown()
