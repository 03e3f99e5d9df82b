"""What a scheduler is given, what it gives back, and the queue in which tasks wait for a place."""

from __future__ import annotations

import asyncio
import graphlib
import heapq
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from edge_agent.errors import DependencyFailedError, TaskGraphError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence

    from edge_agent.runtime.metrics import Activity, Outcome

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Task(Generic[T_co]):
    """A piece of work for the scheduler.

    Attributes:
        name: Unique among the tasks that have not ended.
        work: Called when it is the task's turn; what it returns is awaited. May be called again, if `restartable`.
        priority: Lower goes first; equal ones in the order in which they were submitted.
        after: Names of tasks that must complete first.
        timeout_s: The longest that `work` may run; waiting does not count.
        delay_s: The work does not start earlier than this after it was submitted.
        idle: Only for times when nobody is served and no other task is ready or running.
        restartable: An idle task that may be cut off when a turn begins, and begun anew later.
        kind: Under which the task is counted in the metrics.
        awaited: Whoever submits it awaits its result, so that an error is raised there and not logged.
    """

    name: str
    work: Callable[[], Awaitable[T_co]]
    priority: int = 5
    after: tuple[str, ...] = ()
    timeout_s: float | None = None
    delay_s: float = 0.0
    idle: bool = False
    restartable: bool = False
    kind: str = "task"
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended.

    Attributes:
        name: Of the task.
        outcome: Completed, failed (also by a dependency), timed out or cancelled.
        value: What the work returned.
        error: Why it did not complete; None where it did.
        wait_s: How long it was ready and waited for a place.
        run_s: How long it ran, all attempts together.
    """

    name: str
    outcome: Outcome
    value: object
    error: BaseException | None
    wait_s: float
    run_s: float

    @property
    def first_cause(self) -> tuple[str, BaseException | None]:
        """The task that failed first on the way to this failure, and its error."""
        if isinstance(self.error, DependencyFailedError):
            return self.error.dependency, self.error.__cause__ or self.error
        return self.name, self.error


class Stop(Enum):
    """Why running work was told to stop."""

    PREEMPTED = auto()
    TIMED_OUT = auto()
    CANCELLED = auto()


@dataclass(eq=False, slots=True)
class Entry:
    """A task on its way through the scheduler.

    Attributes:
        task: What was submitted.
        sequence: Number of the submission.
        activity: Where it is counted.
        waits: True while it neither runs nor has ended.
        holds: Dependencies that have not completed, and one more while it is delayed.
        after: Dependencies that have not ended.
        dependants: Tasks that wait for this one, in order.
        timer: Of the delay, later of the timeout, later of the time to stop in.
        stop: Why the running work was told to stop.
        ready_s: When it became ready, on the loop's clock; None while it is not.
        started_s: When it was last started, on the same clock.
        wait_s: Sum of the times it was ready.
        run_s: Sum of the times it ran.
        ended: How it ended.
        settled: Set when it ended; made for the first one who waits.
        repeat: For periodic work: called when it ended.
    """

    task: Task[object]
    sequence: int
    activity: Activity
    waits: bool = True
    holds: int = 0
    after: list[Entry] = field(default_factory=list)
    dependants: dict[Entry, None] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    stop: Stop | None = None
    ready_s: float | None = None
    started_s: float = 0.0
    wait_s: float = 0.0
    run_s: float = 0.0
    ended: Ended | None = None
    settled: asyncio.Event | None = None
    repeat: Callable[[Ended], None] | None = None

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name

    def clear_timer(self) -> None:
        """Stop the timer that runs, if any."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Handle(Generic[T_co]):
    """A submitted task, as its submitter sees it."""

    __slots__ = ("_cancel", "_entry")

    def __init__(self, entry: Entry, cancel: Callable[[Entry], bool]) -> None:
        self._entry = entry
        self._cancel = cancel

    @property
    def name(self) -> str:
        """Name of the task."""
        return self._entry.name

    @property
    def ended(self) -> Ended | None:
        """How it ended; None while it waits or runs."""
        return self._entry.ended

    def cancel(self) -> bool:
        """Give the task up, whether it waits or runs; return False where it has ended.

        Work that runs is cancelled, and the task ends when the work does.
        """
        return self._cancel(self._entry)

    async def result(self) -> T_co:
        """Wait for the task and return what its work returned.

        Cancelling this wait leaves the task alone.

        Raises:
            JobTimeoutError: The work took longer than its timeout.
            DependencyFailedError: A task that it depends on failed; `__cause__` is the first cause.
            TaskCancelledError: The task was cancelled, or the scheduler was left.
            Exception: Whatever the work raised.
        """
        entry = self._entry
        if entry.ended is None:
            if entry.settled is None:
                entry.settled = asyncio.Event()
            await entry.settled.wait()
        ended = cast("Ended", entry.ended)
        if ended.error is not None:
            raise ended.error
        return cast("T_co", ended.value)

    def __await__(self) -> Generator[object, None, T_co]:
        return self.result().__await__()


class Periodic:
    """Work that is repeated until it is cancelled; `runs` have ended, the last one as `last` says."""

    def __init__(
        self,
        task: Task[object],
        next_delay_s: Callable[[], float],
        begin: Callable[[Task[object], Callable[[Ended], None]], Entry],
        cancel: Callable[[Entry], bool],
    ) -> None:
        self._task = task
        self._next_delay_s = next_delay_s
        self._begin = begin
        self._cancel = cancel
        self._entry: Entry | None = None
        self._cancelled = False
        self.runs = 0
        self.last: Ended | None = None

    @property
    def name(self) -> str:
        """Name of the task."""
        return self._task.name

    def begin(self, delay_s: float | None) -> None:
        """Wait for the next run, which is due in `delay_s`, or else when the interval says."""
        delay_s = self._next_delay_s() if delay_s is None else delay_s
        self._entry = self._begin(replace(self._task, delay_s=delay_s), self._ran)

    def cancel(self) -> None:
        """Repeat no more; a run that goes on is cancelled."""
        self._cancelled = True
        if self._entry is not None:
            self._cancel(self._entry)

    def _ran(self, ended: Ended) -> None:
        self.runs += 1
        self.last = ended
        if not self._cancelled:
            self.begin(None)


class ReadyQueue:
    """Entries by priority, then by age; taking one out of the middle is cheap, and leaves nothing behind for long."""

    _SPARE = 64

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: Entry) -> None:
        """Add an entry."""
        self._entries[entry.sequence] = entry
        heapq.heappush(self._heap, (entry.task.priority, entry.sequence))

    def pop(self) -> Entry:
        """Take the first entry; there must be one."""
        while True:
            _, sequence = heapq.heappop(self._heap)
            if (entry := self._entries.pop(sequence, None)) is not None:
                return entry

    def discard(self, entry: Entry) -> None:
        """Take an entry out, wherever it is; do nothing where it is not here."""
        if self._entries.pop(entry.sequence, None) is None:
            return
        if len(self._heap) > 2 * len(self._entries) + self._SPARE:
            self._heap = [(left.task.priority, left.sequence) for left in self._entries.values()]
            heapq.heapify(self._heap)


class Memory:
    """How the last `most` tasks ended, by name."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def get(self, name: str) -> Ended | None:
        """Return how the task of that name ended last; None where that is unknown or forgotten."""
        return self._ended.get(name)

    def keep(self, ended: Ended) -> None:
        """Remember `ended`, and forget the oldest where there are too many."""
        self._ended[ended.name] = ended
        self._ended.move_to_end(ended.name)
        if len(self._ended) > self.most:
            self._ended.popitem(last=False)


def check_graph(tasks: Sequence[Task[object]], live: Mapping[str, Entry], memory: Memory) -> None:
    """Refuse tasks that can't be scheduled together, beside those that are `live`.

    Raises:
        TaskGraphError: A name is used twice, or unknown, or tasks wait for each other in a circle.
    """
    batch: dict[str, Task[object]] = {}
    for task in tasks:
        if task.name in batch or task.name in live:
            where = "is submitted twice" if task.name in batch else "waits or runs already"
            raise TaskGraphError(f"task {task.name!r} {where}", (task.name,))
        batch[task.name] = task
    for task in tasks:
        for name in task.after:
            if name not in batch and name not in live and memory.get(name) is None:
                raise TaskGraphError(
                    f"task {task.name!r} depends on {name!r}, which is neither waiting nor running, "
                    f"nor one of the last {memory.most} that ended",
                    (task.name, name),
                )
    graph = {task.name: [name for name in task.after if name in batch] for task in tasks}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        circle = " → ".join(repr(name) for name in cycle)
        raise TaskGraphError(f"tasks wait for each other in a circle: {circle}", cycle[:-1]) from None
