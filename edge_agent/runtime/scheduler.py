"""Runs tasks by priority and dependency: boot, maintenance, and what can wait until nobody is served."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from edge_agent.errors import DependencyFailedError, EdgeAgentError, SchedulerBusyError, TaskCancelledError
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.running import RunningTasks
from edge_agent.runtime.scheduled import Ended, Entry, Handle, Memory, Periodic, ReadyQueue, Stop, Task, check_graph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    """A scheduler at one moment.

    Attributes:
        held: Tasks that wait for others or for their delay.
        ready: Tasks that wait for a place.
        ready_idle: Idle tasks that wait for an idle time.
        running: Tasks that run, idle ones included.
        running_idle: Idle tasks that run.
        stuck: Running ones that were given up because they did not stop when told to.
        most_running: How many may run at once.
        most_waiting: How many may wait.
        remembered: Ended tasks whose outcome is kept.
    """

    held: int
    ready: int
    ready_idle: int
    running: int
    running_idle: int
    stuck: int
    most_running: int
    most_waiting: int
    remembered: int


class Scheduler:
    """An async context manager that owns the tasks submitted to it. Belongs to the loop's thread.

    At most `most_running` tasks run at once, `most_idle` of them idle ones, and `most_waiting` wait. A task that fails
    takes nobody with it but its dependants: its error is logged, counted in `metrics` under `scheduler`, and raised
    where its handle is awaited. Leaving the context cancels everything and waits for it, `grace_s` at most.

    Idle tasks start while `idle()` is true and no other task is ready or running. Whoever knows that the answer of
    `idle` may have changed calls `wake`; whoever begins to serve somebody calls `preempt_idle`. A restartable idle task
    is also cut off when another task needs its place.

    Times are the loop's, so a loop with virtual time works.
    """

    def __init__(
        self,
        *,
        most_running: int = 4,
        most_idle: int = 1,
        most_waiting: int = 10_000,
        most_remembered: int = 256,
        grace_s: float = 2.0,
        idle: Callable[[], bool] = lambda: True,
        metrics: Metrics | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if min(most_running, most_idle, most_waiting) < 1:
            raise ValueError("a scheduler needs room for at least one task")
        self._most_running = most_running
        self._most_idle = most_idle
        self._most_waiting = most_waiting
        self._grace_s = grace_s
        self._idle = idle
        self._metrics = metrics or Metrics()
        self._chance = chance
        self._loop: asyncio.AbstractEventLoop
        self._is_open = False
        self._sequence = 0
        self._live: dict[str, Entry] = {}
        self._memory = Memory(most_remembered)
        self._ready = ReadyQueue()
        self._ready_idle = ReadyQueue()
        self._waiting = 0
        self._running: RunningTasks
        self._idle_held = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._running = RunningTasks(self._loop, self._grace_s, self._settle, self._requeue, self._start_ready)
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        entries = list(self._live.values())
        for entry in entries:
            entry.dependants.clear()  # each is cancelled for itself, none because of another
        for entry in entries:
            self._cancel(entry)
        await self._running.drain()

    def submit(self, *tasks: Task[T]) -> tuple[Handle[T], ...]:
        """Accept all of `tasks`, or none; those that are free to go are started at once, best priority first.

        Raises:
            TaskGraphError: A name is taken or unknown, or tasks wait for each other in a circle.
            SchedulerBusyError: Too many tasks wait.
        """
        self._require_open()
        check_graph(tasks, self._live, self._memory)
        if self._waiting + len(tasks) > self._most_waiting:
            for task in tasks:
                self._metrics.activity("scheduler", task.kind).refuse()
            raise SchedulerBusyError(self._most_waiting)
        entries = [self._accept(task) for task in tasks]
        self._link(entries)
        self._start_ready()
        return tuple(Handle(entry, self._cancel) for entry in entries)

    def every(
        self,
        name: str,
        interval_s: float,
        work: Callable[[], Awaitable[object]],
        *,
        idle: bool = True,
        jitter: float = 0.1,
        first_s: float | None = None,
        priority: int = 9,
        timeout_s: float | None = None,
    ) -> Periodic:
        """Repeat `work`, `interval_s` after its last run ended; a run that fails is logged, and the next one comes.

        Each interval is longer or shorter by up to the share `jitter`, so that devices that were switched on together
        do not stay in step. The first run is due after `first_s`, or else an interval. Idle work is restartable.

        Raises:
            TaskGraphError: The name is taken.
        """
        self._require_open()
        if interval_s <= 0 or not 0 <= jitter < 1:
            raise ValueError(f"{name!r}: the interval must be positive, and the jitter from 0 to 1")
        task = Task(name, work, priority, timeout_s=timeout_s, idle=idle, restartable=idle, kind=name)
        check_graph((task,), self._live, self._memory)

        def next_delay_s() -> float:
            return interval_s * (1 + jitter * (2 * self._chance() - 1))

        periodic = Periodic(task, next_delay_s, self._begin, self._cancel)
        periodic.begin(first_s)
        self._start_ready()
        return periodic

    def outcome(self, name: str) -> Ended | None:
        """Return how the task of that name ended last; None where it has not, or that was forgotten."""
        return self._memory.get(name)

    def wake(self) -> None:
        """Ask anew whether it is an idle time: start idle tasks, or cut restartable ones off."""
        self._idle_held = False
        if self._running.idle_count and not self._idle():
            self._running.preempt()
        self._start_ready()

    def preempt_idle(self) -> None:
        """Cut restartable idle tasks off, and start none until `wake` is called."""
        self._idle_held = True
        self._running.preempt()

    def statistics(self) -> SchedulerStatistics:
        """Return how many tasks wait and run."""
        return SchedulerStatistics(
            held=self._waiting - len(self._ready) - len(self._ready_idle),
            ready=len(self._ready),
            ready_idle=len(self._ready_idle),
            running=len(self._running),
            running_idle=self._running.idle_count,
            stuck=self._running.stuck_count,
            most_running=self._most_running,
            most_waiting=self._most_waiting,
            remembered=len(self._memory),
        )

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("the scheduler is not open")

    # Waiting.

    def _accept(self, task: Task[object]) -> Entry:
        self._sequence += 1
        entry = Entry(task, self._sequence, self._metrics.activity("scheduler", task.kind))
        entry.activity.begin()
        self._live[task.name] = entry
        self._waiting += 1
        return entry

    def _begin(self, task: Task[object], repeat: Callable[[Ended], None]) -> Entry:
        """Accept periodic work: it has its place for ever, so it is never refused."""
        entry = self._accept(task)
        entry.repeat = repeat
        self._link([entry])
        return entry

    def _link(self, entries: Sequence[Entry]) -> None:
        """Tie entries to what they wait for; all of a batch must have been accepted before."""
        failed: list[tuple[Entry, Ended]] = []
        for entry in entries:
            for name in dict.fromkeys(entry.task.after):
                dependency = self._live.get(name)
                ended = self._memory.get(name)
                if dependency is not None:
                    dependency.dependants[entry] = None
                    entry.after.append(dependency)
                    entry.holds += 1
                elif ended is not None and ended.outcome is not Outcome.COMPLETED:
                    failed.append((entry, ended))
            if entry.task.delay_s > 0:
                entry.holds += 1
                entry.timer = self._loop.call_later(entry.task.delay_s, self._delay_over, entry)
        for entry, ended in failed:
            self._give_up([entry], ended)
        for entry in entries:
            if not entry.holds and entry.ended is None:
                self._queue(entry)

    def _delay_over(self, entry: Entry) -> None:
        entry.timer = None
        self._release(entry)
        self._start_ready()

    def _release(self, entry: Entry) -> None:
        entry.holds -= 1
        if not entry.holds:
            self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        entry.ready_s = self._loop.time()
        self._queue_of(entry).push(entry)

    def _queue_of(self, entry: Entry) -> ReadyQueue:
        return self._ready_idle if entry.task.idle else self._ready

    def _wait_no_more(self, entry: Entry) -> None:
        entry.waits = False
        self._waiting -= 1
        entry.clear_timer()
        if entry.ready_s is not None:
            entry.wait_s += self._loop.time() - entry.ready_s
            entry.ready_s = None
            self._queue_of(entry).discard(entry)

    def _requeue(self, entry: Entry) -> None:
        """Let a task that was cut off wait anew, in its old place."""
        entry.waits = True
        self._waiting += 1
        self._queue(entry)

    # Running and ending.

    def _start_ready(self) -> None:
        """Start what may start now."""
        if not self._is_open:
            return
        running = self._running
        while self._ready and len(running) < self._most_running:
            self._start(self._ready.pop())
        if self._ready:
            running.preempt(len(self._ready))
            return
        while (
            self._ready_idle
            and not self._idle_held
            and len(running) == running.idle_count < min(self._most_idle, self._most_running)
            and self._idle()
        ):
            self._start(self._ready_idle.pop())

    def _start(self, entry: Entry) -> None:
        self._wait_no_more(entry)
        self._running.start(entry)

    def _cancel(self, entry: Entry) -> bool:
        if entry.ended is not None:
            return False
        if not entry.waits:
            return self._running.stop(entry, Stop.CANCELLED)
        self._settle(entry, Outcome.CANCELLED, None, TaskCancelledError(entry.name))
        self._start_ready()
        return True

    def _settle(self, entry: Entry, outcome: Outcome, value: object, error: BaseException | None) -> None:
        """End a task, and let those go or give those up that depend on it."""
        dependants = list(entry.dependants)
        ended = self._end(entry, outcome, value, error)
        if outcome is not Outcome.COMPLETED:
            self._give_up(dependants, ended)
            return
        for dependant in dependants:
            self._release(dependant)

    def _give_up(self, entries: Sequence[Entry], ended: Ended) -> None:
        """Fail entries, and whatever depends on them, because of how a dependency ended."""
        name, cause = ended.first_cause
        lost = list(entries)
        while lost:
            entry = lost.pop()
            if entry.ended is None:
                lost.extend(entry.dependants)
                error = DependencyFailedError(entry.name, name)
                error.__cause__ = cause
                self._end(entry, Outcome.FAILED, None, error)

    def _end(self, entry: Entry, outcome: Outcome, value: object, error: BaseException | None) -> Ended:
        """End one task: take every trace of it away, but for how it ended."""
        if entry.waits:
            self._wait_no_more(entry)
        for dependency in entry.after:
            dependency.dependants.pop(entry, None)
        entry.after.clear()
        entry.dependants.clear()
        del self._live[entry.name]
        ended = entry.ended = Ended(entry.name, outcome, value, error, entry.wait_s, entry.run_s)
        self._memory.keep(ended)
        entry.activity.end(outcome, ended.wait_s, ended.run_s)
        if not entry.task.awaited:
            _report(ended)
        if entry.settled is not None:
            entry.settled.set()
        if entry.repeat is not None and self._is_open:
            entry.repeat(ended)
        return ended


def _report(ended: Ended) -> None:
    """Log an error that may be awaited by nobody."""
    if ended.outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
        # What was raised on purpose says all in its message.
        unexpected = None if isinstance(ended.error, EdgeAgentError) else ended.error
        _log.error("task %s: %s", ended.name, ended.error or "failed", exc_info=unexpected)
