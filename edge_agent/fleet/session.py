"""An operator's connection to the broker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError
from edge_agent.fleet.plain import plain
from edge_agent.fleet.registry import MOST_DEVICES
from edge_agent.fleet.target import is_name
from edge_agent.mqtt.credentials import Credentials, load_credentials
from edge_agent.mqtt.failures import NO_TLS, BrokerError, network_reason, reason_of
from edge_agent.mqtt.tls import load_context
from edge_agent.mqtt.topics import FLEET_ROOT, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import aiomqtt

    from edge_agent.config.mqtt import MqttConfig

_SILENT = logging.getLogger("edge_agent.fleet.paho")
"""What paho logs is said again, in words."""
_SILENT.setLevel(logging.CRITICAL)
_OPTIONS = {
    "mqtt.host": "--broker",
    "mqtt.port": "--broker HOST:PORT",
    "mqtt.username": "--user",
    "mqtt.password_file": "--password-file",
    "mqtt.tls.enabled": "--tls",
    "mqtt.tls.ca_file": "--ca",
    "mqtt.tls.certificate_file": "--cert",
}
MOST_PACKET_BYTES = 262_144
"""A broker drops what is larger instead of sending it (MQTT 5, 3.1.2.11.4)."""
_MOST_UNREAD = 200_000
_RECEIVE_MAXIMUM = 65_535
"""The most there is. With a smaller one mosquitto queues what waits for an acknowledgement, and drops retained messages
beyond 1,000 (max_queued_messages)."""
MARKERS = f"{FLEET_ROOT}/operator"
"""Below it an operator's client sends to itself; of no meaning to anybody else."""
_NOT_RETAINED = 2
"""Retain handling of a subscription (MQTT 5, 3.8.3.1)."""
_DEVICES_AT_ONCE = 200
_QUIET_S = 0.25
_QUIET_WITHOUT_MARKER_S = 1.5


@dataclass(frozen=True, slots=True)
class Heard:
    """A message."""

    topic: str
    payload: bytes
    is_retained: bool


class FleetSession:
    """Reads and writes; one user at a time. Made by `connect`.

    Every method raises BrokerError when the connection is lost.
    """

    def __init__(self, client: aiomqtt.Client, broker: str) -> None:
        self._client = client
        self._broker = broker
        self._name = secrets.token_hex(8)
        self._next: asyncio.Task[aiomqtt.Message] | None = None
        self._markers = 0

    async def read_retained(
        self, filters: Sequence[str], take: Callable[[Heard], None], timeout_s: float, *, is_passing: bool = False
    ) -> bool:
        """Subscribe, and hand over what is retained and what comes meanwhile; tell whether that was all.

        What is retained was sent when a message that we publish to a topic of our own afterwards comes back, and
        nothing more follows; or when there is something from each topic. Where the broker does not let us publish
        there, a longer silence has to do.

        Args:
            filters: Topics whose retained messages are wanted.
            take: Is given every message.
            timeout_s: The longest time to take.
            is_passing: Unsubscribe again afterwards.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        marker = f"{MARKERS}/{self._name}/{self._markers}"
        self._markers += 1
        await self._subscribe([marker, *filters], needed=filters)
        with self._translated():
            await self._client.publish(marker, b"", qos=1)
        missing = set(filters)
        is_marked = False
        quiet_from_s = loop.time()
        while missing and (now_s := loop.time()) < deadline_s:
            wait_s = quiet_from_s + (_QUIET_S if is_marked else _QUIET_WITHOUT_MARKER_S) - now_s
            if wait_s <= 0:
                break
            heard = await self.next(min(wait_s, deadline_s - now_s))
            if heard is None:
                continue
            is_marked = is_marked or heard.topic == marker
            if heard.is_retained or heard.topic == marker:
                quiet_from_s = loop.time()
            missing.discard(heard.topic)
            take(heard)
        with self._translated():
            await self._client.unsubscribe([marker, *filters] if is_passing else [marker])
        return loop.time() < deadline_s

    async def read_devices(
        self, kinds: Sequence[str], take: Callable[[Heard], None], timeout_s: float, *, live: Sequence[str] = ()
    ) -> bool:
        """Subscribe to topics of all devices, as `read_retained` does.

        Availability is small and comes at once; it tells which devices there are, and the rest is fetched for some at a
        time. For mosquitto 2.0 throws away what it wants to send, acknowledgements too, when 1,000 packets wait for
        a client's socket (max_queued_messages).

        Args:
            kinds: What else is wanted of each device: topics below its root.
            take: Is given every message.
            timeout_s: The longest time to take.
            live: Filters below a device's root that have no retained messages.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        found: set[str] = set()

        def note(heard: Heard) -> None:
            device = heard.topic.split("/")[1]
            if heard.topic == f"{ROOT}/{device}/availability" and is_name(device) and len(found) < MOST_DEVICES:
                found.add(device)
            take(heard)

        # From now on nothing is missed; what is retained is not sent for these.
        await self._subscribe([f"{ROOT}/+/{kind}" for kind in (*kinds, *live)], retain_handling=_NOT_RETAINED)
        is_complete = await self.read_retained([f"{ROOT}/+/availability"], note, timeout_s)
        return await self.read_again(sorted(found), kinds, take, deadline_s - loop.time()) and is_complete

    async def read_again(
        self, devices: Sequence[str], kinds: Sequence[str], take: Callable[[Heard], None], timeout_s: float
    ) -> bool:
        """Hand over what is retained of these devices now; tell whether that was all."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        for at in range(0, len(devices), _DEVICES_AT_ONCE):
            topics = [f"{ROOT}/{device}/{kind}" for device in devices[at : at + _DEVICES_AT_ONCE] for kind in kinds]
            left_s = deadline_s - loop.time()
            if left_s <= 0 or not await self.read_retained(topics, take, left_s, is_passing=True):
                return False
        return True

    async def next(self, timeout_s: float) -> Heard | None:
        """Return the next message; None when none came in time."""
        if self._next is None:
            self._next = asyncio.create_task(self._receive(), name="fleet.receive")
        # Not cancelled when the time is over: a message that has just come would be lost.
        await asyncio.wait({self._next}, timeout=max(0.0, timeout_s))
        if not self._next.done():
            return None
        task, self._next = self._next, None
        with self._translated():
            message = task.result()
        payload = message.payload if isinstance(message.payload, bytes) else b""
        return Heard(message.topic.value, payload, message.retain)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        """Publish at QoS 1, and return when the broker has acknowledged it."""
        with self._translated():
            await self._client.publish(topic, payload, qos=1, retain=retain)

    async def close(self) -> None:
        """Give up waiting for a message."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
            if not self._next.cancelled():
                self._next.exception()  # it is known by now that the connection is lost

    async def _receive(self) -> aiomqtt.Message:
        return await anext(aiter(self._client.messages))

    async def _subscribe(
        self, filters: Sequence[str], *, needed: Sequence[str] | None = None, retain_handling: int = 0
    ) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        options = SubscribeOptions(qos=1, retainHandling=retain_handling)
        with self._translated():
            codes = await self._client.subscribe([(topic_filter, options) for topic_filter in filters])
        for topic_filter, code in zip(filters, codes, strict=False):
            if getattr(code, "is_failure", False) and (needed is None or topic_filter in needed):
                raise BrokerError(
                    self._broker, f"does not let this user read {topic_filter}: {code}; see its access rules"
                )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from aiomqtt import MqttError

        try:
            yield
        except (MqttError, OSError) as error:
            raise BrokerError(self._broker, f"the connection was lost: {_reason(error, self._broker)}") from error


@asynccontextmanager
async def connect(config: MqttConfig, *, timeout_s: float) -> AsyncIterator[FleetSession]:
    """Connect; leaving disconnects.

    Raises:
        BadInputError: No broker is named, or a certificate or a password file can't be used.
        BrokerError: There is no connection, or the broker refuses.
    """
    import aiomqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    if not config.host:
        raise BadInputError("no broker: name it with --broker HOST[:PORT], or as mqtt.host in a --config file")
    port = config.port or (8883 if config.tls.enabled else 1883)
    broker = f"{config.host}:{port}"
    context, credentials = await asyncio.to_thread(_load, config)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is not annotated
    properties.ReceiveMaximum = _RECEIVE_MAXIMUM
    properties.MaximumPacketSize = MOST_PACKET_BYTES
    client = aiomqtt.Client(
        config.host,
        port,
        identifier=f"edge-agent-fleet-{secrets.token_hex(8)}",
        username=credentials.username,
        password=credentials.password,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        timeout=timeout_s,
        keepalive=config.keep_alive_s,
        tls_context=context,
        properties=properties,
        max_queued_incoming_messages=_MOST_UNREAD,
        logger=_SILENT,
    )
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        raise BrokerError(broker, _for_operators(_refusal(error, config))) from error
    session = FleetSession(client, broker)
    try:
        yield session
    finally:
        await session.close()
        with contextlib.suppress(aiomqtt.MqttError):  # what had to be said about the connection has been said
            await client.__aexit__(None, None, None)


def _load(config: MqttConfig) -> tuple[ssl.SSLContext | None, Credentials]:
    return load_context(config.tls) if config.tls.enabled else None, load_credentials(config)


def _refusal(error: Exception, config: MqttConfig) -> str:
    """Say why there is no connection; who takes the wrong kind of port hears nothing from it that could be shown."""
    reason = _reason(error, config.host)
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, ConnectionRefusedError | socket.gaierror | ssl.SSLError) or _code(error) is not None:
        return reason
    if config.tls.enabled:
        return NO_TLS if isinstance(cause, ConnectionError | EOFError) else reason
    return f"{reason}; if that port is for TLS, set mqtt.tls.enabled"


def _for_operators(reason: str) -> str:
    """Name the options beside the keys of a configuration."""
    for key, option in _OPTIONS.items():
        reason = re.sub(rf"{re.escape(key)}(?![\w.])", f"{option} ({key})", reason)
    return reason


def _code(error: Exception) -> int | None:
    code = getattr(getattr(error, "rc", None), "value", None)
    return code if isinstance(code, int) else None


def _reason(error: Exception, host: str) -> str:
    """Say why: aiomqtt hides what it comes from, but keeps it."""
    if (code := _code(error)) is not None:
        return reason_of(code)
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, OSError) and not isinstance(cause, TimeoutError):
        return network_reason(cause, host)
    if isinstance(cause, Exception) and (code := _code(cause)) is not None:
        return reason_of(code)
    return "does not answer in time" if isinstance(cause, TimeoutError) else plain(str(cause))
