"""Sends events one behind the other without waiting for each answer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from edge_agent.mqtt.failures import BrokerError, NotConnectedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from edge_agent.mqtt.events import QueuedEvent
    from edge_agent.mqtt.standing import LinkState

_log = logging.getLogger(__name__)

WINDOW = 20
"""Events on their way at once. Mosquitto itself takes 20 (`max_inflight_messages`)."""
_MOST_TRIES = 3
"""For an event that the broker refuses for good, or breaks the connection off over."""
_REFUSED_S = 5.0
_LONGEST_REFUSED_S = 60.0
_MOST_REFUSALS = 8


class EventSender(Protocol):
    """The link, as far as events need it."""

    @property
    def state(self) -> LinkState:
        """Whether there is a connection."""
        ...

    def watch(self, listener: Callable[[LinkState], None]) -> None:
        """Call `listener` whenever that changes."""
        ...

    def send(self, topic: str, payload: bytes, *, qos: int) -> asyncio.Future[None]:
        """Send in the order of the calls; the future is done with the broker's answer."""
        ...


class EventPipeline:
    """Keeps a window of events on their way, over any number of connections. Belongs to the loop.

    Attributes:
        sent: Events acknowledged.
        refused: Events given up: the broker would never take them.
    """

    def __init__(self, link: EventSender, window: int = WINDOW) -> None:
        self._link = link
        self._window = window
        self._changed = asyncio.Event()
        self._careful = 0
        self._tries: tuple[str, int] = ("", 0)
        self._refusals = 0
        self._untold = 0
        self.sent = 0
        self.refused = 0
        link.watch(lambda _: self._changed.set())

    def take_refused(self) -> int:
        """Return how many events were given up since the last call."""
        count, self._untold = self._untold, 0
        return count

    async def send(self, events: Sequence[QueuedEvent]) -> AsyncGenerator[QueuedEvent, None]:
        """Send all of `events`, however long that takes, and yield them in order as the broker is done with them."""
        waiting = deque(events)
        while waiting:
            connection = await self._connected()
            try:
                async with aclosing(self._send_over_one(waiting)) as sent:
                    async for event in sent:
                        yield event
            except BrokerError as error:
                if error.is_final and self._is_given_up(waiting[0], error):
                    yield waiting.popleft()
                elif error.is_lost or isinstance(error, NotConnectedError):
                    await self._parted(connection)
                else:
                    await self._rest(error)

    async def _send_over_one(self, waiting: deque[QueuedEvent]) -> AsyncGenerator[QueuedEvent, None]:
        """Send until nothing is left, or something fails: then `waiting` begins with what failed."""
        on_their_way: deque[asyncio.Future[None]] = deque()
        try:
            while waiting:
                window = 1 if self._careful else self._window
                while len(on_their_way) < min(window, len(waiting)):
                    event = waiting[len(on_their_way)]
                    try:
                        on_their_way.append(self._link.send(event.topic, event.payload, qos=1))
                    except BrokerError:
                        if not on_their_way:
                            raise
                        break  # what is on its way is answered, or fails, first
                await on_their_way[0]
                on_their_way.popleft()
                self.sent += 1
                self._refusals = 0
                self._careful = max(0, self._careful - 1)
                yield waiting.popleft()
        finally:
            for future in on_their_way:
                future.cancel()

    def _is_given_up(self, event: QueuedEvent, error: BrokerError) -> bool:
        """Whether the broker will never take the event.

        Where it broke the connection off, any of those on their way may be the reason; so they go one by one next time.
        """
        self._careful = self._window
        event_id, tries = self._tries
        tries = tries + 1 if event_id == event.id else 1
        self._tries = (event.id, tries)
        if tries < _MOST_TRIES:
            return False
        self.refused += 1
        self._untold += 1
        _log.error("event %s to %s is given up: %s", event.id, event.topic, error)
        return True

    async def _rest(self, error: BrokerError) -> None:
        """The broker refuses what it may take later."""
        if not self._refusals:
            _log.warning("events wait: %s", error)
        pause_s = min(_REFUSED_S * 2**self._refusals, _LONGEST_REFUSED_S)
        self._refusals = min(self._refusals + 1, _MOST_REFUSALS)
        await asyncio.sleep(pause_s)

    async def _connected(self) -> int:
        """Wait until there is a connection, and return which."""
        while not self._link.state.is_connected:
            self._changed.clear()
            await self._changed.wait()
        return self._link.state.connects

    async def _parted(self, connection: int) -> None:
        """Wait until the link knows as well that this connection is lost."""
        while self._link.state.is_connected and self._link.state.connects == connection:
            self._changed.clear()
            await self._changed.wait()
