"""Starts the one event loop: uvloop where it is installed, and errors as they were raised."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

T = TypeVar("T")

_TWICE_S = 1.0
"""`timeout` sends the signal twice, which is once."""


def run(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end on a new loop.

    Where the process has a handler for SIGTERM, the signal first does what Ctrl-C does here: it cancels `main` alone,
    which may still finish what it must (a handler that raises would end all tasks at once). Then the handler is called.
    Sent again, the signal ends the process at once.

    An exception group is raised as the `single_error` in it, where there is one: callers see what a stage raised, not
    in which task it was.
    """
    try:
        import uvloop
    except ImportError:  # a small install: asyncio's own loop serves
        factory = None
    else:
        factory = uvloop.new_event_loop
    terminable = _Terminable()
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(terminable.run(main))
    except asyncio.CancelledError:
        terminable.leave()
        raise
    except BaseExceptionGroup as group:
        if (single := single_error(group)) is not None:
            raise single from group
        raise


class _Terminable:
    """Has SIGTERM cancel a coroutine, and then call the handler that it had before."""

    def __init__(self) -> None:
        self._leave: Callable[[int, FrameType | None], object] | None = None
        self._asked_at: float | None = None

    async def run(self, main: Coroutine[object, object, T]) -> T:
        """Run `main`, which the signal cancels."""
        before = signal.getsignal(signal.SIGTERM)
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            return await main
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is a task's; tells mypy

        def on_signal() -> None:
            if self._asked_at is None:
                self._asked_at = loop.time()
                task.cancel()
            elif loop.time() - self._asked_at > _TWICE_S:
                loop.remove_signal_handler(signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

        self._leave = before
        loop.add_signal_handler(signal.SIGTERM, on_signal)
        try:
            return await main
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)

    def leave(self) -> None:
        """Call the handler, where the signal came."""
        if self._asked_at is not None and self._leave is not None:
            self._leave(signal.SIGTERM, None)


def single_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the one error inside, however deeply nested.

    Of several that were all raised on purpose, or are the same, it is the first; else None.
    """
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    leaves.reverse()
    expected = all(isinstance(leaf, EdgeAgentError) for leaf in leaves)
    same = len({(type(leaf), str(leaf)) for leaf in leaves}) == 1
    return leaves[0] if expected or same else None
