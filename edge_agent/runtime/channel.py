"""A bounded, closable queue for one loop, which counts what it drops."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The channel is closed, and for a reader also empty."""


class Channel(Generic[T]):
    """First in, first out, `limit` items at most.

    When full, `put` waits (back-pressure), and `offer`, which never waits, drops the oldest item or refuses the new
    one as `on_full` says. After `close` readers still get what is queued. All methods belong to the loop's thread.
    """

    def __init__(self, limit: int, on_full: Literal["drop_oldest", "refuse"] = "refuse") -> None:
        if limit < 1:
            raise ValueError("a channel holds at least one item")
        self._limit = limit
        self._on_full = on_full
        self._items: deque[T] = deque()
        self._closed = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.dropped = 0
        self.peak = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    def offer(self, item: T) -> bool:
        """Queue `item` without waiting; return False where it was refused (full or closed)."""
        if self._closed:
            return False
        if len(self._items) >= self._limit:
            self.dropped += 1
            if self._on_full == "refuse":
                return False
            self._items.popleft()
        self._append(item)
        return True

    async def put(self, item: T) -> None:
        """Queue `item`, waiting for room.

        Raises:
            ChannelClosedError: The channel is or was closed meanwhile.
        """
        while not self._closed and len(self._items) >= self._limit:
            self._writable.clear()
            await self._writable.wait()
        if self._closed:
            raise ChannelClosedError
        self._append(item)

    async def get(self) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            ChannelClosedError: The channel is closed and empty.
        """
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            self._readable.clear()
            await self._readable.wait()
        item = self._items.popleft()
        self._writable.set()
        return item

    def take(self, most: int) -> list[T]:
        """Take up to `most` items that are already queued, without waiting."""
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        if taken:
            self._writable.set()
        return taken

    def clear(self) -> int:
        """Drop all that is queued and return how many items that were."""
        count = len(self._items)
        self._items.clear()
        self._writable.set()
        return count

    def close(self) -> None:
        """Take nothing more; wake everyone who waits."""
        self._closed = True
        self._readable.set()
        self._writable.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                yield await self.get()
            except ChannelClosedError:
                return

    def _append(self, item: T) -> None:
        self._items.append(item)
        self.peak = max(self.peak, len(self._items))
        self._readable.set()
