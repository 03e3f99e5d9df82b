"""Collects small things and hands them on together: metrics, rows for the database."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar

from edge_agent.errors import EdgeAgentError, JobTimeoutError, TaskCancelledError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """A batcher at one moment.

    Attributes:
        name: Its name.
        limit: The most items that it holds.
        waiting: Items that it holds, those of a flush that goes on included.
        peak: The most items that it held.
        flushed: Items that were handed on.
        flushes: Batches that they went in.
        failures: Flushes that failed.
        dropped: Items that were refused or pushed out because it was full.
        lost: Items whose flush failed too often, or could not be done before the end.
    """

    name: str
    limit: int
    waiting: int
    peak: int
    flushed: int
    flushes: int
    failures: int
    dropped: int
    lost: int


class Batcher(Generic[T]):
    """Hands items to `flush` in order, `most` at a time, or fewer once the oldest has waited `within_s`.

    An async context manager: leaving it flushes what is left. It holds `limit` items at most; when full, `add` drops
    the oldest one that is not being flushed, or refuses the new one, as `on_full` says.

    A flush that fails with an error raised on purpose, or an `OSError`, is tried again with the same items after
    `retry_s`, doubled each time up to `most_retry_s`; after `attempts` (None: never) they are lost. Any other error is
    a bug that would come again: its items are lost at once. Losses are logged, counted, and told to `on_lost`. All
    methods belong to the loop's thread.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[None]],
        most: int,
        within_s: float,
        limit: int,
        *,
        on_full: Literal["drop_oldest", "refuse"] = "refuse",
        retry_s: float = 0.5,
        most_retry_s: float = 60.0,
        attempts: int | None = None,
        close_s: float = 2.0,
        on_lost: Callable[[Sequence[T], BaseException], None] | None = None,
        name: str = "batch",
    ) -> None:
        if not 1 <= most <= limit:
            raise ValueError(f"batcher {name!r}: a batch holds at least one item, and the buffer at least one batch")
        self.name = name
        self._flush = flush
        self._most = most
        self._within_s = within_s
        self._limit = limit
        self._on_full = on_full
        self._retry_s = retry_s
        self._most_retry_s = most_retry_s
        self._attempts = attempts
        self._close_s = close_s
        self._on_lost = on_lost
        self._items: deque[tuple[float, T]] = deque()
        self._in_flight: list[T] = []
        self._changed = asyncio.Event()
        self._closing = True
        self._task: asyncio.Task[None] | None = None
        self._peak = self._flushed = self._flushes = self._failures = self._dropped = self._lost = 0

    async def __aenter__(self) -> Self:
        self._closing = False
        self._task = asyncio.create_task(self._flush_loop(), name=f"batch.{self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __len__(self) -> int:
        return len(self._items) + len(self._in_flight)

    def add(self, item: T) -> bool:
        """Take `item` without waiting; return False where it was refused (full, or not open)."""
        if self._closing:
            return False
        if len(self) >= self._limit:
            self._dropped += 1
            if self._on_full == "refuse" or not self._items:
                return False
            self._items.popleft()
        self._items.append((asyncio.get_running_loop().time(), item))
        self._peak = max(self._peak, len(self))
        if len(self._items) == 1 or len(self._items) >= self._most:
            self._changed.set()
        return True

    async def close(self) -> None:
        """Take nothing more and flush the rest, within `close_s`; what fails now is not tried again."""
        self._closing = True
        self._changed.set()
        task, self._task = self._task, None
        if task is None:
            return
        try:
            await asyncio.wait((task,), timeout=self._close_s)
        finally:
            # Also where closing itself is cancelled: nothing may be left behind.
            task.cancel()
            _, stuck = await asyncio.wait((task,), timeout=self._close_s)
            rest = [*self._in_flight, *(item for _, item in self._items)]
            self._in_flight = []
            self._items.clear()
            if rest:
                self._lose(rest, JobTimeoutError(f"the last flush of {self.name}", self._close_s))
        if not stuck and not task.cancelled():
            task.result()  # raises what a callback raised

    def statistics(self) -> BatchStatistics:
        """Return what went through and what was lost."""
        return BatchStatistics(
            name=self.name,
            limit=self._limit,
            waiting=len(self),
            peak=self._peak,
            flushed=self._flushed,
            flushes=self._flushes,
            failures=self._failures,
            dropped=self._dropped,
            lost=self._lost,
        )

    async def _flush_loop(self) -> None:
        while await self._batch_is_due():
            self._in_flight = [self._items.popleft()[1] for _ in range(min(self._most, len(self._items)))]
            if (error := await self._deliver(self._in_flight)) is not None:
                lost, self._in_flight = self._in_flight, []
                self._lose(lost, error)

    async def _batch_is_due(self) -> bool:
        """Wait until a batch is full or old enough; False means closed and empty."""
        loop = asyncio.get_running_loop()
        while not self._closing and len(self._items) < self._most:
            due_s = self._items[0][0] + self._within_s if self._items else None
            if due_s is not None and due_s <= loop.time():
                break
            await self._changed_by(due_s)
        return bool(self._items)

    async def _changed_by(self, due_s: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout_at(due_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _deliver(self, batch: Sequence[T]) -> BaseException | None:
        """Flush `batch`, again and again where that may help; return the error that it was given up for."""
        delay_s = self._retry_s
        attempt = 1
        while (error := await self._try(batch)) is not None:
            self._failures += 1
            worth_it = isinstance(error, (EdgeAgentError, OSError)) and not self._closing
            if not worth_it or attempt == self._attempts:
                return error
            _log.warning("%s: a flush failed, again in %.1f s: %s", self.name, delay_s, error)
            again_s = asyncio.get_running_loop().time() + delay_s
            while not self._closing and asyncio.get_running_loop().time() < again_s:
                await self._changed_by(again_s)
            delay_s = min(2 * delay_s, self._most_retry_s)
            attempt += 1
        return None

    async def _try(self, batch: Sequence[T]) -> BaseException | None:
        """Flush `batch` once; return its error, whatever that is: a batcher outlives its flushes."""
        flush = asyncio.create_task(_call(self._flush, tuple(batch)), name=f"batch.{self.name}.flush")
        try:
            await asyncio.wait((flush,))
        except asyncio.CancelledError:
            flush.cancel()
            await asyncio.wait((flush,))
            if not flush.cancelled() and flush.exception() is None:
                self._note_flushed()
            raise
        if flush.cancelled():
            return TaskCancelledError(f"batch.{self.name}.flush")
        if (error := flush.exception()) is None:
            self._note_flushed()
        return error

    def _note_flushed(self) -> None:
        self._flushed += len(self._in_flight)
        self._flushes += 1
        self._in_flight = []

    def _lose(self, items: Sequence[T], error: BaseException) -> None:
        self._lost += len(items)
        unexpected = None if isinstance(error, (EdgeAgentError, OSError)) else error
        _log.error("%s: %d items are lost: %s", self.name, len(items), error, exc_info=unexpected)
        if self._on_lost is not None:
            self._on_lost(items, error)


async def _call(flush: Callable[[Sequence[T]], Awaitable[None]], batch: Sequence[T]) -> None:
    await flush(batch)
