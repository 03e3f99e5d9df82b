"""The scheduler: order, dependencies, bounds, timeouts, idle time, repetition, leaving."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from virtual_time import VirtualTimeLoop, in_virtual_time

from edge_agent.errors import (
    DependencyFailedError,
    FaultError,
    JobTimeoutError,
    SchedulerBusyError,
    TaskCancelledError,
    TaskGraphError,
)
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.scheduled import Entry, Handle, Task
from edge_agent.runtime.scheduler import Scheduler


def lasting(seconds: float, value: int = 0) -> Callable[[], Awaitable[int]]:
    """Work that takes a while."""

    async def work() -> int:
        await asyncio.sleep(seconds)
        return value

    return work


def failing(error: Exception, after_s: float = 0.0) -> Callable[[], Awaitable[int]]:
    """Work that fails."""

    async def work() -> int:
        await asyncio.sleep(after_s)
        raise error

    return work


async def stubborn() -> int:
    """Work that goes on for a minute, whoever cancels it."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + 60
    while loop.time() < end_s:
        try:
            await asyncio.sleep(end_s - loop.time())
        except asyncio.CancelledError:
            continue
    return 7


class Diary:
    """Notes when works start and end."""

    def __init__(self) -> None:
        self.starts: list[tuple[str, float]] = []
        self.running: set[str] = set()
        self.peak = 0

    def task(self, name: str, seconds: float = 1.0, *, fails: bool = False, **settings: object) -> Task[str]:
        """Make a task that notes itself."""

        async def work() -> str:
            self.starts.append((name, asyncio.get_running_loop().time()))
            self.running.add(name)
            self.peak = max(self.peak, len(self.running))
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running.discard(name)
            if fails:
                raise FaultError(name)
            return name

        return Task(name, work, **settings)  # type: ignore[arg-type]

    @property
    def order(self) -> list[str]:
        """Names in the order of their starts."""
        return [name for name, _ in self.starts]


# --- order ---


@in_virtual_time
async def test_ready_tasks_run_by_priority_and_then_by_age() -> None:
    """With one place, the lowest number goes first, and equals keep their order."""
    diary = Diary()
    async with Scheduler(most_running=1) as scheduler:
        handles = scheduler.submit(
            diary.task("late", priority=9),
            diary.task("second", priority=1),
            diary.task("third", priority=1),
            diary.task("first", priority=0),
        )
        assert [await handle for handle in handles] == ["late", "second", "third", "first"]
    assert diary.starts == [("first", 0.0), ("second", 1.0), ("third", 2.0), ("late", 3.0)]


@in_virtual_time
async def test_a_task_starts_when_all_that_it_depends_on_completed() -> None:
    """A diamond: the two sides run side by side, the last one after both."""
    diary = Diary()
    async with Scheduler() as scheduler:
        *_, last = scheduler.submit(
            diary.task("model"),
            diary.task("left", 2.0, after=("model",)),
            diary.task("right", 3.0, after=("model", "model")),
            diary.task("ready", after=("left", "right")),
        )
        await last
    assert dict(diary.starts) == {"model": 0.0, "left": 1.0, "right": 1.0, "ready": 4.0}


@in_virtual_time
async def test_a_delay_counts_from_submission() -> None:
    """A delayed task does not hold up others, and waits no second time for its dependency."""
    diary = Diary()
    async with Scheduler(most_running=1) as scheduler:
        handles = scheduler.submit(
            diary.task("delayed", delay_s=5.0, priority=0, after=("other",)), diary.task("other", 2.0)
        )
        assert scheduler.statistics().held == 1
        await handles[0]
    assert diary.starts == [("other", 0.0), ("delayed", 5.0)]


@dataclass
class Plan:
    """One task of a random graph."""

    after: list[int]
    priority: int
    run_s: float
    delay_s: float
    fails: bool


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    """Graphs without cycles; times are such that no two things ever happen at the same moment."""
    size = draw(st.integers(1, 9))
    return [
        Plan(
            after=sorted(draw(st.sets(st.integers(0, index - 1), max_size=3))) if index else [],
            priority=draw(st.integers(0, 2)),
            # Every end is a sum over another set of tasks, so its binary fraction is its own.
            run_s=draw(st.integers(0, 3)) + 2.0 ** -(index + 1),
            delay_s=(draw(st.integers(0, 4)) + 2.0 ** -(index + 11)) if draw(st.booleans()) else 0.0,
            fails=draw(st.integers(0, 5)) == 0,
        )
        for index in range(size)
    ]


@dataclass
class Model:
    """A slow and plain scheduler: at each moment it looks at everything."""

    graph: list[Plan]
    places: int
    starts: list[tuple[str, float]] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    lost: dict[int, int] = field(default_factory=dict)
    """What failed, and because of whom."""

    def run(self) -> None:
        """Fill in what should happen."""
        now_s = 0.0
        running: dict[int, float] = {}
        waiting = set(range(len(self.graph)))
        while waiting or running:
            for index in sorted(waiting):
                culprits = [self.lost[other] for other in self.graph[index].after if other in self.lost]
                if culprits:
                    waiting.discard(index)
                    self.lost[index] = culprits[0]
            ready = [
                index
                for index in waiting
                if self.completed.issuperset(self.graph[index].after) and self.graph[index].delay_s <= now_s
            ]
            ready.sort(key=lambda index: (self.graph[index].priority, index))
            for index in ready[: self.places - len(running)]:
                waiting.discard(index)
                running[index] = now_s + self.graph[index].run_s
                self.starts.append((str(index), now_s))
            moments = list(running.values())
            moments += [self.graph[index].delay_s for index in waiting if self.graph[index].delay_s > now_s]
            if not moments:
                continue
            now_s = min(moments)
            for index in [index for index, end_s in running.items() if end_s == now_s]:
                del running[index]
                if self.graph[index].fails:
                    self.lost[index] = index
                else:
                    self.completed.add(index)


@given(plans(), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_random_graphs_run_exactly_as_the_plain_model_says(
    graph: list[Plan], places: int, shuffle: random.Random
) -> None:
    """Same starts at the same times, same losses, whatever the graph; the batch's order matters among equals only."""
    model = Model(graph, places)
    model.run()

    @in_virtual_time
    async def run() -> None:
        diary = Diary()
        metrics = Metrics()
        async with Scheduler(most_running=places, metrics=metrics) as scheduler:
            handles = scheduler.submit(
                *(
                    diary.task(
                        str(index),
                        plan.run_s,
                        fails=plan.fails,
                        priority=plan.priority,
                        delay_s=plan.delay_s,
                        after=tuple(str(other) for other in plan.after),
                    )
                    for index, plan in enumerate(graph)
                )
            )
            order = list(enumerate(handles))
            shuffle.shuffle(order)
            for index, handle in order:
                await check_result(index, handle)
            assert scheduler.statistics().running == scheduler.statistics().held == 0
        assert diary.starts == model.starts
        assert diary.peak <= places
        account = metrics.activity("scheduler", "task")
        assert account.active == 0
        assert account.ended[Outcome.COMPLETED] == len(model.completed)
        assert account.ended[Outcome.FAILED] == len(model.lost)

    async def check_result(index: int, handle: Handle[str]) -> None:
        if index in model.completed:
            assert await handle == str(index)
        elif graph[index].fails and model.lost[index] == index:
            with pytest.raises(FaultError, match=str(index)):
                await handle
        else:
            with pytest.raises(DependencyFailedError) as caught:
                await handle
            assert caught.value.task == str(index)
            assert str(caught.value.__cause__) == caught.value.dependency
            assert graph[int(caught.value.dependency)].fails

    run()


# --- what is refused ---


@given(
    st.integers(1, 8).flatmap(
        lambda size: st.lists(st.sets(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size)
    )
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_graphs_with_cycles_are_refused_and_leave_nothing(edges: list[set[int]]) -> None:
    """A graph is refused exactly where it has a cycle; the cycle that is named is one, and nothing was accepted."""

    def reaches(start: int, goal: int) -> bool:
        seen: set[int] = set()
        ahead = set(edges[start])
        while ahead:
            here = ahead.pop()
            seen.add(here)
            ahead |= edges[here] - seen
        return goal in seen

    @in_virtual_time
    async def run() -> None:
        metrics = Metrics()
        async with Scheduler(metrics=metrics) as scheduler:
            tasks = [Task(str(i), lasting(1), after=tuple(map(str, after))) for i, after in enumerate(edges)]
            if not any(reaches(node, node) for node in range(len(edges))):
                for handle in scheduler.submit(*tasks):
                    await handle
                return
            with pytest.raises(TaskGraphError, match="circle") as caught:
                scheduler.submit(*tasks)
            cycle = [int(name) for name in caught.value.names]
            for before, behind in zip(cycle, cycle[1:] + cycle[:1], strict=True):
                assert before in edges[behind]
            statistics = scheduler.statistics()
            assert (statistics.held, statistics.ready, statistics.running) == (0, 0, 0)
            assert metrics.activity("scheduler", "task").active == 0
            assert await scheduler.submit(Task("0", lasting(1, 5)))[0] == 5

    run()


@in_virtual_time
async def test_names_that_are_taken_or_unknown_are_refused_with_the_whole_batch() -> None:
    """The error names the name; the good task of the same batch was not accepted either."""
    async with Scheduler() as scheduler:
        scheduler.submit(Task("taken", lasting(1)))
        good = Task("good", lasting(1))
        with pytest.raises(TaskGraphError, match=r"'taken' waits or runs already"):
            scheduler.submit(good, Task("taken", lasting(1)))
        with pytest.raises(TaskGraphError, match=r"'good' is submitted twice"):
            scheduler.submit(good, good)
        with pytest.raises(
            TaskGraphError, match=r"depends on 'nobody', which is neither waiting nor running"
        ) as caught:
            scheduler.submit(good, Task("bad", lasting(1), after=("nobody",)))
        assert caught.value.names == ("bad", "nobody")
        with pytest.raises(TaskGraphError, match=r"'taken' waits or runs already"):
            scheduler.every("taken", 1.0, lasting(0))
        assert scheduler.statistics().running == 1
        scheduler.submit(good)


@in_virtual_time
async def test_more_than_may_wait_is_refused_and_counted() -> None:
    """A batch is refused as a whole, and the scheduler goes on with what it has."""
    metrics = Metrics()
    async with Scheduler(most_running=1, most_waiting=2, metrics=metrics) as scheduler:
        (running,) = scheduler.submit(Task("running", lasting(1)))
        scheduler.submit(Task("waiting", lasting(1)))
        with pytest.raises(SchedulerBusyError, match="2 waiting"):
            scheduler.submit(Task("a", lasting(1)), Task("b", lasting(1)))
        (last,) = scheduler.submit(Task("a", lasting(1)))
        await running
        await last
    assert metrics.activity("scheduler", "task").refused == 2


async def test_a_scheduler_that_is_not_open_takes_nothing() -> None:
    """Before and after its context, submitting is a plain mistake."""
    scheduler = Scheduler()
    with pytest.raises(RuntimeError, match="not open"):
        scheduler.submit(Task("early", lasting(0)))
    async with scheduler:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        scheduler.every("late", 1.0, lasting(0))


# --- failing ---


@in_virtual_time
async def test_a_failure_fails_whatever_depends_on_it_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """The first cause comes along a chain of thousands; a sibling completes; the unexpected error is logged whole."""
    async with Scheduler() as scheduler:
        bug = ZeroDivisionError("a bug")
        chain = [Task(f"link {n}", lasting(0), after=(f"link {n - 1}",)) for n in range(1, 3000)]
        *_, last, sibling = scheduler.submit(
            Task("link 0", failing(bug, 1.0)), *chain, Task("sibling", lasting(2.0, 3))
        )
        with pytest.raises(DependencyFailedError, match="'link 0', which failed") as caught:
            await last
        assert caught.value.__cause__ is bug
        assert await sibling == 3
        # A failure that is remembered fails those who come later, too.
        with pytest.raises(DependencyFailedError):
            await scheduler.submit(Task("late", lasting(0), after=("link 2999",)))[0]
    record = next(record for record in caplog.records if "link 0: a bug" in record.getMessage())
    assert record.exc_info
    assert record.exc_info[1] is bug


@in_virtual_time
async def test_a_timeout_cancels_the_work_and_fails_its_dependants() -> None:
    """The clock of a timeout starts with the work; the work's clean-up is done when the task is over."""
    cleaned: list[float] = []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(loop.time())

    async with Scheduler(most_running=1) as scheduler:
        _, slow, dependant = scheduler.submit(
            Task("first", lasting(3)), Task("slow", work, timeout_s=2.0), Task("later", lasting(0), after=("slow",))
        )
        with pytest.raises(JobTimeoutError, match="'slow' took longer than 2 s"):
            await slow
        assert cleaned == [5.5]
        with pytest.raises(DependencyFailedError) as caught:
            await dependant
        assert isinstance(caught.value.__cause__, JobTimeoutError)
    ended = scheduler.outcome("slow")
    assert ended is not None
    assert (ended.outcome, ended.wait_s, ended.run_s) == (Outcome.TIMED_OUT, 3.0, 2.5)


@in_virtual_time
async def test_work_that_ignores_its_timeout_keeps_its_place_but_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the grace the task is over for its dependants; the bound on running works still counts it."""
    async with Scheduler(most_running=1, grace_s=1.0) as scheduler:
        stuck, other = scheduler.submit(Task("stuck", stubborn, timeout_s=2.0), Task("other", lasting(1, 1)))
        with pytest.raises(JobTimeoutError):
            await stuck
        assert asyncio.get_running_loop().time() == 3.0
        assert (scheduler.statistics().stuck, scheduler.statistics().ready) == (1, 1)
        assert await other == 1
        assert asyncio.get_running_loop().time() == 61.0
        assert scheduler.statistics().stuck == 0
    assert "does not stop 1 s after" in caplog.text
    assert "which was given up, has ended" in caplog.text


@in_virtual_time
async def test_errors_that_nobody_awaits_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One line where the error was raised on purpose."""
    async with Scheduler() as scheduler:
        scheduler.submit(Task("lonely", failing(FaultError("the disk is full"))))
        await asyncio.sleep(1)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "task lonely: the disk is full")
    assert record.exc_info is None


@in_virtual_time
async def test_work_that_fails_before_it_awaits_anything_is_a_failed_task() -> None:
    """Calling the work is part of the work."""

    def work() -> Awaitable[int]:
        raise ValueError("at once")

    async with Scheduler() as scheduler:
        with pytest.raises(ValueError, match="at once"):
            await scheduler.submit(Task("broken", work))[0]


# --- cancelling ---


@in_virtual_time
async def test_cancelling_ends_a_task_that_waits_or_runs() -> None:
    """A waiting one never starts, a running one is cancelled, an ended one can't be; who awaits is not cancelled."""
    diary = Diary()
    async with Scheduler(most_running=1) as scheduler:
        running, waiting, delayed, dependant = scheduler.submit(
            diary.task("running", 10.0),
            diary.task("waiting"),
            diary.task("delayed", delay_s=2.0),
            diary.task("dependant", after=("waiting",)),
        )
        assert all(handle.cancel() for handle in (waiting, delayed))
        await asyncio.sleep(1)
        assert running.cancel()
        assert running.cancel()
        for handle in (running, waiting, delayed):
            with pytest.raises(TaskCancelledError, match=handle.name):
                await handle
            assert not handle.cancel()
        with pytest.raises(DependencyFailedError) as caught:
            await dependant
        assert isinstance(caught.value.__cause__, TaskCancelledError)
        await asyncio.sleep(5)
    assert diary.order == ["running"]


@in_virtual_time
async def test_cancelling_who_waits_leaves_the_task_alone() -> None:
    """Only the wait ends."""
    async with Scheduler() as scheduler:
        (handle,) = scheduler.submit(Task("task", lasting(2, 4)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await handle
        assert await handle == 4


@in_virtual_time
async def test_cancelling_many_waiting_tasks_leaves_no_memory_behind() -> None:
    """Neither the queue nor the dependency remembers those that gave up."""
    async with Scheduler(most_running=1, most_waiting=10, most_remembered=5) as scheduler:
        scheduler.submit(Task("long", lasting(1)))
        for number in range(1000):
            for handle in scheduler.submit(
                Task(f"ready {number}", lasting(1)), Task(f"held {number}", lasting(1), after=("long",))
            ):
                handle.cancel()
        assert len(scheduler._ready._heap) < 100
        assert len(scheduler._live["long"].dependants) == 0
        assert scheduler.statistics().remembered == 5


@in_virtual_time
async def test_leaving_cancels_everything_and_waits_for_the_clean_up() -> None:
    """Nobody who awaits a handle hangs, and dependants are cancelled like all others."""
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            cleaned.append(True)

    async with Scheduler(most_running=1) as scheduler:
        handles = scheduler.submit(
            Task("running", work), Task("waiting", lasting(1)), Task("held", lasting(1), after=("running",))
        )
        scheduler.every("tidy", 5.0, lasting(1))
        await asyncio.sleep(1)
    assert cleaned == [True]
    for handle in handles:
        with pytest.raises(TaskCancelledError):
            await handle


@in_virtual_time
async def test_leaving_has_a_bound_and_keeps_a_cancellation(caplog: pytest.LogCaptureFixture) -> None:
    """Work that does not stop is left behind and named; a cancellation of who leaves comes after that."""
    handles: list[Handle[int]] = []

    async def serve() -> None:
        async with Scheduler(grace_s=2.0) as scheduler:
            handles.extend(scheduler.submit(Task("stuck", stubborn)))
            await asyncio.sleep(1)

    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(serve())
    await asyncio.sleep(1.5)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert loop.time() == 3.0
    assert "task stuck does not stop" in caplog.text
    with pytest.raises(TaskCancelledError):
        await handles[0]
    await asyncio.sleep(60)


# --- memory and size ---


@in_virtual_time
async def test_the_last_results_are_remembered_and_may_be_depended_on() -> None:
    """A forgotten name is refused by a message that says how many are remembered."""
    async with Scheduler(most_remembered=3) as scheduler:
        for number in range(5):
            await scheduler.submit(Task(f"t{number}", lasting(0, number)))[0]
        ended = scheduler.outcome("t4")
        assert ended is not None
        assert (ended.value, scheduler.outcome("t1")) == (4, None)
        assert await scheduler.submit(Task("next", lasting(0, 9), after=("t3", "t4")))[0] == 9
        with pytest.raises(TaskGraphError, match=r"'t0'.*nor one of the last 3 that ended"):
            scheduler.submit(Task("too late", lasting(0), after=("t0",)))


@in_virtual_time
async def test_ten_thousand_tasks_with_dependencies_complete() -> None:
    """Each depends on up to three earlier ones; all complete, within the bound."""
    diary = Diary()
    chance = random.Random(7)
    tasks = [
        diary.task(
            str(number),
            0.0,
            priority=chance.randrange(5),
            after=tuple({str(chance.randrange(max(0, number - 50), number)) for _ in range(3)}) if number else (),
        )
        for number in range(10_000)
    ]
    async with Scheduler(most_running=8) as scheduler:
        for handle in scheduler.submit(*tasks):
            assert await handle == handle.name
    place = {name: at for at, name in enumerate(diary.order)}
    assert len(place) == 10_000
    assert all(place[name] < place[task.name] for task in tasks for name in task.after)
    assert diary.peak == 8


# --- idle time ---


@in_virtual_time
async def test_idle_tasks_wait_for_idle_times_and_for_other_tasks() -> None:
    """Neither while the predicate says no nor while another task is ready or runs."""
    diary = Diary()
    calm = False
    async with Scheduler(most_running=3, most_idle=2, idle=lambda: calm) as scheduler:
        *_, idle = scheduler.submit(diary.task("other", 2.0), diary.task("idle", idle=True, priority=0))
        await asyncio.sleep(5)
        assert scheduler.statistics().ready_idle == 1
        calm = True
        scheduler.submit(diary.task("another", 2.0))
        scheduler.wake()
        await idle
    assert diary.starts == [("other", 0.0), ("another", 5.0), ("idle", 7.0)]


@in_virtual_time
async def test_a_turn_cuts_restartable_idle_tasks_off_until_wake() -> None:
    """The restartable one starts anew after the turn, in its old place; the other one goes on."""
    diary = Diary()
    async with Scheduler(most_idle=2) as scheduler:
        handles = scheduler.submit(
            diary.task("pruning", 10.0, idle=True, restartable=True),
            diary.task("writing", 10.0, idle=True),
            diary.task("third", 10.0, idle=True, restartable=True),
        )
        await asyncio.sleep(4)
        scheduler.preempt_idle()
        await asyncio.sleep(1)
        assert diary.running == {"writing"}
        scheduler.wake()
        for handle in handles:
            await handle
    assert diary.starts == [("pruning", 0.0), ("writing", 0.0), ("pruning", 5.0), ("third", 10.0)]
    ended = scheduler.outcome("pruning")
    assert ended is not None
    assert (ended.run_s, ended.wait_s) == (14.0, 1.0)


@in_virtual_time
async def test_waking_in_a_busy_time_cuts_idle_tasks_off() -> None:
    """So a rise in pressure stops idle work at once."""
    diary = Diary()
    calm = True
    async with Scheduler(idle=lambda: calm) as scheduler:
        (handle,) = scheduler.submit(diary.task("verify", 4.0, idle=True, restartable=True))
        await asyncio.sleep(1)
        calm = False
        scheduler.wake()
        await asyncio.sleep(1)
        assert diary.running == set()
        calm = True
        scheduler.wake()
        await handle
    assert diary.starts == [("verify", 0.0), ("verify", 2.0)]


@in_virtual_time
async def test_another_task_gets_the_place_of_an_idle_one() -> None:
    """Where places are short, a restartable idle task makes room."""
    diary = Diary()
    async with Scheduler(most_running=1) as scheduler:
        (idle,) = scheduler.submit(diary.task("idle", 4.0, idle=True, restartable=True))
        await asyncio.sleep(1)
        scheduler.submit(diary.task("other", 2.0))
        await idle
    assert diary.starts == [("idle", 0.0), ("other", 1.0), ("idle", 3.0)]


@in_virtual_time
async def test_a_task_that_is_being_cut_off_can_still_be_cancelled_or_complete() -> None:
    """Cancelling wins over beginning anew, and a result that comes all the same counts."""
    finished: list[int] = []

    async def finishes_anyway() -> int:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        finished.append(1)
        return 1

    async def cleans_up() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.5)
            finished.append(2)

    async with Scheduler(most_idle=2) as scheduler:
        kept, dropped = scheduler.submit(
            Task("kept", finishes_anyway, idle=True, restartable=True),
            Task("dropped", cleans_up, idle=True, restartable=True),
        )
        await asyncio.sleep(1)
        scheduler.preempt_idle()
        await asyncio.sleep(0.1)
        assert dropped.cancel()
        with pytest.raises(TaskCancelledError):
            await dropped
        assert await kept == 1
        scheduler.wake()
        await asyncio.sleep(1)
    assert sorted(finished) == [1, 2]


class SchedulerMachine(RuleBasedStateMachine):
    """Random submissions, cancellations, turns and moods; time passes between them."""

    @initialize(places=st.integers(1, 3))
    def open(self, places: int) -> None:
        """Open a scheduler that notes where an idle task starts at a wrong time."""
        machine = self
        self.faults: list[str] = []
        self.places = places
        self.calm, self.held = True, False
        self.handles: list[Handle[None]] = []
        self.running: list[str] = []
        self.completed: set[str] = set()
        self.metrics = Metrics()

        class Watched(Scheduler):
            def _start(self, entry: Entry) -> None:
                super()._start(entry)
                now = self.statistics()
                alone = now.running == now.running_idle <= 2 and not now.ready
                if entry.task.idle and (machine.held or not machine.calm or not alone):
                    machine.faults.append(f"{entry.name} started at a wrong time: {now}")

        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.scheduler = Watched(most_running=places, most_idle=2, idle=lambda: self.calm, metrics=self.metrics)
        self.runner.run(self.scheduler.__aenter__())

    def now(self, act: Callable[[], object]) -> None:
        """Do something on the loop."""

        async def do() -> None:
            act()

        self.runner.run(do())

    @rule(
        seconds=st.integers(0, 6), priority=st.integers(0, 2), idle=st.booleans(), fails=st.booleans(), data=st.data()
    )
    def submit(self, seconds: int, priority: int, *, idle: bool, fails: bool, data: st.DataObject) -> None:
        """Submit a task, perhaps after others."""
        name = str(len(self.handles))
        others = st.lists(st.sampled_from([handle.name for handle in self.handles] or [name]), max_size=2, unique=True)
        after = tuple(data.draw(others)) if self.handles else ()

        async def work() -> None:
            self.running.append(name)
            if len(self.running) > self.places or not self.completed.issuperset(after):
                self.faults.append(f"{name} started beside {self.running}, after {self.completed}")
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running.remove(name)
            if fails and seconds > 3:
                raise FaultError(name)
            self.completed.add(name)

        task = Task(name, work, priority, after, 5.0, idle=idle, restartable=idle)
        self.now(lambda: self.handles.extend(self.scheduler.submit(task)))

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel any task."""
        handle = data.draw(st.sampled_from(self.handles))
        self.now(handle.cancel)

    @rule()
    def begin_turn(self) -> None:
        """Somebody is served."""
        self.held = True
        self.now(self.scheduler.preempt_idle)

    @rule(calm=st.booleans())
    def wake(self, *, calm: bool) -> None:
        """The turn is over, or the pressure changed."""
        self.calm, self.held = calm, False
        self.now(self.scheduler.wake)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.runner.run(asyncio.sleep(seconds))

    @invariant()
    def nothing_went_wrong(self) -> None:
        """Bounds and order hold."""
        assert self.faults == []

    def teardown(self) -> None:
        """Once all is calm everything ends; in any case it does when the scheduler is left."""
        if not hasattr(self, "runner"):
            return
        with self.runner:
            if len(self.handles) % 2:
                self.wake(calm=True)
                self.wait(1000.0)
                assert all(handle.ended for handle in self.handles)
            self.runner.run(self.scheduler.__aexit__(None, None, None))
            assert self.faults == []
            assert self.running == []
            assert all(handle.ended for handle in self.handles)
            account = self.metrics.activity("scheduler", "task")
            assert (account.active, sum(account.ended.values())) == (0, len(self.handles))


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(derandomize=True, deadline=None, max_examples=150, stateful_step_count=30)


# --- repetition ---


@in_virtual_time
async def test_periodic_work_is_repeated_until_it_is_cancelled() -> None:
    """The interval counts from the end of the last run; a failure does not end the series."""
    starts: list[float] = []

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        if len(starts) == 2:
            raise FaultError("this time")

    async with Scheduler(chance=lambda: 0.5) as scheduler:
        tidy = scheduler.every("tidy", 10.0, work, first_s=3.0)
        await asyncio.sleep(36.5)
        assert starts == [3.0, 14.0, 25.0, 36.0]
        assert tidy.runs == 3
        assert tidy.last is not None
        assert tidy.last.outcome is Outcome.COMPLETED
        tidy.cancel()
        await asyncio.sleep(50)
        assert (tidy.name, tidy.runs, len(starts)) == ("tidy", 4, 4)
        scheduler.every("tidy", 10.0, work)


@in_virtual_time
async def test_jitter_moves_each_interval_by_its_share() -> None:
    """Half as long at the least, half as long again at the most."""
    starts: list[float] = []
    chances = iter([0.0, 1.0, 0.5, 0.5])

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())

    async with Scheduler(chance=lambda: next(chances)) as scheduler:
        scheduler.every("tidy", 10.0, work, jitter=0.5, idle=False)
        await asyncio.sleep(31)
        with pytest.raises(ValueError, match="jitter"):
            scheduler.every("bad", 10.0, work, jitter=1.0)
    assert starts == [5.0, 20.0, 30.0]


@in_virtual_time
async def test_periodic_work_needs_no_room_in_a_full_queue() -> None:
    """It keeps its place, however many wait."""
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    async with Scheduler(most_running=2, most_waiting=2) as scheduler:
        scheduler.every("tidy", 1.0, work, idle=False, jitter=0.0)
        scheduler.submit(Task("long", lasting(100)))
        scheduler.submit(Task("waits", lasting(1), delay_s=50.0))
        await asyncio.sleep(10.5)
    assert len(runs) == 10
