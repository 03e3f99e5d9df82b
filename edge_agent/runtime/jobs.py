"""What a pool runs, how it is stopped and accounted for; and the simpler of its two kinds, a single call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from edge_agent.errors import EdgeAgentError, JobTimeoutError, PoolClosedError
from edge_agent.runtime.metrics import Activity, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.runtime.ledger import Claim
    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.worker import Worker

T = TypeVar("T")

_log = logging.getLogger(__name__)

_GRACE_S = 1.0
"""A job that was told to stop and goes on for longer has its thread replaced."""


class Priority(IntEnum):
    """What goes first in a pool."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """How a job is to be run.

    Attributes:
        kind: What the metrics count it as.
        stop: Makes the running step end soon; called from the loop's thread, and only while one runs.
        claim: Is held while it runs.
    """

    kind: str
    priority: Priority = Priority.NORMAL
    stop: Callable[[], None] | None = None
    claim: Claim | None = None


class Job:
    """A piece of work on its way through a pool.

    `execute` belongs to the worker's thread, everything else to the loop's. `lock` guards what both look at.
    """

    def __init__(self, pool: Pool, terms: Terms) -> None:
        self.pool = pool
        self.kind = terms.kind
        self.priority = terms.priority
        self.loop = asyncio.get_running_loop()
        self.lock = threading.Lock()
        self._stop = terms.stop
        self._claim = terms.claim
        self._activity: Activity | None = None
        self._worker: Worker | None = None
        self._stopping = False
        self._stop_asked_s: float | None = None
        self._is_stepping = False
        self._submitted_s = time.monotonic()
        self._started_s: float | None = None
        self._run_s = 0.0

    def begin(self, activity: Activity) -> None:
        """Count it as accepted."""
        self._activity = activity
        activity.begin()

    def execute(self, worker: Worker) -> None:
        """Run it, or a slice of it. Never raises: errors go to who awaits it."""
        raise NotImplementedError

    def drop(self) -> None:
        """It waited, and the pool closed."""
        raise NotImplementedError

    def is_stopping(self) -> bool:
        """Tell whether it is to stop. Any thread."""
        return self._stopping

    def request_stop(self) -> None:
        """Let the running step end soon, and no other begin."""
        with self.lock:
            begins = self._begin_stop()
        if begins:
            self._follow_stop()

    @property
    def is_over(self) -> bool:
        """Whether its thread is done with it."""
        raise NotImplementedError

    def _begin_stop(self) -> bool:
        """Under the lock; False where it is stopping already."""
        if self._stopping:
            return False
        self._stopping = True
        self._stop_asked_s = time.monotonic()
        # Under the lock and only in a step, so that it can't hit the job that comes next.
        if self._is_stepping and self._stop is not None:
            self._stop()
        return True

    def _follow_stop(self) -> None:
        if self._claim is not None:
            self._claim.wake()
        self.loop.call_later(_GRACE_S, self._look_after)

    def _look_after(self) -> None:
        worker = self._worker
        # Only where the thread is in this very job: it may rest, and its last thread serve another by now.
        if not self.is_over and worker is not None and worker.job is self:
            _log.warning("pool %s: %s does not stop", self.pool.name, self.kind)
            self.pool.replace_stuck(worker)

    def _account(self, outcome: Outcome) -> None:
        """Count how it ended, once."""
        activity, self._activity = self._activity, None
        if activity is not None:
            started_s = self._started_s
            wait_s = (time.monotonic() if started_s is None else started_s) - self._submitted_s
            activity.end(outcome, wait_s, None if started_s is None else self._run_s)

    def _note_freed(self, at_s: float) -> None:
        if self._stop_asked_s is not None:
            self.pool.metrics.activity(self.pool.name, self.kind).freed(max(0.0, at_s - self._stop_asked_s))

    @contextmanager
    def _granted(self) -> Iterator[bool]:
        """Hold the claim; False where the job was stopped while it waited for it."""
        if self._claim is None:
            yield True
            return
        granted = self._claim.open(self.is_stopping)
        try:
            yield granted
        finally:
            self._claim.close()

    @contextmanager
    def _step(self) -> Iterator[bool]:
        """Mark that a step runs, which `request_stop` may then interrupt; False where none is to begin."""
        with self.lock:
            self._is_stepping = not self._stopping
        try:
            yield self._is_stepping
        finally:
            with self.lock:
                self._is_stepping = False

    def _post(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call back on the loop; where that is closed nobody waits any more."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback, *arguments)


class CallJob(Job, Generic[T]):
    """One call."""

    def __init__(self, call: Callable[[], T], pool: Pool, terms: Terms) -> None:
        super().__init__(pool, terms)
        self._call = call
        self._future: asyncio.Future[T] = self.loop.create_future()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._is_over

    async def outcome(self, timeout_s: float | None) -> T:
        """Wait for the result.

        Raises:
            JobTimeoutError: It took longer than `timeout_s`.
            PoolClosedError: The pool closed while it waited.
        """
        timer = None if timeout_s is None else self.loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            return await self._future
        except asyncio.CancelledError:
            self._give_up(Outcome.CANCELLED)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def execute(self, worker: Worker) -> None:
        """Make the call."""
        self._worker = worker
        self._started_s = time.monotonic()
        result: T | None = None
        error: BaseException | None = None
        try:
            if self._stop is None and self._claim is None:
                result = self._call()
            else:
                with self._granted() as granted, self._step() as may_run:
                    if not granted or not may_run:
                        raise PoolClosedError(self.pool.name, self.kind)  # noqa: TRY301 - seen where someone still waits
                    result = self._call()
        except BaseException as raised:  # noqa: BLE001 - carried to who awaits it
            error = raised
        ended_s = time.monotonic()
        self._run_s = ended_s - self._started_s
        self._post(self._deliver, result, error, ended_s)

    def drop(self) -> None:
        """Tell who awaits it."""
        self._is_over = True
        self._account(Outcome.CANCELLED)
        if not self._future.done():
            self._future.set_exception(PoolClosedError(self.pool.name, self.kind))

    def _deliver(self, result: T | None, error: BaseException | None, ended_s: float) -> None:
        self._is_over = True
        self._note_freed(ended_s)
        future = self._future
        if future.done():
            if error is not None and not isinstance(error, PoolClosedError):
                # What was raised on purpose is mostly how a job ends that was told to stop.
                level = logging.DEBUG if isinstance(error, EdgeAgentError) else logging.WARNING
                _log.log(level, "pool %s: %s failed when nobody waited any more: %r", self.pool.name, self.kind, error)
            self._account(Outcome.CANCELLED)
        elif error is None:
            self._account(Outcome.COMPLETED)
            future.set_result(cast("T", result))
        else:
            self._account(Outcome.FAILED)
            future.set_exception(transportable(error))

    def _expire(self, timeout_s: float) -> None:
        if not self._future.done():
            self._give_up(Outcome.TIMED_OUT)
            self._future.set_exception(JobTimeoutError(f"{self.pool.name}: {self.kind}", timeout_s))

    def _give_up(self, outcome: Outcome) -> None:
        """Nobody waits for it any more."""
        if self._is_over:
            return
        if self._started_s is not None:
            self._run_s = time.monotonic() - self._started_s
        self._account(outcome)
        if self.pool.withdraw(self):
            self._is_over = True
        else:
            self.request_stop()


def transportable(error: BaseException) -> BaseException:
    """Return what a future or a generator can raise instead of `error`."""
    if isinstance(error, StopIteration | StopAsyncIteration):
        wrapped = RuntimeError(f"the job raised {type(error).__name__}")
        wrapped.__cause__ = error
        return wrapped
    return error
