"""Steppable jobs: generators that a pool runs step by step, in slices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edge_agent.errors import JobTimeoutError, PoolClosedError
from edge_agent.runtime.jobs import Job, Priority, transportable
from edge_agent.runtime.metrics import Outcome

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_agent.runtime.jobs import Terms
    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.worker import Worker

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PATIENCE_S = 5.0
"""The longest that someone who cancels waits for the job to end."""

_END: Any = object()


class StepJob(Job, Generic[T]):
    """A generator that is run step by step.

    It is run in slices: until it has produced as many items as may wait, or a more urgent job wants the thread. Then it
    rests, or queues again.
    """

    def __init__(self, job: Generator[T, None, None], pool: Pool, terms: Terms, ahead: int) -> None:
        super().__init__(pool, terms)
        self._job = job
        self._credits = ahead
        """Steps that may be run before an item is taken. Guarded by the lock, like `_rests`."""
        self._rests = False
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._timed_out_s: float | None = None
        self._slice_began_s: float | None = None
        self._over = False
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether the generator has ended or is closed."""
        return self._over

    def start_timer(self, timeout_s: float | None) -> None:
        """Count the time that it may take from now."""
        if timeout_s is not None:
            self._timer = self.loop.call_later(timeout_s, self._expire, timeout_s)

    async def take(self) -> T:
        """Return the next item, waiting for it.

        Raises:
            StopAsyncIteration: There are no more.
            JobTimeoutError: Its time is up.
            PoolClosedError: The pool closed while it waited.
        """
        while True:
            if self._timed_out_s is not None:
                raise JobTimeoutError(f"{self.pool.name}: {self.kind}", self._timed_out_s)
            if self._items:
                return self._items.popleft()
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()

    def go_on(self) -> None:
        """An item was used up: another step may be run."""
        with self.lock:
            self._credits += 1
            resumes, self._rests = self._rests, False
        if resumes:
            self._queue_again()

    async def ended(self) -> None:
        """Stop it where it still runs, and return when the generator is closed.

        A cancellation that comes meanwhile is put off until then. What does not end within 5 s is left behind, and
        logged.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._over or self._timed_out_s is not None:
            return
        self._count_slice()
        self._account(Outcome.CANCELLED)
        self._shut()
        deadline_s = self.loop.time() + _PATIENCE_S
        cancelled: asyncio.CancelledError | None = None
        while not self._over:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._changed.wait()
            except TimeoutError:
                _log.error("pool %s: %s does not stop; going on without it", self.pool.name, self.kind)
                break
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled  # put off, never swallowed: who asked for it waits for this task to end

    def execute(self, worker: Worker) -> None:
        """Run a slice."""
        self._worker = worker
        while True:
            began_s = self._slice_began_s = time.monotonic()
            if self._started_s is None:
                self._started_s = began_s
            is_over, error = self._run_slice()
            ended_s = time.monotonic()
            self._slice_began_s = None
            self._run_s += ended_s - began_s
            if is_over:
                self._post(self._finish, error, ended_s)
                return
            with self.lock:
                if not self._credits and not self._stopping:
                    self._rests = True
                    return
            # From here on another thread may have it.
            if not self._stopping and self.pool.enqueue(self, first=True):
                return

    def drop(self) -> None:
        """It waited, and the pool closed."""
        self._job.close()  # between two steps, and no thread is left to do it
        self._finish(PoolClosedError(self.pool.name, self.kind), time.monotonic())

    def _run_slice(self) -> tuple[bool, BaseException | None]:
        """Run steps while it may; return whether it is over, and by which error."""
        if self._stopping:
            return True, self._close()
        try:
            with self._granted() as granted:
                while granted and not self._stopping:
                    with self._step() as may_run:
                        if not may_run:
                            break
                        item = next(self._job, _END)
                    if item is _END:
                        return True, None
                    self._post(self._arrive, item)
                    with self.lock:
                        self._credits -= 1
                        if not self._credits:
                            return False, None
                    if self.pool.is_wanted_by(self.priority):
                        return False, None
        except BaseException as raised:  # noqa: BLE001 - carried to who pulls the job
            self._close()
            return True, raised
        return True, self._close()

    def _close(self) -> BaseException:
        """Close the generator; return what who still waits for it is told."""
        try:
            self._job.close()
        except BaseException as raised:  # noqa: BLE001 - carried to who pulls the job
            return raised
        return PoolClosedError(self.pool.name, self.kind)

    def _arrive(self, item: Any) -> None:  # noqa: ANN401 - a T
        self._items.append(item)
        self._changed.set()

    def _finish(self, error: BaseException | None, ended_s: float) -> None:
        self._note_freed(ended_s)
        if error is not None and self._activity is None and not isinstance(error, PoolClosedError):
            _log.warning("pool %s: %s failed when it was stopped: %r", self.pool.name, self.kind, error)
        self._account(Outcome.FAILED if error is not None else Outcome.COMPLETED)
        self._error = None if error is None else transportable(error)
        self._over = True
        self._changed.set()

    def _expire(self, timeout_s: float) -> None:
        if not self._over:
            self._timed_out_s = timeout_s
            self._count_slice()
            self._account(Outcome.TIMED_OUT)
            self._shut()
            self._changed.set()

    def _count_slice(self) -> None:
        """Add the slice that runs to the run time, as far as it has come."""
        if self._slice_began_s is not None:
            self._run_s += time.monotonic() - self._slice_began_s

    def _shut(self) -> None:
        """Have the generator closed: by the running slice, or by one of its own where it waits or rests."""
        waits = self.pool.withdraw(self)
        with self.lock:  # in one go, or it could go to rest in between, and nobody would wake it
            waits, self._rests = waits or self._rests, False
            begins = self._begin_stop()
        if begins:
            self._follow_stop()
        if waits:
            self.priority = Priority.HIGH
            self._queue_again()

    def _queue_again(self) -> None:
        if not self.pool.enqueue(self, first=True):
            self.drop()
