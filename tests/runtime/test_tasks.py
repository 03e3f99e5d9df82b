"""Tracked tasks and supervised stages, on virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from virtual_time import in_virtual_time

from edge_agent.errors import DeviceError
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.tasks import Supervisor, TrackedTasks, surely


async def test_tasks_are_counted_by_name() -> None:
    """Numbers are left out, so that turns are one kind; each outcome is counted."""
    metrics = Metrics()

    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with TrackedTasks(metrics) as tasks:
        tasks.create_task(work(0), name="turn.1.speak")
        tasks.create_task(work(0), name="turn.22.speak")
        endless = tasks.create_task(work(100), name="turn.3.speak")
        await asyncio.sleep(0)
        endless.cancel()
    activity = metrics.activity("tasks", "turn.speak")
    assert activity.ended == {
        Outcome.COMPLETED: 2,
        Outcome.FAILED: 0,
        Outcome.TIMED_OUT: 0,
        Outcome.CANCELLED: 1,
    }
    assert (activity.active, activity.peak) == (0, 3)


async def test_a_task_needs_a_name() -> None:
    """An anonymous task can't be told apart when it hangs."""
    async with TrackedTasks(Metrics()) as tasks:
        with pytest.raises(ValueError, match="needs a name"):
            tasks.create_task(asyncio.sleep(0))


def test_a_stage_that_fails_is_started_again() -> None:
    """With a growing pause, each failure reported; the neighbour runs on."""
    reports: list[str] = []
    starts: list[float] = []
    ticks: list[float] = []

    async def failing() -> None:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        raise DeviceError("microphone", "is gone")

    async def ticking() -> None:
        while True:
            ticks.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    @in_virtual_time
    async def go() -> None:
        async with Supervisor(Metrics(), reports.append, first_s=1, longest_s=8) as stages:
            stages.keep("hear.capture", failing)
            stages.keep("ticker", ticking)
            await asyncio.sleep(24)
            assert stages.restarts == {"hear.capture": 6, "ticker": 0}

    go()
    assert [round(b - a) for a, b in itertools.pairwise(starts)] == [1, 2, 4, 8, 8]
    assert reports[0] == "stage hear.capture failed (microphone: is gone); starting it again in 1 s"
    assert len(ticks) >= 24


def test_a_stage_that_ran_long_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """After a good while the pause is short again; a defect's traceback is in the log."""
    starts: list[float] = []

    async def failing_late() -> None:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(20)
        raise ZeroDivisionError

    @in_virtual_time
    async def go() -> None:
        async with Supervisor(Metrics(), lambda _line: None, first_s=1, longest_s=8) as stages:
            stages.keep("late", failing_late)
            await asyncio.sleep(62)

    go()
    assert [round(b - a) for a, b in itertools.pairwise(starts)] == [21, 21]
    assert "Traceback" in caplog.text


def test_leaving_ends_all_stages() -> None:
    """Each is cancelled and waited for, also one that is just pausing."""
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(10**9)
        finally:
            await asyncio.sleep(1)
            ended.append("endless")

    async def failing() -> None:
        raise DeviceError("x", "y")

    @in_virtual_time
    async def go() -> None:
        async with Supervisor(Metrics(), lambda _line: None) as stages:
            stages.keep("endless", endless)
            stages.keep("failing", failing)
            await asyncio.sleep(0.5)

    go()
    assert ended == ["endless"]


def test_a_stage_that_returns_is_over() -> None:
    """It is not started again."""
    starts: list[int] = []

    async def once() -> None:
        starts.append(1)

    @in_virtual_time
    async def go() -> None:
        async with Supervisor(Metrics(), lambda _line: None) as stages:
            stages.keep("once", once)
            await asyncio.sleep(100)

    go()
    assert starts == [1]


async def test_a_stage_can_be_ended_and_kept_anew() -> None:
    """Only that one is cancelled, it is waited for, and its failures are counted from the beginning."""
    began: list[str] = []
    ended: list[str] = []

    async def work(name: str) -> None:
        began.append(name)
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async with Supervisor(Metrics(), began.append) as supervisor:
        supervisor.keep("a", lambda: work("first"))
        supervisor.keep("b", lambda: work("other"))
        await asyncio.sleep(0.01)
        await supervisor.end("a")
        assert ended == ["first"]
        await supervisor.end("a")
        await supervisor.end("c")
        supervisor.keep("a", lambda: work("second"))
        await asyncio.sleep(0.01)
        assert began == ["first", "other", "second"]
        assert supervisor.restarts == {"a": 0, "b": 0}
    assert sorted(ended) == ["first", "other", "second"]


async def test_what_is_done_surely_is_done_and_the_cancellation_told_then(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is cancelled; where the work fails as well, that is logged, and nobody goes on."""
    may_end, ended = asyncio.Event(), []

    async def work(error: Exception | None) -> None:
        await may_end.wait()
        ended.append(error)
        if error is not None:
            raise error

    errors = (None, DeviceError("card", "is full"), ZeroDivisionError("defect"))
    doing = [asyncio.create_task(surely(work(error), "work")) for error in errors]
    for _ in range(3):
        await asyncio.sleep(0)
        for task in doing:
            task.cancel()
    await asyncio.sleep(0)
    assert not any(task.done() for task in doing)
    may_end.set()
    await asyncio.wait(doing)
    assert ended == list(errors)
    assert all(task.cancelled() for task in doing)
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [
        ("work failed while it was ended: card: is full", False),
        ("work failed while it was ended", True),
    ]
