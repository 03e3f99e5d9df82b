"""A bounded, closable queue for one loop, which counts what it drops."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from edge_agent.runtime.line import Line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The channel is closed, and for a reader also empty."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A channel at one moment; `readers` and `writers` are those that wait."""

    name: str
    limit: int
    queued: int
    peak: int
    dropped: int
    closed: bool
    readers: int
    writers: int


class Channel(Generic[T]):
    """First in, first out, `limit` items at most.

    When full, `put` waits (back-pressure), and `offer`, which never waits, drops the oldest item or refuses the new
    one as `on_full` says. After `close` readers still get what is queued. Who waits longest is served first, however
    busy the others are. A cancelled `put` has not queued its item, and a cancelled `get` has taken none. All methods
    belong to the loop's thread.
    """

    def __init__(self, limit: int, on_full: Literal["drop_oldest", "refuse"] = "refuse", name: str = "channel") -> None:
        if limit < 1:
            raise ValueError("a channel holds at least one item")
        self.name = name
        self._limit = limit
        self._on_full = on_full
        self._items: deque[T] = deque()
        self._closed = False
        # Each item that is promised to a reader, and each place promised to a writer, is left to him by the others.
        self._readers = Line(self._settle)
        self._writers = Line(self._settle)
        self.dropped = 0
        self.peak = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    def statistics(self) -> ChannelStatistics:
        """Return what the channel holds, held and dropped."""
        return ChannelStatistics(
            self.name,
            self._limit,
            len(self._items),
            self.peak,
            self.dropped,
            self._closed,
            len(self._readers),
            len(self._writers),
        )

    def offer(self, item: T) -> bool:
        """Queue `item` without waiting; return False where it was refused (full or closed).

        A place that was just promised to a waiting `put` counts as taken.
        """
        if self._closed:
            return False
        if self._room < 1:
            self.dropped += 1
            if self._on_full == "refuse" or not self._items:
                return False
            self._items.popleft()
        self._append(item)
        return True

    async def put(self, item: T) -> None:
        """Queue `item`, waiting for room.

        Raises:
            ChannelClosedError: The channel is or was closed meanwhile.
        """
        if not self._closed and self._room < 1:
            await self._writers.wait()
        if self._closed:
            raise ChannelClosedError
        self._append(item)

    async def get(self) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            ChannelClosedError: The channel is closed and empty.
        """
        promised = False
        # An item that was promised may be gone: `clear` asks nobody.
        while not (self._items and (promised or len(self._items) > self._readers.promised)):
            if self._closed and not self._items:
                raise ChannelClosedError
            promised = await self._readers.wait()
        item = self._items.popleft()
        self._settle()
        return item

    def take(self, most: int) -> list[T]:
        """Take up to `most` items that are already queued and promised to nobody, without waiting."""
        free = max(0, len(self._items) - self._readers.promised)
        taken = [self._items.popleft() for _ in range(min(most, free))]
        self._settle()
        return taken

    def peek(self) -> T | None:
        """Return the item that `take` would take next, and leave it there; None where there is none."""
        return self._items[0] if len(self._items) > self._readers.promised else None

    def clear(self) -> int:
        """Drop all that is queued and return how many items that were."""
        count = len(self._items)
        self._items.clear()
        self._settle()
        return count

    def close(self) -> None:
        """Take nothing more; wake everyone who waits."""
        self._closed = True
        self._settle()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                yield await self.get()
            except ChannelClosedError:
                return

    @property
    def _room(self) -> int:
        return self._limit - len(self._items) - self._writers.promised

    def _append(self, item: T) -> None:
        self._items.append(item)
        self.peak = max(self.peak, len(self._items))
        self._settle()

    def _settle(self) -> None:
        """Wake those whose turn it is, after anything changed."""
        if not self._closed:
            self._writers.promise(self._limit - len(self._items))
        else:
            self._writers.send_away()
        self._readers.promise(len(self._items))
        if self._closed and not self._items:
            self._readers.send_away()
