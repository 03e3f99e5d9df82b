"""Named, tracked tasks, and stages that are kept running."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any, Self, TypeVar

from edge_agent.errors import EdgeAgentError
from edge_agent.runtime.fields import log_fields
from edge_agent.runtime.metrics import Metrics, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context
    from types import TracebackType

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NUMBER = re.compile(r"\.?\d+")
_PLACE = "tasks"


class TrackedTasks(asyncio.TaskGroup):
    """A task group whose tasks have names and are counted by them, numbers left out: `turn.1.speak` is `turn.speak`."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start `coro` as a task of the group.

        Raises:
            ValueError: It has no name.
        """
        if name is None:
            coro.close()
            raise ValueError("a task needs a name")
        return track(super().create_task(coro, name=name, context=context), self._metrics)


def track(task: asyncio.Task[T], metrics: Metrics) -> asyncio.Task[T]:
    """Count a task under its name, from now to its end."""
    activity = metrics.activity(_PLACE, _NUMBER.sub("", task.get_name()))
    activity.begin()
    began_s = metrics.clock()

    def ended(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            outcome = Outcome.CANCELLED
        else:
            outcome = Outcome.COMPLETED if task.exception() is None else Outcome.FAILED
        activity.end(outcome, 0.0, metrics.clock() - began_s)

    task.add_done_callback(ended)
    return task


class Supervisor:
    """Keeps stages running: one that fails is reported and started again, the others don't notice.

    An async context manager: leaving cancels all stages and waits for them. A stage that returns is over. One that
    fails is started again after `first_s`, then twice that, up to `longest_s`; when it has run for longer than
    `longest_s`, the next pause is `first_s` again.

    Args:
        metrics: Counts the stages' runs.
        report: Is told of each failure in one line.
    """

    def __init__(
        self, metrics: Metrics, report: Callable[[str], None], *, first_s: float = 1.0, longest_s: float = 30.0
    ) -> None:
        self._tasks = TrackedTasks(metrics)
        self._metrics = metrics
        self._report = report
        self._first_s, self._longest_s = first_s, longest_s
        self._stages: dict[str, asyncio.Task[None]] = {}
        self.restarts: dict[str, int] = {}
        """How often each stage was started again."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stage in self._stages.values():
            stage.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work()` as stage `name` until it returns. A stage of that name must have ended."""
        self.restarts[name] = 0
        with log_fields(EDGE_STAGE=name, EDGE_TURN=None):
            self._stages[name] = self._tasks.create_task(self._keep(name, work), name=f"keep.{name}")

    async def end(self, name: str) -> None:
        """End a stage, and wait for it; it may then be kept anew, with other work. Nothing happens where none runs."""
        if (stage := self._stages.pop(name, None)) is not None:
            stage.cancel()
            await asyncio.wait({stage})

    async def _keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._first_s
        while True:
            began_s = loop.time()
            error = await run_isolated(work(), name, self._metrics)
            if error is None:
                return
            if loop.time() - began_s > self._longest_s:
                pause_s = self._first_s
            self.restarts[name] += 1
            message = f"stage {name} failed ({_brief(error)}); starting it again in {pause_s:g} s"
            # What was raised on purpose says all in its message; anything else is a defect, whose place is wanted.
            _log.error("%s", message, exc_info=None if isinstance(error, EdgeAgentError) else error)
            self._report(message)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._longest_s)


async def run_isolated(work: Coroutine[Any, Any, None], name: str, metrics: Metrics) -> Exception | None:
    """Run `work` as a task of its own and return the error that it ended with, which is then no one's but its own.

    Cancelled, it cancels the task and waits for it.
    """
    task = track(asyncio.create_task(work, name=name), metrics)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        while not task.done():  # a second cancellation must not leave it behind
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled() and (late := task.exception()) is not None:
            _log.error("%s failed while it was ended", name, exc_info=late)
        raise
    if task.cancelled():
        return asyncio.InvalidStateError("it was cancelled from elsewhere")
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


async def surely(work: Coroutine[object, object, T], name: str) -> T:
    """Do `work`, which is bounded, to its end in a task of that name, however often this is cancelled; then tell.

    Where it was cancelled and `work` fails as well, that is logged: whoever cancels must not see it go on.
    """
    doing = asyncio.create_task(work, name=name)
    is_cancelled = False
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        if not doing.cancelled() and (error := doing.exception()) is not None:
            if isinstance(error, EdgeAgentError):
                _log.error("%s failed while it was ended: %s", name, error)
            else:
                _log.error("%s failed while it was ended", name, exc_info=error)
            raise asyncio.CancelledError from error
        raise asyncio.CancelledError
    return doing.result()


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, EdgeAgentError) else f"{type(error).__name__}: {text}"
