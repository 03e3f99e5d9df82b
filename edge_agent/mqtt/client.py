"""One connection by aiomqtt, with what it leaves out: who dials, why the broker refuses, and how much may pile up.

Imports aiomqtt and paho, so it is imported where a broker is configured, and no earlier.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aiomqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.mqtt.failures import MAYBE_TLS, BrokerError, NotConnectedError, network_reason, reason_of
from edge_agent.mqtt.properties import connect_properties, publish_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from paho.mqtt.client import Client as PahoClient
    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.mqtt.gate import PacketGate
    from edge_agent.mqtt.properties import Terms

T = TypeVar("T")

# paho logs what it receives and aiomqtt what is pending; what matters is logged by the link, once.
_SILENT = logging.getLogger("edge_agent.mqtt.paho")
_SILENT.setLevel(logging.CRITICAL)

_NOWHERE = "dialled-already.invalid"
"""What paho is told for a host name: should it ever dial by itself, it gets nowhere, and never without TLS."""
MOST_SENDING = 256
"""Messages that may be on their way at once; a broker's own limit is lower."""
_FAILED = 0x80
_HEADER_BYTES = 9
"""What a PUBLISH has beside topic, payload and properties, at the most (MQTT 5, section 3.3)."""
_OF_PAHO = {
    0x82: "sent something that is not MQTT 5",
    0x8D: "does not answer any more",
}
"""What paho finds itself, by the reason code that it gives for it."""


class Client(aiomqtt.Client):
    """Is connected once and then thrown away, so that nothing of it can be sent later. Belongs to the loop.

    aiomqtt gives the callbacks of paho, the loop's readers and writers, and subscribing. Its own `publish` hides
    what the broker answers and does not notice a lost connection, and its `__aenter__` dials on the loop's default
    threads, which can't be stopped.

    Args:
        broker: `host:port`, for messages.
        gate: Is connected.
        on_message: Gets each message; what it raises ends the connection.
    """

    def __init__(self, broker: str, terms: Terms, gate: PacketGate, on_message: Callable[[MQTTMessage], None]) -> None:
        super().__init__(
            _NOWHERE,
            identifier=terms.client_id,
            username=terms.credentials.username,
            password=terms.credentials.password,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(terms.will[0], terms.will[1], qos=1, retain=True) if terms.will else None,
            clean_start=terms.session_expiry_s == 0,
            keepalive=terms.keep_alive_s,
            properties=connect_properties(terms),
            max_queued_incoming_messages=1,
            max_queued_outgoing_messages=MOST_SENDING,
            max_inflight_messages=MOST_SENDING,
            logger=_SILENT,
        )
        self._broker = broker
        self._gate = gate
        self._dispatch = on_message
        self._sending: dict[int, tuple[asyncio.Future[None], float]] = {}
        self._most_sent_bytes: int | None = None
        self._retains = True
        self._end: BrokerError | None = None
        self._plain_properties: dict[str, Properties] = {}
        self.is_session_kept = False
        for future in (self._connected, self._disconnected):
            future.add_done_callback(_take_note)
        # paho offers no public way to bring a socket; it is asked for this one when it connects, and gets it once.
        self._client._create_socket_connection = self._hand_over  # type: ignore[method-assign,assignment] # noqa: SLF001

    async def open(self, within_s: float) -> None:
        """Introduce the device to the broker.

        Raises:
            BrokerError: It refuses, does not answer, or is no broker.
        """
        self._client_connect()  # only queues the packet: the socket is connected
        try:
            async with asyncio.timeout(within_s):
                await asyncio.wait({self._connected, self._gate.closed}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise BrokerError(self._broker, f"takes the connection and does not answer within {within_s:g} s") from None
        if not self._connected.done():
            raise self._ended()
        if isinstance(error := self._connected.exception(), aiomqtt.MqttCodeError):
            code = getattr(error.rc, "value", _FAILED)
            raise BrokerError(self._broker, reason_of(code), code) from error

    async def subscribe_all(self, filters: Sequence[str], within_s: float) -> list[tuple[str, str]]:
        """Subscribe at QoS 1 and return which filters the broker refuses, each with the reason.

        Raises:
            BrokerError: The connection was lost, or there was no answer.
        """
        if not filters:
            return []
        options = SubscribeOptions(qos=1)
        subscribing = self.subscribe([(each, options) for each in filters], timeout=within_s)
        codes = cast("list[ReasonCode]", await self._unless_lost(subscribing, "mqtt.subscribe"))
        return [
            (each, reason_of(code.value)) for each, code in zip(filters, codes, strict=False) if code.value >= _FAILED
        ]

    async def look_up(self, topic: str, within_s: float) -> None:
        """Have the message that the broker keeps at `topic`, if any, handed over before this returns.

        Raises:
            BrokerError: The connection was lost, or there was no answer.
        """
        await self.subscribe_all([topic], within_s)
        # Brokers answer in order: when they say that this has ended, what there was has come.
        await self._unless_lost(self.unsubscribe(topic, timeout=within_s), "mqtt.unsubscribe")

    def send(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties
    ) -> asyncio.Future[None]:
        """Queue a message; the future is done when the broker has acknowledged it (QoS 1) or taken it (QoS 0).

        Messages are sent in the order of the calls. The future raises BrokerError. Cancelling it calls nothing back.

        Raises:
            BrokerError: The broker would refuse it, or too many messages are on their way.
            NotConnectedError: The connection is lost.
        """
        if self._end is not None or self._disconnected.done():
            end = self._why()
            raise NotConnectedError(self._broker, end.reason, end.code)
        if len(self._sending) >= MOST_SENDING:
            raise BrokerError(self._broker, f"{MOST_SENDING} messages are on their way already")
        if self._most_sent_bytes is not None:
            size = len(topic.encode()) + len(payload) + len(properties.pack()) + _HEADER_BYTES  # type: ignore[no-untyped-call]
            if size > self._most_sent_bytes:
                raise BrokerError(self._broker, f"takes {self._most_sent_bytes} bytes in one message, not {size}", 0x95)
        if retain and not self._retains:
            raise BrokerError(self._broker, reason_of(0x9A), 0x9A)
        future: asyncio.Future[None] = self._loop.create_future()
        info = self._client.publish(topic, payload, qos, retain, properties)
        if info.rc != 0:
            raise NotConnectedError(self._broker, self._ended().reason)
        self._sending[info.mid] = (future, self._loop.time())
        return future

    def properties(self, content_type: str) -> Properties:
        """Return the properties of a message that has no others; made once, for making them is slow."""
        if (kept := self._plain_properties.get(content_type)) is None:
            kept = publish_properties(content_type)
            # paho packs them again for each message, which costs more than all the rest of sending.
            object.__setattr__(kept, "pack", partial(bytes, kept.pack()))  # type: ignore[no-untyped-call]
            if len(self._plain_properties) < 8:  # noqa: PLR2004 - there are two
                self._plain_properties[content_type] = kept
        return kept

    @property
    def waited_s(self) -> float:
        """How long the broker has owed an answer to the message that was sent first."""
        for _, sent_s in self._sending.values():
            return self._loop.time() - sent_s
        return 0.0

    async def lost(self) -> BrokerError:
        """Return when the connection is lost, and why."""
        await asyncio.wait({self._disconnected})
        return self._why()

    def _why(self) -> BrokerError:
        error = self._disconnected.exception() if self._disconnected.done() else None
        if error is not None and not isinstance(error, aiomqtt.MqttError):
            # Raised while something was read: by paho, which could not make sense of it.
            self._end = self._end or BrokerError(self._broker, f"sent what can't be read ({type(error).__name__})")
        return self._ended()

    async def close(self, within_s: float) -> None:
        """Say good-bye, so that the broker does not publish the will; then as `drop`."""
        try:
            if self._end is None and not self._disconnected.done() and self._client.disconnect() == 0:
                await asyncio.wait({self._gate.closed}, timeout=within_s)
        finally:
            await self.drop("the device disconnects")

    async def drop(self, reason: str) -> None:
        """Close the connection as it is; whoever waits for the broker gets BrokerError."""
        self._gate.break_off(reason)
        self._client.loop_read()  # meets the failure, and closes the socket
        self._gate.close()  # where paho had not taken it
        self._ended()
        self._fail_all()
        if self._misc_task is not None:
            self._misc_task.cancel()
            await asyncio.wait({self._misc_task})

    def _on_socket_open(self, client: PahoClient, userdata: Any, sock: PacketGate) -> None:  # type: ignore[override] # noqa: ANN401
        """Read from now on.

        aiomqtt puts off what it tells the loop, for it calls from other threads as well; by then the socket may be
        closed, and its number another one's.
        """
        self._loop.add_reader(sock.fileno(), self._read)
        self._misc_task = self._loop.create_task(self._misc_loop(), name="mqtt.keep_alive")

    def _on_socket_register_write(self, client: PahoClient, userdata: Any, sock: PacketGate) -> None:  # type: ignore[override] # noqa: ANN401
        self._loop.add_writer(sock.fileno(), self._write)

    def _read(self) -> None:
        try:
            self._client.loop_read()
            while self._gate.pending():  # decrypted already, so that the loop sees nothing to read
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - whatever paho stumbles over ends the connection
            self._stumble(error)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as above
            self._stumble(error)

    def _stumble(self, error: Exception) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(error)

    def _hand_over(self) -> PacketGate:
        return self._gate

    def _ended(self) -> BrokerError:
        """Return why the connection ended: what was found first."""
        if self._end is None:
            host = self._broker.rpartition(":")[0]
            failure = self._gate.failure
            is_cut = failure is None or (isinstance(failure, ConnectionError) and failure.errno is not None)
            if is_cut and not self._gate.has_answered and not self._gate.is_tls:
                reason = MAYBE_TLS
            elif failure is not None:
                reason = network_reason(failure, host)
            else:
                reason = "closed the connection"
            self._end = BrokerError(self._broker, reason)
        return self._end

    def _fail_all(self) -> None:
        sending, self._sending = self._sending, {}
        end = self._ended()
        for future, _ in sending.values():
            if not future.done():
                reason = f"{end.reason}, before it acknowledged the message"
                future.set_exception(BrokerError(self._broker, reason, end.code, is_lost=True))
                future.exception()  # who sent it may not look any more

    async def _unless_lost(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        task = asyncio.create_task(coroutine, name=name)
        try:
            ends: set[asyncio.Future[Any]] = {task, self._disconnected}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise await self.lost()
            try:
                return task.result()
            except aiomqtt.MqttError as error:
                if self._end is not None or self._disconnected.done():
                    raise self._why() from error
                raise BrokerError(self._broker, "does not answer a subscription") from error
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,  # noqa: ANN401 - as in aiomqtt
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.is_session_kept = flags.session_present
        self._most_sent_bytes = getattr(properties, "MaximumPacketSize", None)
        self._retains = getattr(properties, "RetainAvailable", 1) != 0
        receiving = getattr(properties, "ReceiveMaximum", MOST_SENDING)
        # paho does not heed the broker's limit, and refuses to be told of it now. Beyond it messages wait in order.
        self._client._max_inflight_messages = max(1, min(MOST_SENDING, receiving))  # noqa: SLF001
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: Any,  # noqa: ANN401 - as in aiomqtt
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if self._end is None and flags.is_disconnect_packet_from_server:
            self._end = BrokerError(self._broker, reason_of(reason_code.value), reason_code.value)
        elif self._end is None and reason_code.value in _OF_PAHO:
            self._end = BrokerError(self._broker, _OF_PAHO[reason_code.value])
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._fail_all()

    def _on_publish(
        self,
        client: PahoClient,
        userdata: Any,  # noqa: ANN401 - as in aiomqtt
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        future, _ = self._sending.pop(mid, (None, 0.0))
        if future is None or future.done():
            return
        if reason_code.value >= _FAILED:
            future.set_exception(BrokerError(self._broker, reason_of(reason_code.value), reason_code.value))
            future.exception()
        else:
            future.set_result(None)

    def _on_message(
        self,
        client: PahoClient,
        userdata: Any,  # noqa: ANN401 - as in aiomqtt
        message: MQTTMessage,
    ) -> None:
        self._dispatch(message)


def _take_note(future: asyncio.Future[None]) -> None:
    """Look at how it ended: a connection may be lost when nobody waits for that any more."""
    if not future.cancelled():
        future.exception()
