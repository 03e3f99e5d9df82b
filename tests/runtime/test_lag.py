"""The loop-lag monitor, on virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from edge_agent.runtime.lag import LoopLag


class LateSleep:
    """A clock, and a sleep on it that wakes as late as it is told; then it sleeps for ever."""

    def __init__(self, late_s: Sequence[float]) -> None:
        self.now_s = 100.0
        self._late_s = list(late_s)
        self.used_up = asyncio.Event()

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and something more."""
        if not self._late_s:
            self.used_up.set()
            await asyncio.Event().wait()
        self.now_s += seconds + self._late_s.pop(0)
        await asyncio.sleep(0)


async def watch(late_s: Sequence[float]) -> tuple[LoopLag, LateSleep, asyncio.Task[None]]:
    """Let a monitor see wakings that are so late; the task still watches."""
    late = LateSleep(late_s)
    lag = LoopLag(0.1, clock=late, sleep=late.sleep)
    task: asyncio.Task[None] = asyncio.create_task(lag.watch_loop())
    await late.used_up.wait()
    return lag, late, task


async def end(task: asyncio.Task[None]) -> None:
    """End the watching."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_lateness_is_measured() -> None:
    """Each waking's, and the p99 of them."""
    lag, _, task = await watch([*[0.001] * 98, 0.05, 0.2])
    assert lag.latest_s == pytest.approx(0.2)
    assert lag.p99_s == pytest.approx(0.05, rel=0.1)
    await end(task)


async def test_an_early_waking_is_not_late() -> None:
    """Timers of a coarse clock may fire a little too soon."""
    lag, _, task = await watch([-0.0004])
    assert lag.latest_s == 0.0
    await end(task)


async def test_who_looks_while_the_loop_hangs_sees_it() -> None:
    """The waking that is overdue counts before it comes."""
    lag, late, task = await watch([0.0])
    late.now_s += 0.1 + 0.75
    assert lag.latest_s == pytest.approx(0.75)
    await end(task)
    assert lag.latest_s == pytest.approx(0.0, abs=1e-9)


async def test_nothing_is_known_before_the_first_waking() -> None:
    """And nothing is late."""
    lag = LoopLag(clock=lambda: 0.0)
    assert (lag.latest_s, lag.p99_s) == (0.0, None)


async def test_a_callback_that_blocks_shows() -> None:
    """On a real loop, briefly."""
    lag = LoopLag(0.001)
    task: asyncio.Task[None] = asyncio.create_task(lag.watch_loop())
    await asyncio.sleep(0)
    until_s = time.monotonic() + 0.02
    while time.monotonic() < until_s:
        pass
    await asyncio.sleep(0.002)
    worst_s = lag.p99_s
    await end(task)
    assert worst_s is not None
    assert worst_s >= 0.015
