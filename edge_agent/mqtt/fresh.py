"""Events that are in memory alone."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.mqtt.events import QueuedEvent

MOST, MOST_BYTES = 1000, 4 << 20


class FreshEvents:
    """In order, within bounds, the oldest dropped and counted beyond them. Belongs to the loop."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._events: deque[QueuedEvent] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._wanted = asyncio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: QueuedEvent) -> int:
        """Queue an event and return how many were dropped to make room."""
        self._events.append(event)
        self._bytes += len(event.payload)
        lost = 0
        while len(self._events) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._events.popleft().payload)
            lost += 1
        self.dropped += lost
        self._wanted.set()
        return lost

    def first(self, most: int) -> tuple[QueuedEvent, ...]:
        """Return the oldest; they stay."""
        return tuple(islice(self._events, most))

    def remove(self, events: Sequence[QueuedEvent]) -> None:
        """Take away events that `first` returned; some of them may have been dropped meanwhile."""
        gone = {event.id for event in events}
        while self._events and self._events[0].id in gone:
            self._bytes -= len(self._events.popleft().payload)

    async def wait(self) -> None:
        """Wait until there is one."""
        while not self._events:
            self._wanted.clear()
            await self._wanted.wait()
