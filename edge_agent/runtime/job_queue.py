"""Jobs that wait for a thread, by priority: the more urgent first, and nobody for ever."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge_agent.runtime.jobs import Priority

if TYPE_CHECKING:
    from edge_agent.runtime.jobs import Job

_PASSED_OVER = 8
"""Jobs of higher priority that may go before a waiting one; then it is its turn, so that nobody starves."""


class JobQueue:
    """Holds jobs until they are taken; `len` tells how many. It has no lock: whoever shares it among threads has."""

    def __init__(self) -> None:
        self._waiting: tuple[deque[Job], ...] = tuple(deque() for _ in Priority)
        self._passed_over = [0] * len(Priority)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def counts(self) -> dict[Priority, int]:
        """Return how many wait, by priority."""
        return {priority: len(self._waiting[priority]) for priority in Priority}

    def put(self, job: Job, *, first: bool = False) -> None:
        """Add a job behind those of its priority, or as their `first`."""
        waiting = self._waiting[job.priority]
        if first:
            waiting.appendleft(job)
        else:
            waiting.append(job)
        self._count += 1

    def take(self) -> Job | None:
        """Take out the job whose turn it is; None where nobody waits.

        That is the most urgent one, but of nine jobs one is from below where some wait there.
        """
        chosen: Priority | None = None
        for priority in reversed(Priority):
            if self._waiting[priority] and (chosen is None or self._passed_over[chosen] < _PASSED_OVER):
                chosen = priority
        if chosen is None:
            return None
        for priority in Priority:
            if priority > chosen and self._waiting[priority]:
                self._passed_over[priority] += 1
        self._passed_over[chosen] = 0
        self._count -= 1
        return self._waiting[chosen].popleft()

    def remove(self, job: Job) -> bool:
        """Take a job out; False where it does not wait (any more)."""
        try:
            self._waiting[job.priority].remove(job)
        except ValueError:
            return False
        self._count -= 1
        return True

    def clear(self) -> list[Job]:
        """Take out all jobs, the more urgent first, and return them."""
        jobs = [job for waiting in self._waiting for job in waiting]
        for waiting in self._waiting:
            waiting.clear()
        self._count = 0
        return jobs

    def holds_above(self, priority: Priority) -> bool:
        """Tell whether a job more urgent than `priority` waits. A hint that any thread may ask for without a lock."""
        return any(self._waiting[higher] for higher in Priority if higher < priority)
