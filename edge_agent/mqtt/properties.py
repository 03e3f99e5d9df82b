"""What is agreed when connecting, and what goes with a message, in paho's form. Imports paho: import it late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.mqtt.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed with the broker when connecting.

    Attributes:
        session_expiry_s: How long the broker keeps the session; 0 begins a new one.
        will: Topic and payload of the last will, retained.
        most_packet_bytes: The largest packet to be received.
    """

    client_id: str
    credentials: Credentials
    keep_alive_s: int
    session_expiry_s: int
    will: tuple[str, bytes] | None
    most_packet_bytes: int
    most_receiving: int = 64


def publish_properties(
    content_type: str,
    *,
    correlation_data: bytes | None = None,
    expiry_s: int | None = None,
    user_properties: Sequence[tuple[str, str]] = (),
) -> Properties:
    """Return the properties of a message."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if content_type:
        properties.ContentType = content_type
    if correlation_data is not None:
        properties.CorrelationData = correlation_data
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    if user_properties:
        properties.UserProperty = list(user_properties)
    return properties


def connect_properties(terms: Terms) -> Properties:
    """Return the properties of the introduction."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = terms.session_expiry_s
    properties.ReceiveMaximum = terms.most_receiving
    properties.MaximumPacketSize = terms.most_packet_bytes
    return properties
