"""A link to a broker that only exists in the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_agent.mqtt.failures import BrokerError, NotConnectedError
from edge_agent.mqtt.link import LinkState

BROKER = "broker.test:1883"


@dataclass(frozen=True, slots=True)
class Published:
    """One message that the broker has."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    correlation_data: bytes | None

    @property
    def data(self) -> dict[str, Any]:
        """The payload as JSON."""
        data: dict[str, Any] = json.loads(self.payload)
        return data


class LinkDouble:
    """Keeps what is published; can be down, and can refuse topics.

    Attributes:
        refused: Topics that the broker refuses.
    """

    def __init__(self, *, is_connected: bool = True) -> None:
        self.state = LinkState(is_connected=is_connected, broker=BROKER, reason="", since_s=0.0, connects=1)
        self.published: list[Published] = []
        self.refused: set[str] = set()
        self._listeners: list[Callable[[LinkState], None]] = []

    def watch(self, listener: Callable[[LinkState], None]) -> None:
        """Call `listener` whenever the state changes."""
        self._listeners.append(listener)

    def set_connected(self, is_connected: bool) -> None:
        """Connect, or lose the connection."""
        self.state = replace(self.state, is_connected=is_connected, connects=self.state.connects + is_connected)
        for listener in self._listeners:
            listener(self.state)

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
        """Keep the message."""
        if not self.state.is_connected:
            raise NotConnectedError(BROKER, "it is not there")
        if topic in self.refused:
            raise BrokerError(BROKER, "not authorized")
        self.published.append(Published(topic, payload, qos, retain, correlation_data))

    def at(self, topic: str) -> list[Published]:
        """Return what was published at a topic."""
        return [message for message in self.published if message.topic == topic]
