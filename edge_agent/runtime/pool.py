"""Priority pools: named threads for one kind of blocking work, and jobs that can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import PoolBusyError
from edge_agent.runtime.job_queue import JobQueue
from edge_agent.runtime.jobs import CallJob, Job, Priority, Terms
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.step_job import StepJob
from edge_agent.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Generator

    from edge_agent.runtime.ledger import Claim
    from edge_agent.runtime.worker import ThreadStatistics

__all__ = ["Pool", "PoolStatistics", "Priority"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MOST_STUCK = 4
"""Threads that may hang in jobs that don't heed a stop before the pool has nobody left to replace them with."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool as it stands.

    Attributes:
        workers: Threads, busy, idle or stuck.
        stuck: Threads in a job that was told to stop and has not.
        queued: Jobs that wait, by priority.
        delayed: Jobs whose time has not come.
        depth: Jobs that may wait, delayed ones included.
    """

    name: str
    workers: int
    most_workers: int
    busy: int
    stuck: int
    depth: int
    queued: dict[Priority, int]
    delayed: int
    threads: tuple[ThreadStatistics, ...]


class Pool:
    """Runs blocking calls and steppable jobs on its own threads. Its methods belong to the loop.

    Higher priorities go first, but of nine jobs one is from below where some wait. Between two steps a steppable job
    makes way for a more urgent one. Threads are started as jobs come, up to `most_workers`, and end, down to
    `least_workers`, after `idle_s` without one. A thread whose job does not heed a stop is replaced.

    Args:
        name: Threads are called `edge-<name>-<n>`.
        depth: Jobs that may wait; more are refused.
        niceness: Added to the threads' niceness where the system allows; more than 0 always is.
        affinity: Cores that the threads, and threads that they start, may run on; None leaves that to the system.
        idle_s: How long a thread above the least waits for work before it ends.
        replaces_stuck: False where jobs must never overtake one that hangs.
    """

    def __init__(
        self,
        name: str,
        *,
        least_workers: int = 0,
        most_workers: int = 1,
        depth: int = 64,
        niceness: int = 0,
        affinity: Collection[int] | None = None,
        idle_s: float = 10.0,
        replaces_stuck: bool = True,
        metrics: Metrics | None = None,
    ) -> None:
        if not 0 <= least_workers <= most_workers or most_workers < 1 or depth < 1:
            raise ValueError("a pool has room for at least one thread and one job")
        self.name = name
        self.least_workers, self.most_workers = least_workers, most_workers
        self.depth = depth
        self.niceness, self.affinity, self.idle_s = niceness, affinity, idle_s
        self.metrics = metrics or Metrics()
        self._replaces_stuck = replaces_stuck
        self.base_niceness = os.getpriority(os.PRIO_PROCESS, 0)
        self._lock = threading.Lock()
        self._waiting = JobQueue()
        self._delayed: set[Job] = set()
        self._idle = 0
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._workers: set[Worker] = set()
        self._made = 0
        self._closed = False
        self._all_gone: Callable[[], None] = _nothing

    async def run(
        self,
        call: Callable[[], T],
        *,
        kind: str = "call",
        priority: Priority = Priority.NORMAL,
        delay_s: float = 0.0,
        timeout_s: float | None = None,
        stop: Callable[[], None] | None = None,
        claim: Claim | None = None,
    ) -> T:
        """Run `call` on a thread of the pool and return its result.

        Cancelled or timed out while it waits, it never runs. Cancelled or timed out while it runs, the caller goes on
        at once and `stop` is called, from the loop's thread and never after `call` has ended; without `stop` the call
        runs on to its end, so give only short ones.

        Args:
            call: Takes no arguments.
            kind: What the metrics count it as.
            priority: What goes before it.
            delay_s: It is queued after so long.
            timeout_s: From now, waiting included.
            stop: Makes a running `call` end soon.
            claim: Is held while it runs.

        Raises:
            PoolBusyError: As many jobs wait as may.
            JobTimeoutError: It took longer than `timeout_s`.
        """
        job = CallJob(call, self, Terms(kind, priority, stop, claim))
        self._submit(job, delay_s)
        return await job.outcome(timeout_s)

    async def steps(
        self,
        job: Generator[T, None, None],
        *,
        kind: str = "job",
        priority: Priority = Priority.NORMAL,
        timeout_s: float | None = None,
        stop: Callable[[], None] | None = None,
        claim: Claim | None = None,
        ahead: int = 1,
    ) -> AsyncGenerator[T, None]:
        """Run a generator step by step on the pool and yield what it yields.

        It runs up to `ahead` steps before the first of them is taken, and rests, without a thread and without its
        claim, while so many wait. Closing or cancelling this stops the running step by `stop` where that is given,
        closes the generator on a thread of the pool, and returns when that has happened: nothing of the job runs
        afterwards. A time-out frees the caller at once and leaves the closing to the pool.

        Raises:
            PoolBusyError: As many jobs wait as may.
            JobTimeoutError: It took longer than `timeout_s` from beginning to end.
        """
        steps = StepJob(job, self, Terms(kind, priority, stop, claim), ahead)
        self._submit(steps, 0.0)
        steps.start_timer(timeout_s)
        try:
            while True:
                try:
                    item = await steps.take()
                except StopAsyncIteration:
                    return
                yield item
                steps.go_on()
        finally:
            await steps.ended()

    def statistics(self) -> PoolStatistics:
        """Return the pool as it stands."""
        with self._lock:
            workers = tuple(self._workers)
            queued = self._waiting.counts()
        threads = tuple(worker.statistics() for worker in sorted(workers, key=lambda worker: worker.name))
        return PoolStatistics(
            self.name,
            len(workers),
            self.most_workers,
            sum(thread.job is not None for thread in threads),
            sum(thread.is_stuck for thread in threads),
            self.depth,
            queued,
            len(self._delayed),
            threads,
        )

    async def close(self, patience_s: float = 5.0) -> None:
        """Take nothing more, drop what waits, stop what runs, and wait for the threads to end.

        A thread that has not ended after `patience_s` is left behind, and logged; it does not keep the process alive.
        """
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
                loop.call_soon_threadsafe(gone.set)

        workers = tuple(self._workers)
        self.abandon(tell)
        try:
            async with asyncio.timeout(patience_s):
                await gone.wait()
                while any(worker.is_alive for worker in workers):  # noqa: ASYNC110 - a thread can't tell its own end
                    await asyncio.sleep(0.001)  # it has taken leave, and is at its last instructions
        except TimeoutError:
            for thread in self.statistics().threads:
                _log.error("pool %s: %s is left behind: it does not stop", self.name, thread.job or thread.name)

    def leave(self) -> None:
        """Take nothing more and don't wait: what is queued still runs, on threads that end by themselves.

        For calls into a native library that may hang, and what is to be done when they come back.
        """
        with self._lock:
            self._closed = True
            for _ in self._workers:
                self._wake.put(None)

    def abandon(self, all_gone: Callable[[], None] | None = None) -> None:
        """Take nothing more, drop what waits, tell what runs to stop, and don't wait for it.

        `all_gone` is called when the last thread has ended, from any thread.
        """
        with self._lock:
            self._closed = True
            self._all_gone = all_gone or _nothing
            dropped = self._waiting.clear() + list(self._delayed)
            workers = tuple(self._workers)
            for _ in workers:
                self._wake.put(None)
        self._delayed.clear()
        for job in dropped:
            job.drop()
        for worker in workers:
            if (running := worker.job) is not None:
                running.request_stop()
        if not workers:
            self._all_gone()

    # What jobs and workers call

    def enqueue(self, job: Job, *, first: bool = False) -> bool:
        """Queue a job that is already counted, on any thread; `first` of its priority. False where closed."""
        with self._lock:
            if self._closed:
                return False
            self._waiting.put(job, first=first)
            self._call_worker()
            return True

    def withdraw(self, job: Job) -> bool:
        """Take a job that waits out of its queue; False where it does not wait (any more)."""
        if job in self._delayed:
            self._delayed.discard(job)
            return True
        with self._lock:
            return self._waiting.remove(job)

    def is_wanted_by(self, priority: Priority) -> bool:
        """Tell whether a job more urgent than `priority` waits. Any thread; a hint, without the lock."""
        return self._waiting.holds_above(priority)

    def replace_stuck(self, worker: Worker) -> None:
        """A worker's job was told to stop a while ago and has not: let others do its work."""
        with self._lock:
            worker.is_stuck = self._replaces_stuck and worker in self._workers
            if worker.is_stuck and self._waiting:
                self._call_worker()

    def take(self, worker: Worker) -> Job | None:
        """Return the next job for `worker`, waiting for one; None where it is to end."""
        while True:
            with self._lock:
                worker.is_stuck = False
                worker.job = None
                if self._able() <= self.most_workers and (job := self._waiting.take()) is not None:
                    worker.job = job  # under the lock: whoever closes the pool finds it here or in the queue
                    return job
                if self._closed or self._able() > self.most_workers:
                    self._retire(worker)
                    return None
                self._idle += 1
            rested = False
            try:
                self._wake.get(timeout=self.idle_s)
            except queue.Empty:
                rested = True
            with self._lock:
                self._idle -= 1
                if rested and not self._waiting and len(self._workers) > self.least_workers:
                    self._retire(worker)
                    return None

    def _submit(self, job: Job, delay_s: float) -> None:
        activity = self.metrics.activity(self.name, job.kind)
        if self._closed:
            raise RuntimeError(f"pool {self.name!r} is closed")
        if len(self._waiting) + len(self._delayed) >= self.depth or self._is_hopeless():
            activity.refuse()
            raise PoolBusyError(self.name, self.depth)
        job.begin(activity)
        if delay_s > 0:
            self._delayed.add(job)
            job.loop.call_later(delay_s, self._due, job)
        else:
            self.enqueue(job)

    def _due(self, job: Job) -> None:
        if job in self._delayed:
            self._delayed.discard(job)
            if not self.enqueue(job):
                job.drop()

    def _is_hopeless(self) -> bool:
        with self._lock:
            return sum(worker.is_stuck for worker in self._workers) >= _MOST_STUCK

    def _call_worker(self) -> None:
        """Wake an idle thread for a job that was queued, or start one. Under the lock."""
        self._wake.put(None)
        if len(self._waiting) > self._idle and self._able() < self.most_workers:
            worker = Worker(self, self._made + 1)
            try:
                worker.start()
            except RuntimeError as error:  # no memory, or as many threads as the system allows
                _log.error("pool %s: no further thread: %s", self.name, error)
                return
            self._made += 1
            self._workers.add(worker)

    def _able(self) -> int:
        return sum(not worker.is_stuck for worker in self._workers)

    def _retire(self, worker: Worker) -> None:
        self._workers.discard(worker)
        if self._closed and not self._workers:
            self._all_gone()


def _nothing() -> None:
    """Nobody waits for the threads."""
