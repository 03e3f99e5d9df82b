"""Messages that come in, and who gets them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.mqtt.topics import matches
from edge_agent.runtime.rates import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import MQTTMessage

_log = logging.getLogger(__name__)

_TOLD_BURST, _TOLD_PER_S = 20, 0.1
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came; nothing in it is to be trusted.

    Attributes:
        is_retained: Whether the broker had kept it, so that it may be old.
        response_topic: Where the sender waits for an answer; checked to be a topic one may publish to.
    """

    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Handler:
    topic_filter: str
    handle: Callable[[Incoming], None]
    most_bytes: int
    on_refused: Callable[[str, str], None] | None


class Handlers:
    """Gives each message to whoever asked for its topic. Belongs to the loop."""

    def __init__(self) -> None:
        self._handlers: list[_Handler] = []
        self._tellings = RateLimiter("mqtt.refused", burst=_TOLD_BURST, per_s=_TOLD_PER_S)

    def add(
        self,
        topic_filter: str,
        handle: Callable[[Incoming], None],
        most_bytes: int,
        on_refused: Callable[[str, str], None] | None,
    ) -> None:
        """Ask for messages."""
        self._handlers.append(_Handler(topic_filter, handle, most_bytes, on_refused))

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        return list(dict.fromkeys(handler.topic_filter for handler in self._handlers))

    def dispatch(self, message: MQTTMessage) -> None:
        """Hand a message over; whatever is wrong with it, or with a handler, is logged and never raised."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._tell("a message with a topic that is not UTF-8 was dropped")
            return
        wanting = [handler for handler in self._handlers if matches(handler.topic_filter, topic)]
        for handler in wanting:
            if len(message.payload) > handler.most_bytes:
                self._refuse(handler, topic, len(message.payload))
                continue
            try:
                handler.handle(_incoming(topic, message))
            except Exception:  # noqa: BLE001 - it must not cost the connection, a retained message not every one
                if self._tellings.allow("fault"):
                    _log.exception("a message to %s was not handled", _shown(topic))

    def _refuse(self, handler: _Handler, topic: str, size: int) -> None:
        reason = f"is {size} bytes long; at most {handler.most_bytes} are read"
        self._tell(f"a message to {_shown(topic)} was dropped: it {reason}")
        if handler.on_refused is not None:
            handler.on_refused(topic, reason)

    def _tell(self, message: str) -> None:
        if self._tellings.allow("refused"):
            _log.warning("%s", message)


def _incoming(topic: str, message: MQTTMessage) -> Incoming:
    properties = message.properties
    response_topic = getattr(properties, "ResponseTopic", None)
    return Incoming(
        topic,
        bytes(message.payload),
        message.qos,
        bool(message.retain),
        response_topic if _is_topic(response_topic) else None,
        getattr(properties, "CorrelationData", None),
        tuple((str(key), str(value)) for key, value in getattr(properties, "UserProperty", ())),
    )


def _is_topic(name: object) -> bool:
    # A wildcard in it is a breach of protocol that would cost the connection when it is published to.
    return isinstance(name, str) and bool(name) and not any(sign in name for sign in "+#\0")


def _shown(topic: str) -> str:
    return ascii(topic[:_SHOWN])
