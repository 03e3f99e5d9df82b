"""The connection to the broker: made again whenever it is lost, and honest about why it is not there."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, FaultError
from edge_agent.mqtt.backoff import Backoff
from edge_agent.mqtt.credentials import load_credentials
from edge_agent.mqtt.dial import dial
from edge_agent.mqtt.failures import TAKEN_OVER, BrokerError, NotConnectedError, reason_of
from edge_agent.mqtt.gate import PacketGate
from edge_agent.mqtt.incoming import Handlers, Incoming
from edge_agent.mqtt.standing import PATIENCE, LinkState, Patience, Standing
from edge_agent.mqtt.tls import load_context

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from paho.mqtt.client import MQTTMessage

    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.mqtt.client import Client
    from edge_agent.mqtt.credentials import Credentials
    from edge_agent.mqtt.topics import Topics
    from edge_agent.runtime.pool import Pool

__all__ = ["BrokerError", "BrokerLink", "Incoming", "LinkState", "NotConnectedError", "Patience"]

_log = logging.getLogger(__name__)

PORT, TLS_PORT = 1883, 8883
ONLINE, OFFLINE = b"online", b"offline"
_INSTANCE = "instance"
"""User property of `online`: a number that each process draws anew."""
_PRESENCE_BYTES = 64
_MOST_PACKET_BYTES = 1 << 20
_READ_FILES_S = 10.0
_MOST_PUBLISHING = 64
"""`publish` calls that are under way at once; more wait."""


class BrokerLink:
    """One MQTT 5 connection, kept up for ever. Belongs to the loop.

    With TLS configured there is never a connection without it. Nothing that was published waits here for another
    connection: what must not be lost is kept and sent again by who publishes it.

    Args:
        topics: Whose availability is told: `online` when connected, `offline` as the last will; both retained.
        pool: For names, files and TLS handshakes. A name look-up can't be stopped, so it should serve nothing urgent.
        is_guest: Take an id of its own, announce nothing and leave no session: for a command beside the service.
        sleep: Waits between two attempts.
    """

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        pool: Pool,
        *,
        is_guest: bool = False,
        patience: Patience = PATIENCE,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._topics = topics
        self._pool = pool
        self._patience = patience
        self._sleep = sleep
        self._is_guest = is_guest
        self._client_id = f"{topics.device_id}-{uuid.uuid4().hex[:8]}" if is_guest else topics.device_id
        self._port = config.port or (TLS_PORT if config.tls.enabled else PORT)
        self._handlers = Handlers()
        self._client: Client | None = None
        self._publishing = asyncio.Semaphore(_MOST_PUBLISHING)
        self._retry = Backoff(patience.first_retry_s, patience.longest_retry_s, rng=rng)
        self._yielding = Backoff(2 * patience.taken_over_s, patience.longest_taken_over_s, least=0.5, rng=rng)
        self._was_connected = False
        self._instance = uuid.uuid4().hex
        self._has_announced = False
        self._has_rival = False
        self._presence = Handlers()
        if not is_guest:
            self._presence.add(topics.availability, self._look_at_presence, _PRESENCE_BYTES, None)
        self._answer_s = patience.answer_s or float(config.keep_alive_s)
        self._standing = Standing(f"{config.host}:{self._port}")

    @property
    def state(self) -> LinkState:
        """Whether there is a connection, and why not."""
        return self._standing.state

    def on(
        self,
        topic_filter: str,
        handler: Callable[[Incoming], None],
        *,
        most_bytes: int = 65_536,
        on_refused: Callable[[str, str], None] | None = None,
    ) -> None:
        """Hand messages of `topic_filter` to `handler`, on the loop; it returns at once. Call it before `run_loop`.

        Args:
            topic_filter: Subscribed to at QoS 1 at every connection.
            handler: Should it raise, that is logged and costs only this message.
            most_bytes: A larger payload is not handed over.
            on_refused: Is told topic and reason of one that was not. Beyond 1 MiB the broker itself drops it.
        """
        self._handlers.add(topic_filter, handler, most_bytes, on_refused)

    def watch(self, listener: Callable[[LinkState], None]) -> None:
        """Call `listener` on the loop whenever the state changes."""
        self._standing.listeners.append(listener)

    async def check_files(self) -> None:
        """Read password, certificates and key, to say at start what is wrong with them.

        Raises:
            ConfigError: A file is wrong; the key is named.
            FaultError: The pool did not get to it.
        """
        await self._read_files()

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

        Cancelled, it may still arrive.

        Raises:
            NotConnectedError: There is no connection.
            BrokerError: It was lost meanwhile, or the broker refuses. An answer is waited for no longer than
                `Patience.answer_s`; then the connection is given up.
        """
        if self._client is None:
            raise self._not_connected()
        async with self._publishing:
            await self.send(
                topic,
                payload,
                qos=qos,
                retain=retain,
                correlation_data=correlation_data,
                expiry_s=expiry_s,
                content_type=content_type,
                user_properties=user_properties,
            )

    def send(
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
    ) -> asyncio.Future[None]:
        """Send a message as `publish`, without waiting: several may be on their way, and go in the order of the calls.

        Raises:
            NotConnectedError: There is no connection.
            BrokerError: Too many are on their way, or it is known that the broker refuses.
        """
        if (client := self._client) is None:
            raise self._not_connected()
        if correlation_data is None and expiry_s is None and not user_properties:
            properties = client.properties(content_type)
        else:
            from edge_agent.mqtt.properties import publish_properties

            properties = publish_properties(
                content_type,
                correlation_data=correlation_data,
                expiry_s=expiry_s,
                user_properties=user_properties,
            )
        return client.send(topic, payload, qos=qos, retain=retain, properties=properties)

    async def run_loop(self) -> None:
        """Keep the connection up until cancelled; then say that the device is offline and disconnect, within a second.

        Files are read again at every attempt, so that a renewed certificate needs no restart.
        """
        while True:
            began_s = time.monotonic()
            failure = await self._attempt()
            lasted_s = time.monotonic() - began_s if self._was_connected else 0.0
            if lasted_s >= self._patience.lasting_s:
                self._retry.reset()
                self._standing.forget_told()
            if lasted_s >= self._patience.longest_taken_over_s:
                self._yielding.reset()
            if isinstance(failure, BrokerError) and failure.code == TAKEN_OVER:
                self._standing.taken_over()
                await self._sleep(self._yielding.next_s())
            else:
                await self._sleep(self._retry.next_s())

    async def _attempt(self) -> FaultError | ConfigError:
        """Connect, serve until the connection is lost, and return why."""
        self._was_connected = False
        failure: FaultError | ConfigError
        try:
            context, credentials = await self._read_files()
            client = await self._connect(context, credentials)
        except (ConfigError, FaultError) as error:
            self._standing.disconnected(error)
            return error
        try:
            await self._welcome(client)
            failure = await self._serve(client)
        except asyncio.CancelledError:
            await self._leave(client)
            self._standing.disconnected(BrokerError(self.state.broker, "this device has disconnected"), is_told=False)
            raise
        except BrokerError as error:
            failure = error
        finally:
            self._client = None
        if self._has_rival:
            await client.close(self._patience.farewell_s)  # else the will would call the other one offline
        await client.drop(failure.reason)
        self._standing.disconnected(failure)
        return failure

    async def _read_files(self) -> tuple[ssl.SSLContext | None, Credentials]:
        def read() -> tuple[ssl.SSLContext | None, Credentials]:
            tls = self._config.tls
            return load_context(tls) if tls.enabled else None, load_credentials(self._config)

        return await self._pool.run(read, kind="mqtt.files", timeout_s=_READ_FILES_S)

    async def _connect(self, context: ssl.SSLContext | None, credentials: Credentials) -> Client:
        from edge_agent.mqtt.client import Client
        from edge_agent.mqtt.properties import Terms

        connection = await dial(
            self._config.host, self._port, context=context, pool=self._pool, within_s=self._patience.connect_s
        )
        terms = Terms(
            self._client_id,
            credentials,
            self._config.keep_alive_s,
            0 if self._is_guest else self._config.session_expiry_s,
            None if self._is_guest else (self._topics.availability, OFFLINE),
            _MOST_PACKET_BYTES,
        )
        gate = PacketGate(connection, most_bytes=_MOST_PACKET_BYTES)
        client = Client(self.state.broker, terms, gate, self._dispatch)
        try:
            await client.open(self._patience.connect_s)
        except BaseException:
            await client.drop("was not connected")
            raise
        return client

    async def _welcome(self, client: Client) -> None:
        """Subscribe and announce the device."""
        if not self._is_guest:
            self._has_rival = False
            await client.look_up(self._topics.availability, self._answer_s)
            if self._has_rival:
                raise BrokerError(self.state.broker, reason_of(TAKEN_OVER), TAKEN_OVER)
        refused = await client.subscribe_all(self._handlers.filters, self._answer_s)
        if not self._is_guest:
            await self._announce(client, ONLINE, self._answer_s)
        self._client = client
        self._was_connected = self._has_announced = True
        self._standing.connected(
            "; ".join(
                f"the subscription to {topic_filter} is refused: the broker {why}" for topic_filter, why in refused
            )
        )

    async def _serve(self, client: Client) -> BrokerError:
        """Return when the connection is lost, or the broker owes an answer for too long."""
        losing = asyncio.create_task(client.lost(), name="mqtt.lost")
        try:
            while client.waited_s <= self._answer_s:
                await asyncio.wait({losing}, timeout=min(1.0, self._answer_s / 4))
                if losing.done():
                    return losing.result()
        finally:
            losing.cancel()
            await asyncio.wait({losing})
        return BrokerError(self.state.broker, f"does not answer within {self._answer_s:g} s")

    async def _announce(self, client: Client, presence: bytes, within_s: float) -> None:
        from edge_agent.mqtt.properties import publish_properties

        properties = publish_properties("text/plain", user_properties=[(_INSTANCE, self._instance)])
        try:
            async with asyncio.timeout(within_s):
                await client.send(self._topics.availability, presence, qos=1, retain=True, properties=properties)
        except TimeoutError:
            raise BrokerError(self.state.broker, f"does not answer within {within_s:g} s") from None

    async def _leave(self, client: Client) -> None:
        until_s = time.monotonic() + self._patience.farewell_s
        if not self._is_guest:
            try:
                await self._announce(client, OFFLINE, self._patience.farewell_s / 2)
            except BrokerError as error:
                _log.debug("%s: it will publish the last will", error)
        await client.close(max(0.0, until_s - time.monotonic()))

    def _dispatch(self, message: MQTTMessage) -> None:
        self._presence.dispatch(message)
        self._handlers.dispatch(message)

    def _look_at_presence(self, message: Incoming) -> None:
        """Notice that another client called itself online under this id since we did.

        By MQTT 5 the broker says so itself when it gives the session away (0x8E), but mosquitto 2.0 only closes the
        connection, which looks like any other loss. The one that finds the other's announcement yields, so that the
        other, which it has just thrown out, comes back and finds its own.
        """
        instance = dict(message.user_properties).get(_INSTANCE, self._instance)
        is_foreign = message.is_retained and message.payload == ONLINE and instance != self._instance
        if is_foreign and self._has_announced:
            self._has_rival = True

    def _not_connected(self) -> NotConnectedError:
        return NotConnectedError(self.state.broker, self.state.reason or "is not connected")
