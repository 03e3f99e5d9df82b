"""Doubles of what the outbox of events works with: a link that can be told what to say, a disk that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge_agent.errors import StoreError
from edge_agent.mqtt.events import QueuedEvent, StoredCounts
from edge_agent.mqtt.failures import BrokerError, NotConnectedError
from edge_agent.mqtt.standing import LinkState

BROKER = "test:1883"


class ScriptedLink:
    """Acknowledges what is sent at the loop's next turn, as long as `answers` says nothing else.

    Attributes:
        sent: Payloads in order, again where they were sent again.
        answers: Is asked for each payload: None acknowledges, an error refuses, "lose" loses the connection, "wait"
            never answers.
        most_at_once: The most that was on its way.
    """

    def __init__(self, *, is_connected: bool = True) -> None:
        self.state = LinkState(is_connected=is_connected, broker=BROKER, reason="", since_s=0.0)
        self.sent: list[bytes] = []
        self.answers: Callable[[bytes], BrokerError | str | None] = lambda payload: None
        self.most_at_once = 0
        self._listeners: list[Callable[[LinkState], None]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def watch(self, listener: Callable[[LinkState], None]) -> None:
        """Remember."""
        self._listeners.append(listener)

    def send(self, topic: str, payload: bytes, *, qos: int) -> asyncio.Future[None]:
        """Follow the script."""
        if not self.state.is_connected:
            raise NotConnectedError(BROKER, "is away")
        assert qos == 1
        self.sent.append(payload)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.most_at_once = max(self.most_at_once, len(self._waiting))
        match self.answers(payload):
            case None:
                asyncio.get_running_loop().call_soon(self._answer, future, None)
            case BrokerError() as error:
                asyncio.get_running_loop().call_soon(self._answer, future, error)
            case "lose":
                asyncio.get_running_loop().call_soon(self.lose)
        return future

    def connect(self) -> None:
        """Be connected."""
        self._change(replace(self.state, is_connected=True, connects=self.state.connects + 1))

    def lose(self, code: int | None = None) -> None:
        """Lose the connection, with all that is on its way."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(BrokerError(BROKER, "was lost", code, is_lost=True))
        self._change(replace(self.state, is_connected=False))

    def _answer(self, future: asyncio.Future[None], error: BrokerError | None) -> None:
        if future in self._waiting:
            self._waiting.remove(future)
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _change(self, state: LinkState) -> None:
        self.state = state
        for listener in self._listeners:
            listener(state)


class MemoryStore:
    """Keeps events in a list, at most `most`; fails while `is_broken`."""

    def __init__(self, most: int = 10_000) -> None:
        self.events: list[QueuedEvent] = []
        self.is_broken = False
        self.appends = 0
        self._most = most
        self._dropped_full = 0
        self._dropped_old = 0

    async def append(self, events: Sequence[QueuedEvent]) -> int:
        """Append."""
        await self._work()
        self.appends += 1
        known = {event.id for event in self.events}
        self.events += [event for event in events if event.id not in known]
        dropped = max(0, len(self.events) - self._most)
        del self.events[:dropped]
        self._dropped_full += dropped
        return dropped

    async def peek(self, most: int) -> Sequence[QueuedEvent]:
        """Look."""
        await self._work()
        return self.events[:most]

    async def remove(self, ids: Iterable[str]) -> int:
        """Take away."""
        await self._work()
        before, gone = len(self.events), set(ids)
        self.events = [event for event in self.events if event.id not in gone]
        return before - len(self.events)

    async def prune(self, older_than: datetime) -> int:
        """Drop."""
        await self._work()
        before = len(self.events)
        self.events = [event for event in self.events if event.created_at >= older_than]
        self._dropped_old += before - len(self.events)
        return before - len(self.events)

    async def counts(self) -> StoredCounts:
        """Count."""
        await self._work()
        return StoredCounts(len(self.events), self._dropped_full, self._dropped_old)

    async def _work(self) -> None:
        await asyncio.sleep(0)
        if self.is_broken:
            raise StoreError(Path("edge-agent.db"), "the disk is full")
