"""Pools: priorities, bounds, stopping, threads that come and go."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import JobTimeoutError, PoolBusyError, PoolClosedError
from edge_agent.runtime.ledger import CoreLedger, Rank
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.pool import Pool, Priority


@asynccontextmanager
async def open_pool(**settings: object) -> AsyncIterator[Pool]:
    """A pool that is closed afterwards, with no thread left."""
    pool = Pool("test", **settings)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        await pool.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-test")]


class Gate:
    """A call that tells when it runs and waits until it may end."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        """Wait for `open`; bounded."""
        self.entered.set()
        assert self._open.wait(10)
        return threading.current_thread().name

    def open(self) -> None:
        """Let it end."""
        self._open.set()

    async def running(self) -> None:
        """Wait until the call runs."""
        assert await asyncio.to_thread(self.entered.wait, 10)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition()` holds; bounded."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")


def count_to(end: int, log: list[str]) -> Generator[int, None, None]:
    """Yield 0 to `end`, and write down being closed and by whom."""
    try:
        yield from range(end)
    finally:
        log.append(threading.current_thread().name)


async def test_calls_run_in_order_on_one_named_thread() -> None:
    """Two calls share the thread and keep their order."""
    async with open_pool() as pool:
        done: list[int] = []

        def note(number: int) -> str:
            done.append(number)
            return threading.current_thread().name

        names = await asyncio.gather(*(pool.run(partial(note, number)) for number in range(5)))
    assert (set(names), done) == ({"edge-test-1"}, [0, 1, 2, 3, 4])


async def test_errors_reach_the_caller() -> None:
    """What a call raises is raised where it is awaited; StopIteration in a form that a coroutine can raise."""
    async with open_pool() as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await pool.run(lambda: next(iter(())))
        assert await pool.run(int) == 0


async def test_a_full_pool_refuses() -> None:
    """Beyond its depth waiting jobs are refused and counted, not queued; delayed ones fill it too."""
    async with open_pool(depth=2) as pool:
        gate = Gate()
        running = asyncio.create_task(pool.run(gate))
        await gate.running()
        waiting = [asyncio.create_task(pool.run(int)), asyncio.create_task(pool.run(int, delay_s=0.001))]
        await asyncio.sleep(0)
        with pytest.raises(PoolBusyError, match="'test' is full"):
            await pool.run(int, kind="extra")
        with pytest.raises(PoolBusyError):
            await anext(pool.steps(count_to(3, [])))
        gate.open()
        await asyncio.gather(running, *waiting)
        assert pool.metrics.activity("test", "extra").refused == 1


async def test_urgent_jobs_go_first() -> None:
    """High before normal before low, first come first served among equals."""
    async with open_pool() as pool:
        gate, order = Gate(), list[str]()
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(pool.run(gate))]
        await gate.running()
        for name, priority in [("l1", 2), ("n1", 1), ("h1", 0), ("l2", 2), ("n2", 1), ("h2", 0)]:
            tasks.append(asyncio.create_task(pool.run(partial(order.append, name), priority=Priority(priority))))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*tasks)
    assert order == ["h1", "h2", "n1", "n2", "l1", "l2"]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(list(Priority)), max_size=60))
def test_nobody_starves_and_equals_keep_their_order(priorities: list[Priority]) -> None:
    """However many urgent jobs there are, at most eight from above go before one that waits at the front."""

    async def go() -> list[tuple[Priority, int]]:
        order: list[tuple[Priority, int]] = []
        async with open_pool() as pool:
            gate = Gate()
            tasks: list[asyncio.Task[object]] = [asyncio.create_task(pool.run(gate))]
            await gate.running()
            for number, priority in enumerate(priorities):
                job = partial(order.append, (priority, number))
                tasks.append(asyncio.create_task(pool.run(job, priority=priority)))
            await asyncio.sleep(0)
            gate.open()
            await asyncio.gather(*tasks)
        return order

    order = asyncio.run(go())
    assert sorted(number for _, number in order) == list(range(len(priorities)))
    for priority in Priority:
        numbers = [number for p, number in order if p == priority]
        assert numbers == sorted(numbers)
        above = 0
        left = len(numbers)
        for p, _ in order:
            above = 0 if p == priority else above + (p < priority and left > 0)
            left -= p == priority
            assert above <= 9 or not left


async def test_delayed_jobs_wait_for_their_time() -> None:
    """A delayed job is queued when its time has come, and can be cancelled before."""
    async with open_pool() as pool:
        order: list[str] = []
        late = asyncio.create_task(pool.run(lambda: order.append("late"), delay_s=0.02))
        never = asyncio.create_task(pool.run(lambda: order.append("never"), delay_s=0.01))
        await asyncio.sleep(0)
        assert pool.statistics().delayed == 2
        never.cancel()
        await pool.run(lambda: order.append("now"))
        await late
    assert order == ["now", "late"]
    assert never.cancelled()


async def test_a_waiting_job_that_is_cancelled_never_runs() -> None:
    """It leaves the queue at once."""
    async with open_pool() as pool:
        gate, ran = Gate(), list[int]()
        first = asyncio.create_task(pool.run(gate))
        await gate.running()
        second = asyncio.create_task(pool.run(lambda: ran.append(1)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert sum(pool.statistics().queued.values()) == 0
        gate.open()
        await first
    assert ran == []


async def test_a_time_out_frees_the_caller_and_stops_the_call() -> None:
    """The caller gets its error at once, `stop` ends the call, and the thread serves the next job."""
    async with open_pool() as pool:
        gate = Gate()
        with pytest.raises(JobTimeoutError, match=r"test: slow took longer than 0\.02 s"):
            await pool.run(gate, kind="slow", timeout_s=0.02, stop=gate.open)
        assert await pool.run(lambda: threading.current_thread().name) == "edge-test-1"
        activity = pool.metrics.activity("test", "slow")
        assert (activity.ended[Outcome.TIMED_OUT], activity.active, activity.stop.count) == (1, 0, 1)


async def test_a_time_out_counts_waiting() -> None:
    """A job that waits for too long is taken out of the queue and never runs."""
    async with open_pool() as pool:
        gate, ran = Gate(), list[int]()
        first = asyncio.create_task(pool.run(gate))
        await gate.running()
        with pytest.raises(JobTimeoutError):
            await pool.run(lambda: ran.append(1), timeout_s=0.01)
        gate.open()
        await first
        await pool.run(int)
    assert ran == []


async def test_stop_never_hits_the_next_job() -> None:
    """`stop` is not called once the call has ended, however late the cancellation."""
    async with open_pool() as pool:
        stopped: list[int] = []
        for _ in range(50):
            task = asyncio.create_task(pool.run(int, stop=lambda: stopped.append(1)))
            await asyncio.sleep(0)
            await pool.run(int)
            task.cancel()
            await asyncio.wait({task})
    assert stopped == []


async def test_leaving_a_job_closes_it_on_the_pool() -> None:
    """A job that is not pulled to its end is closed on the pool's thread before the caller goes on."""
    async with open_pool() as pool:
        closed: list[str] = []
        async with aclosing(pool.steps(count_to(1000, closed))) as steps:
            async for number in steps:
                if number == 2:
                    break
        assert closed == ["edge-test-1"]


async def test_a_job_runs_only_as_far_ahead_as_it_may() -> None:
    """With two steps ahead the third waits until the first item is used up, and the thread serves others meanwhile."""
    async with open_pool() as pool:
        made: list[int] = []

        def job() -> Generator[int, None, None]:
            for number in range(6):
                made.append(number)
                yield number

        async with aclosing(pool.steps(job(), ahead=2)) as steps:
            assert await anext(steps) == 0
            await until(lambda: len(made) == 2)
            await pool.run(int)
            assert made == [0, 1]
            assert await anext(steps) == 1
            await until(lambda: len(made) == 3)
            assert [number async for number in steps] == [2, 3, 4, 5]


async def test_cancelling_stops_a_job_between_two_steps() -> None:
    """The running step finishes, no further one starts, and the job is closed when the cancelled task is done."""
    async with open_pool() as pool:
        gate, steps_run, closed = Gate(), list[int](), list[str]()

        def job() -> Generator[int, None, None]:
            try:
                for number in range(1000):
                    gate()
                    steps_run.append(number)
                    yield number
            finally:
                closed.append("closed")

        async def pull() -> None:
            async with aclosing(pool.steps(job(), ahead=100)) as steps:
                async for _ in steps:
                    pass

        task = asyncio.create_task(pull())
        await gate.running()
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (steps_run, closed) == ([0], ["closed"])


async def test_cancelling_interrupts_a_step_that_can_be() -> None:
    """`stop` makes the running step end; the task ends cancelled when the job is closed."""
    async with open_pool() as pool:
        gate, closed = Gate(), list[str]()

        def job() -> Generator[int, None, None]:
            try:
                gate()
                yield 1
            finally:
                closed.append("closed")

        async def pull() -> None:
            async for _ in pool.steps(job(), stop=gate.open):
                pass

        task = asyncio.create_task(pull())
        await gate.running()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert closed == ["closed"]


async def test_a_cancellation_is_put_off_and_never_lost() -> None:
    """It comes while a left job is being closed: the task waits for that, and ends cancelled."""
    async with open_pool() as pool:
        gate, went_on = Gate(), list[bool]()

        def job() -> Generator[int, None, None]:
            try:
                yield 1
                yield 2
            finally:
                gate()

        async def leave() -> None:
            async with aclosing(pool.steps(job())) as steps:
                await anext(steps)
            went_on.append(True)

        task = asyncio.create_task(leave())
        await gate.running()
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        gate.open()
        await asyncio.wait({task})
        assert task.cancelled()
        assert went_on == []


async def test_a_job_that_takes_too_long_is_stopped() -> None:
    """Time counts from beginning to end; the caller is free at once, and the generator is closed behind it."""
    async with open_pool() as pool:
        closed: list[str] = []
        with pytest.raises(JobTimeoutError, match=r"took longer than 0\.05 s"):
            async for _ in pool.steps(count_to(10**9, closed), timeout_s=0.05, ahead=10):
                pass
        await pool.run(int)
        assert closed == ["edge-test-1"]


async def test_a_job_that_rests_can_time_out() -> None:
    """Nobody takes its items: it is closed all the same, and who comes back is told."""
    async with open_pool() as pool:
        closed: list[str] = []
        steps = pool.steps(count_to(10, closed), timeout_s=0.02)
        assert await anext(steps) == 0
        await until(lambda: closed)
        with pytest.raises(JobTimeoutError):
            await anext(steps)


async def test_a_job_never_started_is_closed_unrun() -> None:
    """Cancelled while it waits: not one step was run, and nothing of it stays in the queue."""
    async with open_pool() as pool:
        gate, closed = Gate(), list[str]()
        first = asyncio.create_task(pool.run(gate))
        await gate.running()

        async def pull() -> None:
            async for _ in pool.steps(count_to(3, closed)):
                pass

        task = asyncio.create_task(pull())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        await asyncio.wait({task, first})
        assert task.cancelled()
        assert closed == []


async def test_a_jobs_error_comes_after_its_items() -> None:
    """What was produced before it is delivered."""

    def job() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise ZeroDivisionError

    async with open_pool() as pool:
        steps = pool.steps(job(), ahead=5)
        assert [await anext(steps), await anext(steps)] == [1, 2]
        with pytest.raises(ZeroDivisionError):
            await anext(steps)
        assert pool.metrics.activity("test", "job").ended[Outcome.FAILED] == 1


async def test_a_job_makes_way_for_a_more_urgent_one() -> None:
    """Between two steps the thread goes to the urgent call; then the job goes on where it was."""
    async with open_pool() as pool:
        order: list[object] = []
        entered = threading.Event()
        urgent = threading.Event()

        def job() -> Generator[int, None, None]:
            for number in range(3):
                order.append(number)
                if number == 0:
                    entered.set()
                    assert urgent.wait(10)
                yield number

        async def pull() -> list[int]:
            return [number async for number in pool.steps(job(), ahead=10, priority=Priority.LOW)]

        pulling = asyncio.create_task(pull())
        assert await asyncio.to_thread(entered.wait, 10)
        calling = asyncio.create_task(pool.run(lambda: order.append("urgent"), priority=Priority.HIGH))
        await asyncio.sleep(0)
        urgent.set()
        await calling
        assert await pulling == [0, 1, 2]
    assert order == [0, "urgent", 1, 2]


async def test_threads_come_with_the_work_and_go_without() -> None:
    """As many as jobs wait, up to the most; after a while without work down to the least."""
    async with open_pool(least_workers=1, most_workers=3, idle_s=0.02) as pool:
        gates = [Gate() for _ in range(5)]
        tasks = [asyncio.create_task(pool.run(gate)) for gate in gates]
        for gate in gates[:3]:
            await gate.running()
        assert (pool.statistics().workers, pool.statistics().busy) == (3, 3)
        assert sum(pool.statistics().queued.values()) == 2
        for gate in gates:
            gate.open()
        assert len(set(await asyncio.gather(*tasks))) <= 3
        await until(lambda: pool.statistics().workers == 1)


async def test_a_thread_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller times out, the pool goes on with another thread, and the old one ends when it comes back."""
    monkeypatch.setattr("edge_agent.runtime.jobs._GRACE_S", 0.01)
    async with open_pool() as pool:
        gate = Gate()
        with pytest.raises(JobTimeoutError):
            await pool.run(gate, kind="hangs", timeout_s=0.01)
        await until(lambda: pool.statistics().stuck)
        assert await pool.run(lambda: threading.current_thread().name) == "edge-test-2"
        gate.open()
        await until(lambda: pool.statistics().workers == 1)
        assert pool.statistics().stuck == 0


async def test_too_many_hanging_threads_refuse_further_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replacing has a bound: threads must not grow without end."""
    monkeypatch.setattr("edge_agent.runtime.jobs._GRACE_S", 0.001)
    async with open_pool() as pool:
        gates = [Gate() for _ in range(4)]
        for number, gate in enumerate(gates, 1):
            with pytest.raises(JobTimeoutError):
                await pool.run(gate, timeout_s=0.05)
            await until(lambda n=number: pool.statistics().stuck == n)  # type: ignore[misc]
        with pytest.raises(PoolBusyError):
            await pool.run(int)
        for gate in gates:
            gate.open()
        await until(lambda: pool.statistics().stuck == 0)
        assert await pool.run(int) == 0


async def test_closing_drops_what_waits_and_stops_what_runs() -> None:
    """Callers are told, the generator is closed, and no thread is left."""
    pool = Pool("test")
    gate, closed = Gate(), list[str]()

    async def pull() -> None:
        async for _ in pool.steps(count_to(10**9, closed), ahead=10):
            pass

    running = asyncio.create_task(pull())
    await until(lambda: pool.statistics().busy)
    waiting = asyncio.create_task(pool.run(gate, priority=Priority.LOW, kind="waiting"))
    resting = pool.steps(count_to(3, closed))
    await asyncio.sleep(0)
    await pool.close()
    for task in (running, waiting):
        with pytest.raises(PoolClosedError):
            await task
    assert not gate.entered.is_set()
    assert len(closed) == 1
    with pytest.raises(RuntimeError, match="is closed"):
        await anext(resting)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-test")]


async def test_closing_leaves_a_hanging_thread_behind(caplog: pytest.LogCaptureFixture) -> None:
    """It is named in the log, and closing takes no longer than its patience."""
    pool = Pool("test")
    gate = Gate()
    task = asyncio.create_task(pool.run(gate, kind="hangs"))
    await gate.running()
    await pool.close(patience_s=0.02)
    assert "hangs is left behind" in caplog.text
    gate.open()
    assert await task == "edge-test-1"
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("edge-test")])


async def test_claims_are_held_while_a_job_runs_and_not_while_it_rests() -> None:
    """The ledger sees exactly the slices."""
    ledger = CoreLedger(2)
    claim = ledger.claim("engine", Rank.REASONING, 2)
    async with open_pool() as pool:
        held: list[int] = []

        def job() -> Generator[int, None, None]:
            for _ in range(3):
                held.append(claim.threads)
                yield claim.threads

        steps = pool.steps(job(), claim=claim)
        assert await anext(steps) == 2
        await until(lambda: claim.threads == 0)
        assert [threads async for threads in steps] == [2, 2]
        assert await pool.run(lambda: claim.threads, claim=claim) == 2
    assert ledger.statistics().held == 0


async def test_a_job_that_waits_for_its_claim_can_be_cancelled() -> None:
    """The core is never granted; the thread is free again at once."""
    ledger = CoreLedger(1)
    other, claim = ledger.claim("other", Rank.HEARING, 1), ledger.claim("engine", Rank.REASONING, 1)
    assert other.open(lambda: False)
    async with open_pool() as pool:
        ran: list[int] = []
        task = asyncio.create_task(pool.run(lambda: ran.append(1), claim=claim))
        await until(lambda: ledger.statistics().waiting)
        task.cancel()
        await asyncio.wait({task})
        assert await pool.run(int) == 0
        assert ran == []
    other.close()
    assert ledger.statistics().held == 0


async def test_niceness_and_cores_are_the_threads_own() -> None:
    """The pool's threads are nicer and bound; the process is not."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    core = min(os.sched_getaffinity(0))

    def look() -> tuple[int, set[int]]:
        thread = threading.get_native_id()
        return os.getpriority(os.PRIO_PROCESS, thread), os.sched_getaffinity(thread)

    async with open_pool(niceness=3, affinity=[core]) as pool:
        assert await pool.run(look) == (min(19, before + 3), {core})
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_statistics_tell_what_runs() -> None:
    """Busy threads with their job, and the account of waiting and running."""
    metrics = Metrics()
    async with open_pool(metrics=metrics) as pool:
        gate = Gate()
        task = asyncio.create_task(pool.run(gate, kind="load"))
        await gate.running()
        (thread,) = pool.statistics().threads
        assert (thread.name, thread.job, thread.is_stuck) == ("edge-test-1", "load", False)
        gate.open()
        await task
        await until(lambda: pool.statistics().busy == 0)
        activity = metrics.activity("test", "load")
        assert activity.ended[Outcome.COMPLETED] == 1
        assert activity.run.percentile(0.5) is not None
        assert pool.statistics().threads[0].jobs == 1


async def test_a_resting_job_is_closed_while_its_claim_is_held_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the thread, closes without the claim, and nobody is taken for stuck because of it."""
    monkeypatch.setattr("edge_agent.runtime.jobs._GRACE_S", 0.005)
    claim = CoreLedger(1).claim("engine", Rank.REASONING, 1)
    async with open_pool() as pool:
        gate, closed = Gate(), list[str]()
        resting = pool.steps(count_to(9, closed), claim=claim)
        assert await anext(resting) == 0
        busy = asyncio.create_task(pool.run(gate, claim=claim))
        await gate.running()
        leaving = asyncio.create_task(resting.aclose())
        await asyncio.sleep(0.03)
        assert pool.statistics().stuck == 0
        gate.open()
        await asyncio.gather(busy, leaving)
        assert closed == ["edge-test-1"]


async def test_a_pool_whose_engine_serves_one_never_replaces_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits behind a job that hangs waits for it, and is served when it comes back."""
    monkeypatch.setattr("edge_agent.runtime.jobs._GRACE_S", 0.005)
    async with open_pool(replaces_stuck=False) as pool:
        gate = Gate()
        with pytest.raises(JobTimeoutError):
            await pool.run(gate, timeout_s=0.01)
        waiting = asyncio.create_task(pool.run(lambda: threading.current_thread().name))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        gate.open()
        assert await waiting == "edge-test-1"


async def test_a_thread_that_cannot_be_started_costs_no_later_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no thread to give: the job waits, and runs with the next one that comes."""
    start = threading.Thread.start
    refusals = [1]

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("edge-test") and refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    async with open_pool() as pool:
        first = asyncio.create_task(pool.run(lambda: 1))
        await asyncio.sleep(0)
        assert await pool.run(lambda: 2) == 2
        assert await first == 1


async def test_a_job_that_never_ran_counts_no_run_time() -> None:
    """Else cancelled jobs would make the pool look fast."""
    async with open_pool() as pool:
        gate = Gate()
        first = asyncio.create_task(pool.run(gate))
        await gate.running()
        second = asyncio.create_task(pool.run(int, kind="second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        gate.open()
        await first
        activity = pool.metrics.activity("test", "second")
        assert (activity.ended[Outcome.CANCELLED], activity.wait.count, activity.run.count) == (1, 1, 0)
