"""A loop whose clock jumps to the next timer, so that hours of waiting take no time and come out exact."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at second 0. Instead of waiting for its next timer it sets its clock to it.

    Where neither a timer nor a file is there to wait for, it waits for a thread, and fails after a while.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual seconds that have passed."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._now_s += seconds


class _JumpingSelector(selectors.DefaultSelector):
    _PATIENCE_S = 10.0

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            events = super().select(self._PATIENCE_S)
            if not events:
                raise RuntimeError("everything waits, and nothing will ever happen")
            return events
        events = super().select(0)
        if not events:
            self._loop.jump(max(timeout, 0.0))
        return events


def in_virtual_time(test: Callable[P, Coroutine[object, object, T]]) -> Callable[P, T]:
    """Run an async test on a loop of virtual time, and fail it where it leaves a task behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            result = runner.run(test(*args, **kwargs))
            left = asyncio.all_tasks(runner.get_loop())
            assert not left, f"left behind: {left}"
            return result

    return run
