"""Resource limits: the bound, the order, time, cancellation."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import in_virtual_time

from edge_agent.errors import LimitBusyError
from edge_agent.runtime.limits import LimitStatistics, ResourceLimits
from edge_agent.runtime.metrics import Metrics, Outcome


@in_virtual_time
async def test_permits_are_given_in_the_order_of_asking() -> None:
    """Nobody overtakes, not even one who asks in the very moment that a permit comes free."""
    limits = ResourceLimits({"llm": 1})
    order: list[int] = []

    async def use(number: int) -> None:
        async with limits.hold("llm"):
            order.append(number)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        async with limits.hold("llm"):
            for number in range(5):
                group.create_task(use(number))
            await asyncio.sleep(1)
            assert limits.statistics() == (LimitStatistics("llm", 1, 1, 5, 1, 0, 0),)
        async with limits.hold("llm"):
            order.append(99)
    assert order == [0, 1, 2, 3, 4, 99]
    assert limits.statistics() == (LimitStatistics("llm", 1, 0, 0, 1, 0, 0),)


@in_virtual_time
async def test_waiting_has_a_bound_in_time_and_in_number() -> None:
    """Each refusal says what was not free, and is counted as what it is."""
    metrics = Metrics()
    limits = ResourceLimits({"asr": 2}, most_waiting=1, metrics=metrics)
    async with limits.hold("asr"), limits.hold("asr"), asyncio.TaskGroup() as group:
        with pytest.raises(LimitBusyError, match=r"asr: all 2 are in use, and none came free within 0 s"):
            async with limits.hold("asr", timeout_s=0):
                raise AssertionError

        async def wait() -> None:
            with pytest.raises(LimitBusyError, match="within 3 s"):
                async with limits.hold("asr", timeout_s=3):
                    raise AssertionError

        group.create_task(wait())
        await asyncio.sleep(1)
        with pytest.raises(LimitBusyError) as caught:
            async with limits.hold("asr"):
                raise AssertionError
        assert caught.value.waited_s == 0.0
        await asyncio.sleep(5)
    (statistics,) = limits.statistics()
    assert (statistics.in_use, statistics.refused, statistics.timed_out) == (0, 2, 1)
    account = metrics.activity("limits", "asr")
    assert (account.active, account.ended[Outcome.COMPLETED], account.busy_s) == (0, 2, 12.0)


@in_virtual_time
async def test_an_error_inside_gives_the_permit_back() -> None:
    """The next one gets it."""
    limits = ResourceLimits({"tts": 1})
    with pytest.raises(ZeroDivisionError):
        async with limits.hold("tts"):
            raise ZeroDivisionError
    async with limits.hold("tts", timeout_s=0):
        pass


def test_unknown_resources_and_senseless_limits_are_refused() -> None:
    """The message names what there is."""
    with pytest.raises(ValueError, match=r"no limit is kept for resource 'lmm'; there are: asr, llm"):
        ResourceLimits({"llm": 1, "asr": 2}).hold("lmm")
    with pytest.raises(ValueError, match="'llm' needs a limit of at least 1"):
        ResourceLimits({"llm": 0})


@in_virtual_time
async def test_a_permit_promised_to_a_cancelled_waiter_goes_to_the_next_one() -> None:
    """The cancellation comes after the permit was handed over and before its owner ran."""
    limits = ResourceLimits({"llm": 1})
    got: list[str] = []

    async def use(name: str) -> None:
        async with limits.hold("llm"):
            got.append(name)

    async with limits.hold("llm"):
        first, second = asyncio.create_task(use("first")), asyncio.create_task(use("second"))
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first, second))
    assert (got, first.cancelled(), second.cancelled()) == (["second"], True, False)


users = st.lists(
    st.tuples(
        st.integers(0, 6),  # asks at
        st.integers(0, 3),  # holds for
        st.none() | st.integers(0, 4),  # waits at most
        st.none() | st.integers(0, 8),  # is cancelled at
        st.integers(0, 3),  # and so many rounds of the loop later
    ),
    max_size=12,
)


@given(users, st.integers(1, 3))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_permits_never_exceed_the_limit_and_all_come_back(
    users: list[tuple[int, int, int | None, int | None, int]], limit: int
) -> None:
    """Whoever asks, waits, gives up or is cancelled, at whatever moment: in the end all permits are free."""

    @in_virtual_time
    async def run() -> None:
        limits = ResourceLimits({"llm": limit})
        holding = 0

        async def use(at_s: int, holds_s: int, timeout_s: int | None) -> None:
            nonlocal holding
            await asyncio.sleep(at_s)
            try:
                async with limits.hold("llm", timeout_s=timeout_s):
                    holding += 1
                    assert holding <= limit
                    try:
                        await asyncio.sleep(holds_s)
                    finally:
                        holding -= 1
            except LimitBusyError:
                assert timeout_s is not None

        async def cancel(task: asyncio.Task[None], at_s: int, rounds: int) -> None:
            await asyncio.sleep(at_s)
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()

        tasks: list[asyncio.Task[None]] = []
        for at_s, holds_s, timeout_s, cancelled_s, rounds in users:
            task = asyncio.create_task(use(at_s, holds_s, timeout_s))
            tasks.append(task)
            if cancelled_s is not None:
                tasks.append(asyncio.create_task(cancel(task, cancelled_s, rounds)))
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=1000)
            assert len(done) == len(tasks), "somebody waits for ever"
            assert all(task.cancelled() or task.exception() is None for task in done)
        (statistics,) = limits.statistics()
        assert (statistics.in_use, statistics.waiting) == (0, 0)
        assert statistics.peak <= limit
        async with AsyncExitStack() as stack:
            for _ in range(limit):
                await stack.enter_async_context(limits.hold("llm", timeout_s=0))
            with pytest.raises(LimitBusyError):
                await stack.enter_async_context(limits.hold("llm", timeout_s=0))

    run()
