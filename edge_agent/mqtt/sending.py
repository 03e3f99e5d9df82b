"""What everything that publishes needs of the link to the broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.mqtt.link import LinkState


class Link(Protocol):
    """The connection to the broker, as far as it is sent through. Belongs to the loop."""

    @property
    def state(self) -> LinkState:
        """Whether there is a connection, and why not."""
        ...

    def watch(self, listener: Callable[[LinkState], None]) -> None:
        """Call `listener` on the loop whenever the state changes."""
        ...

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        correlation_data: bytes | None = None,
        expiry_s: int | None = None,
        content_type: str = "application/json",
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send a message; returns when the broker has acknowledged it (QoS 1) or taken it (QoS 0).

        Raises:
            NotConnectedError: There is no connection.
            BrokerError: It was lost meanwhile, or the broker refuses.
        """
        ...


class Connected:
    """Waits for connections, and counts them. Belongs to the loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._changed = asyncio.Event()
        self.on_connect: Callable[[], None] = lambda: None
        """Is called at each new connection."""
        self._was_connected = link.state.is_connected
        link.watch(self._look)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self._link.state.is_connected

    async def up(self) -> None:
        """Wait until there is a connection."""
        while not self.is_up:
            self._changed.clear()
            await self._changed.wait()

    def _look(self, state: LinkState) -> None:
        is_new, self._was_connected = state.is_connected and not self._was_connected, state.is_connected
        self._changed.set()
        if is_new:
            self.on_connect()
