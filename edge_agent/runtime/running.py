"""The scheduled tasks that run at this moment: started, timed, told to stop, waited for."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import JobTimeoutError, TaskCancelledError
from edge_agent.runtime.metrics import Outcome
from edge_agent.runtime.scheduled import Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.runtime.scheduled import Entry

T = TypeVar("T")

_log = logging.getLogger(__name__)


class RunningTasks:
    """Runs each task's work in an asyncio task of its own. Belongs to the loop's thread.

    Work that is told to stop is cancelled once. If it has not stopped after `grace_s`, its task is over for all others,
    and the work keeps its place until it ends.

    The owner is told by three functions: `settle` that a task is over, `requeue` that it was cut off and is to run anew
    later, and `place_freed`, after either, that there may be room for another one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        grace_s: float,
        settle: Callable[[Entry, Outcome, object, BaseException | None], None],
        requeue: Callable[[Entry], None],
        place_freed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._grace_s = grace_s
        self._settle = settle
        self._requeue = requeue
        self._place_freed = place_freed
        self._works: dict[Entry, asyncio.Task[object]] = {}
        self._idle: dict[Entry, None] = {}

    def __len__(self) -> int:
        return len(self._works)

    @property
    def idle_count(self) -> int:
        """How many of them are idle tasks."""
        return len(self._idle)

    @property
    def stuck_count(self) -> int:
        """How many were given up because they do not stop."""
        return sum(entry.ended is not None for entry in self._works)

    def start(self, entry: Entry) -> None:
        """Begin the work of a task."""
        entry.started_s = self._loop.time()
        work = self._loop.create_task(_perform(entry.task.work), name=f"scheduler.{entry.name}")
        self._works[entry] = work
        if entry.task.idle:
            self._idle[entry] = None
        work.add_done_callback(partial(self._stopped, entry))
        if entry.task.timeout_s is not None:
            entry.timer = self._loop.call_later(entry.task.timeout_s, self.stop, entry, Stop.TIMED_OUT)

    def stop(self, entry: Entry, why: Stop) -> bool:
        """Cancel work; return False where it does not run, or has just ended by itself."""
        work = self._works.get(entry)
        if work is None or work.done():
            return False
        if entry.stop is None:
            entry.clear_timer()
            work.cancel()
        # A second cancellation would hit the clean-up after the first one.
        if entry.stop in (None, Stop.PREEMPTED):
            entry.stop = why
        if entry.timer is None:
            entry.timer = self._loop.call_later(self._grace_s, self._overdue, entry)
        return True

    def preempt(self, most: int | None = None) -> None:
        """Cut restartable idle tasks off, `most` of them; those that are stopping already count."""
        restartable = [entry for entry in self._idle if entry.task.restartable]
        for entry in restartable[:most]:
            if entry.stop is None:
                self.stop(entry, Stop.PREEMPTED)

    async def drain(self) -> None:
        """Wait for what was told to stop, `grace_s` at most."""
        deadline_s = self._loop.time() + self._grace_s
        cancelled: asyncio.CancelledError | None = None
        while self._works and (left_s := deadline_s - self._loop.time()) > 0:
            try:
                await asyncio.wait(self._works.values(), timeout=left_s)
                await asyncio.sleep(0)  # a callback takes note of what has just ended
            except asyncio.CancelledError as error:
                cancelled = error
        for entry in list(self._works):
            if entry.ended is None:
                self._overdue(entry)
        if cancelled is not None:
            raise cancelled  # put off, never swallowed: who asked for it waits for this to end

    def _stopped(self, entry: Entry, work: asyncio.Task[object]) -> None:
        """Take note that work has ended, in whatever way."""
        error = None if work.cancelled() else work.exception()
        stop, entry.stop = entry.stop, None
        entry.clear_timer()
        del self._works[entry]
        self._idle.pop(entry, None)
        entry.run_s += self._loop.time() - entry.started_s
        if entry.ended is not None:
            _log.warning("task %s, which was given up, has ended", entry.name, exc_info=error)
        elif stop is Stop.TIMED_OUT:
            self._give_up(entry, stop, error)
        elif error is not None:
            self._settle(entry, Outcome.FAILED, None, error)
        elif not work.cancelled():
            self._settle(entry, Outcome.COMPLETED, work.result(), None)
        elif stop is Stop.PREEMPTED:
            self._requeue(entry)
        else:
            self._give_up(entry, Stop.CANCELLED, None)
        self._place_freed()

    def _overdue(self, entry: Entry) -> None:
        entry.clear_timer()
        _log.error("task %s does not stop %g s after it was told to", entry.name, self._grace_s)
        if entry.stop in (Stop.TIMED_OUT, Stop.CANCELLED):
            self._give_up(entry, entry.stop, None)
            self._place_freed()

    def _give_up(self, entry: Entry, why: Stop, cause: BaseException | None) -> None:
        if why is Stop.TIMED_OUT:
            timeout = JobTimeoutError(f"task {entry.name!r}", entry.task.timeout_s or 0.0)
            timeout.__cause__ = cause
            self._settle(entry, Outcome.TIMED_OUT, None, timeout)
        else:
            self._settle(entry, Outcome.CANCELLED, None, TaskCancelledError(entry.name))


async def _perform(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
