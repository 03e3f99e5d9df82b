"""A subscriber that misses nothing: what the broker hands over before it is killed, and after."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING

from edge_agent.bench.mqtt_outbox_child import DEVICE, EVENT
from edge_agent.mqtt.topics import Topics

if TYPE_CHECKING:
    import aiomqtt

_AGAIN_S = 0.01
_SESSION_S = 86_400


class EventObserver:
    """Counts what arrives of one device's events.

    Attributes:
        is_ready: While there is a connection, so that nothing is kept for this one in the broker's memory alone.
        first: The id of each event by life and number, in the order of first arrival.
        duplicates: Arrivals beyond the first.
        changed: Duplicates that were not the same message.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._payloads: dict[str, bytes] = {}
        self.is_ready = asyncio.Event()
        self.first: dict[tuple[int, int], str] = {}
        self.duplicates = 0
        self.changed = 0

    @property
    def reordered(self) -> int:
        """First arrivals that came after a later event's."""
        order = list(self.first)
        return sum(later < earlier for earlier, later in pairwise(order))

    async def watch_loop(self) -> None:
        """Receive until cancelled, in one session over all connections."""
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        class Taken(asyncio.Queue[aiomqtt.Message]):
            """aiomqtt drops what waits in its queue when the connection ends, so nothing may wait there."""

            def put_nowait(_, item: aiomqtt.Message) -> None:  # noqa: N805 - `self` is the observer
                self._take(item)

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1",
                    self._port,
                    identifier="observer",
                    protocol=aiomqtt.ProtocolVersion.V5,
                    clean_start=False,
                    queue_type=Taken,
                    properties=properties,
                ) as client:
                    # Not QoS 1: the first acknowledgement that a killed broker does not take would end the reading of
                    # what it had sent before.
                    await client.subscribe(Topics(DEVICE).event(EVENT), qos=0)
                    self.is_ready.set()
                    await anext(client.messages)  # never comes; raises when the connection is lost
            except aiomqtt.MqttError:
                self.is_ready.clear()
                await asyncio.sleep(_AGAIN_S)

    def _take(self, message: aiomqtt.Message) -> None:
        payload = bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b""
        event = json.loads(payload)
        if (known := self._payloads.setdefault(event["id"], payload)) is not payload:
            self.duplicates += 1
            self.changed += known != payload
        key = (event["life"], event["n"])
        if self.first.setdefault(key, event["id"]) != event["id"]:
            self.changed += 1
