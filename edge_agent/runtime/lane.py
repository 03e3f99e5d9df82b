"""One named thread for one kind of blocking work, with jobs that can be stopped between two steps."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

T = TypeVar("T")

_END = object()


class Lane:
    """Runs blocking calls one after the other on its own thread.

    Cancelling an awaiting coroutine does not stop a running call (measured), so every call must be short, and long work
    is a generator given to `steps`: it is closed between two steps, on its own thread. `close` waits for the running
    step alone.
    """

    def __init__(self, name: str, depth: int = 64) -> None:
        self.name = name
        self._depth = depth
        self._waiting = 0
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"edge-{name}")

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` on the lane and return its result.

        Raises:
            BusyError: More calls wait than the lane's depth.
        """
        if self._waiting >= self._depth:
            raise BusyError(f"lane {self.name!r}", self._depth)
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        future.add_done_callback(self._ended)
        return await future

    async def steps(self, job: Generator[T, None, None]) -> AsyncGenerator[T, None]:
        """Pull `job` one step at a time; closing or cancelling this closes `job` on the lane.

        Raises:
            BusyError: More calls wait than the lane's depth.
        """
        try:
            while (item := await self.run(lambda: next(job, _END))) is not _END:
                yield item  # type: ignore[misc]  # _END was excluded
        finally:
            # A cancelled step is still running: closing queues behind it, and is waited for, so that nothing of this
            # job runs once the caller goes on.
            closing = asyncio.get_running_loop().run_in_executor(self._executor, job.close)
            cancelled: asyncio.CancelledError | None = None
            while not closing.done():
                try:
                    await asyncio.shield(closing)
                except asyncio.CancelledError as error:
                    cancelled = error
            closing.result()
            if cancelled is not None:
                raise cancelled  # put off, never swallowed: who asked for it waits for this task to end

    def close(self, *, abandon: bool = False) -> None:
        """Refuse new calls, drop queued ones, and wait for the running step.

        With `abandon` it does not wait, and what is queued still runs: for a call that hangs in a native library.
        """
        self._executor.shutdown(wait=not abandon, cancel_futures=not abandon)

    def _ended(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # retrieved: the awaiting coroutine may be gone
