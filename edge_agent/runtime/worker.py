"""One thread of a pool."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.runtime.jobs import Job
    from edge_agent.runtime.pool import Pool

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreadStatistics:
    """A thread as it stands.

    Attributes:
        job: Kind of the job that it runs; None while it is idle.
        job_age_s: For how long it has been running it.
        jobs: Jobs, and slices of steppable jobs, that it has run.
        busy_s: Seconds that it spent in them; the present one not counted.
        cpu_s: Processor seconds of the thread itself in them; threads of native libraries are not counted.
        is_stuck: Its job was told to stop and has not.
    """

    name: str
    job: str | None
    job_age_s: float | None
    jobs: int
    busy_s: float
    cpu_s: float
    is_stuck: bool


class Worker:
    """Takes jobs from its pool until that has none for it."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self.name = f"edge-{pool.name}-{number}"
        self.job: Job | None = None
        self.is_stuck = False
        self._since_s = 0.0
        self._jobs = 0
        self._busy_s = 0.0
        self._cpu_s = 0.0
        # A daemon: a native call that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is not quite gone."""
        return self._thread.is_alive()

    def statistics(self) -> ThreadStatistics:
        """Return how it stands. Any thread."""
        job = self.job
        age_s = time.monotonic() - self._since_s if job is not None else None
        return ThreadStatistics(
            self.name, job.kind if job else None, age_s, self._jobs, self._busy_s, self._cpu_s, self.is_stuck
        )

    def _work(self) -> None:
        self._settle_in()
        while (job := self._pool.take(self)) is not None:
            began_s = self._since_s = time.monotonic()
            job.execute(self)
            job = None
            self._jobs += 1
            self._busy_s += time.monotonic() - began_s
            self._cpu_s = time.thread_time()

    def _settle_in(self) -> None:
        """Take the pool's niceness and cores; threads that native libraries start from here inherit both."""
        pool, thread = self._pool, threading.get_native_id()
        if pool.niceness:
            try:
                os.setpriority(os.PRIO_PROCESS, thread, pool.base_niceness + pool.niceness)
            except PermissionError:
                _log.debug("%s: niceness %+d is not allowed here", self.name, pool.niceness)
        if pool.affinity:
            try:
                os.sched_setaffinity(thread, pool.affinity)
            except OSError as error:
                _log.warning("%s: can't be bound to cores %s: %s", self.name, sorted(pool.affinity), error.strerror)
