"""Lanes: order, stopping between steps, bounded depth, nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterator
from contextlib import aclosing

import pytest

from edge_agent.errors import BusyError
from edge_agent.runtime.lane import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    """A lane that is closed afterwards, with no thread left."""
    lane = Lane("test", depth=2)
    yield lane
    lane.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-test")]


async def test_calls_run_in_order_on_one_named_thread(lane: Lane) -> None:
    """Two calls share the lane's thread and keep their order."""
    names = await asyncio.gather(*(lane.run(lambda: threading.current_thread().name) for _ in range(2)))
    assert set(names) == {"edge-test_0"}


async def test_errors_reach_the_caller(lane: Lane) -> None:
    """What a call raises is raised where it is awaited."""
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)


async def test_a_full_lane_refuses(lane: Lane) -> None:
    """Beyond its depth, waiting calls are refused, not queued."""
    gate = threading.Event()
    waiting = [asyncio.create_task(lane.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="full"):
        await lane.run(int)
    gate.set()
    await asyncio.gather(*waiting)
    assert await lane.run(int) == 0


async def test_leaving_a_job_closes_it_on_the_lane(lane: Lane) -> None:
    """A job that is not pulled to its end is closed, on its own thread, before the caller goes on."""
    closed_on: list[str] = []

    def job() -> Generator[int, None, None]:
        try:
            yield from range(1000)
        finally:
            closed_on.append(threading.current_thread().name)

    async with aclosing(lane.steps(job())) as steps:
        async for number in steps:
            if number == 2:
                break
    assert closed_on == ["edge-test_0"]


async def test_cancelling_stops_a_job_between_two_steps(lane: Lane) -> None:
    """The running step finishes, no further one starts, and the job is closed when the cancelled task is done."""
    in_step, go_on = threading.Event(), threading.Event()
    steps_run: list[int] = []
    closed: list[bool] = []

    def job() -> Generator[int, None, None]:
        try:
            for number in range(1000):
                in_step.set()
                assert go_on.wait(10)
                steps_run.append(number)
                yield number
        finally:
            closed.append(True)

    async def pull() -> None:
        async with aclosing(lane.steps(job())) as steps:
            async for _ in steps:
                pass

    task = asyncio.create_task(pull())
    assert await asyncio.to_thread(in_step.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps_run == [0]
    assert closed == [True]


async def test_cancelling_while_a_finished_job_is_closed_is_not_lost(lane: Lane) -> None:
    """The job had its last step and is not closed yet when the task is cancelled: it ends cancelled all the same."""
    loop = asyncio.get_running_loop()
    blocked, go_on = threading.Event(), threading.Event()
    went_on: list[bool] = []

    def block() -> None:
        blocked.set()
        assert go_on.wait(10)

    def job() -> Generator[int, None, None]:
        yield 1
        # Queued before the loop hears of this last step, so that closing waits behind it.
        loop.call_soon_threadsafe(lambda: waiting.append(asyncio.create_task(lane.run(block))))

    async def pull() -> None:
        async with aclosing(lane.steps(job())) as steps:
            async for _ in steps:
                pass
        went_on.append(True)

    waiting: list[asyncio.Task[None]] = []
    task = asyncio.create_task(pull())
    assert await asyncio.to_thread(blocked.wait, 10)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on == []
    await asyncio.gather(*waiting)
