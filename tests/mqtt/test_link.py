"""The link to a real broker: kept up, honest, and never in the way."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from broker_link import (
    QUICK,
    WAIT_S,
    config_for,
    connected,
    eventually,
    failed,
    next_payload,
    observer,
    running,
    serving,
    until,
)
from mosquitto_broker import Broker, MakeBroker

from edge_agent.errors import ConfigError
from edge_agent.mqtt.link import BrokerError, BrokerLink, Incoming, LinkState, NotConnectedError, Patience
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool

TOPICS = Topics("kitchen", ("downstairs",))
WELL = "edge-agent/kitchen/status"


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Threads for names and files."""
    pool = Pool("mqtt", most_workers=2)
    yield pool
    await pool.close()


def link_to(broker: Broker, pool: Pool, **settings: object) -> BrokerLink:
    """Return a link that does not wait long between attempts."""
    return BrokerLink(config_for(broker.port, **settings), TOPICS, pool, patience=QUICK, rng=random.Random(1))


async def test_presence_is_told_and_taken_back(broker: Broker, pool: Pool) -> None:
    """Retained: online while connected, offline after a clean end."""
    broker.start()
    link = link_to(broker, pool)
    async with running(link):
        await connected(link)
        async with observer(broker.port, TOPICS.availability) as client:
            assert await next_payload(client) == b"online"
    async with observer(broker.port, TOPICS.availability) as client:
        assert await next_payload(client) == b"offline"
    assert not link.state.is_connected


async def test_the_last_will_says_offline(broker: Broker, pool: Pool) -> None:
    """A device that vanishes is offline without saying so."""
    broker.start()
    link = link_to(broker, pool)
    async with observer(broker.port, TOPICS.availability) as client, running(link):
        assert await next_payload(client) == b"online"
        assert link._client is not None
        link._client._gate._socket.shutdown(2)
        assert await next_payload(client) == b"offline"
        assert await next_payload(client) == b"online"


async def test_subscriptions_come_back_with_the_broker(broker: Broker, pool: Pool) -> None:
    """Also where the broker has forgotten everything."""
    broker.start()
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    link = link_to(broker, pool)
    link.on(TOPICS.commands, lambda message: arrived.put_nowait(message.payload))
    async with running(link):
        await connected(link)
        for payload in (b"1", b"2", b"3"):
            broker.stop()
            await until(link, lambda state: not state.is_connected)
            broker.start()
            await connected(link)
            async with observer(broker.port) as client:
                await client.publish(TOPICS.command("say"), payload, qos=1)
            async with asyncio.timeout(WAIT_S):
                assert await arrived.get() == payload
        assert link.state.connects == 4


async def test_messages_wait_in_the_session(broker: Broker, pool: Pool) -> None:
    """What is sent at QoS 1 while the device is away is there when it comes back."""
    broker.start()
    received: list[Incoming] = []
    first, second = link_to(broker, pool), link_to(broker, pool)
    for link in (first, second):
        link.on(TOPICS.commands, received.append)
    async with running(first):
        await connected(first)
    async with observer(broker.port) as client:
        await client.publish(TOPICS.command("say"), b"hello", qos=1)
    async with running(second):
        await eventually(lambda: bool(received))
    assert [message.payload for message in received] == [b"hello"]


async def test_a_command_comes_with_all_that_belongs_to_it(broker: Broker, pool: Pool) -> None:
    """Response topic, correlation data and user properties; a response topic with wildcards is none."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    broker.start()
    received: list[Incoming] = []
    link = link_to(broker, pool)
    link.on(TOPICS.commands, received.append)
    async with running(link), observer(broker.port) as client:
        await connected(link)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = "operator/answers"
        properties.CorrelationData = b"\x00\x01"
        properties.UserProperty = [("sender", "anna")]
        await client.publish(TOPICS.command("say"), b"{}", qos=1, properties=properties)
        await eventually(lambda: bool(received))
    assert received == [
        Incoming(
            TOPICS.command("say"),
            b"{}",
            1,
            is_retained=False,
            response_topic="operator/answers",
            correlation_data=b"\x00\x01",
            user_properties=(("sender", "anna"),),
        )
    ]


async def test_publishing_without_a_connection_fails_at_once(broker: Broker, pool: Pool) -> None:
    """And nothing of it lingers and is sent later."""
    link = link_to(broker, pool)
    async with running(link):
        await failed(link)
        for _ in range(300):
            with pytest.raises(NotConnectedError):
                await link.publish(WELL, b"old", qos=1)
        broker.start()
        async with observer(broker.port, WELL) as client:
            await connected(link)
            await link.publish(WELL, b"new", qos=1)
            assert await next_payload(client) == b"new"


async def test_a_second_client_takes_the_id_and_keeps_it(
    broker: Broker, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one finds out when it comes back, says so, once, and leaves the session for a minute at the least."""
    broker.start()
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if pause_s >= 60:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.3)

    first = BrokerLink(config_for(broker.port), TOPICS, pool, sleep=sleep)
    second = link_to(broker, pool)
    with caplog.at_level(logging.WARNING):
        async with running(first):
            await connected(first)
            async with running(second):
                state = await until(first, lambda state: state.taken_over == 1)
                await until(second, lambda state: state.is_connected and state.connects == 2)
                async with observer(broker.port, TOPICS.availability) as client:
                    assert await next_payload(client) == b"online"
                await second.publish(WELL, b"{}", qos=1)
    assert "gave the session to another client with the same id" in state.reason
    assert len(pauses) == 2
    assert 60 <= pauses[1] <= 120
    assert sum("another client" in record.message for record in caplog.records) == 1


async def test_a_broker_that_says_who_has_the_session_is_believed(pool: Pool) -> None:
    """Reason code 0x8E, which newer brokers send, needs no second look; each time the pause doubles."""
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 4:
            await asyncio.get_running_loop().create_future()

    async with serving(b"\x20\x03\x00\x00\x00\xe0\x02\x8e\x00") as port:
        link = BrokerLink(config_for(port), TOPICS, pool, sleep=sleep)
        async with running(link):
            await until(link, lambda state: state.taken_over == 4)
    assert all(60 * 2**at <= pause_s <= 120 * 2**at for at, pause_s in enumerate(pauses))


async def test_a_refused_subscription_is_said(pool: Pool) -> None:
    """The connection stays: whatever else is allowed goes on."""
    async with serving(b"\x20\x03\x00\x00\x00", b"\x90\x04\x00\x01\x00\x87", after_s=0.2) as port:
        link = BrokerLink(config_for(port), TOPICS, pool, is_guest=True)
        link.on("edge-agent-fleet/config/desired", lambda _: None)
        async with running(link):
            state = await connected(link)
    assert state.reason.startswith("the subscription to edge-agent-fleet/config/desired is refused: the broker does")


async def test_a_guest_leaves_the_device_alone(broker: Broker, pool: Pool) -> None:
    """A command beside the service neither takes its session nor says that it is offline."""
    broker.start()
    service = link_to(broker, pool)
    guest = BrokerLink(config_for(broker.port), TOPICS, pool, is_guest=True, patience=QUICK)
    async with running(service):
        await connected(service)
        async with running(guest):
            await connected(guest)
            await guest.publish(TOPICS.event("order"), b"{}", qos=1)
        assert service.state.connects == 1
        async with observer(broker.port, TOPICS.availability) as client:
            assert await next_payload(client) == b"online"


@pytest.mark.parametrize("answer", [b"", b"\x20", b"\x20\x80"])
async def test_a_broker_that_never_answers_is_given_up(pool: Pool, answer: bytes) -> None:
    """It takes the connection and says nothing, or not all; the loop goes on, and the reason is said."""
    patience = Patience(connect_s=0.3, first_retry_s=0.01, longest_retry_s=0.01)
    async with serving(answer) as port:
        link = BrokerLink(config_for(port), TOPICS, pool, patience=patience)
        async with running(link):
            assert await failed(link) == "takes the connection and does not answer within 0.3 s"


async def test_a_broker_that_never_shakes_hands_is_given_up(pool: Pool) -> None:
    """With TLS the thread that waits for it is woken as well."""
    patience = Patience(connect_s=0.3, first_retry_s=0.01, longest_retry_s=0.01)
    async with serving(b"") as port:
        link = BrokerLink(config_for(port, tls={"enabled": True}), TOPICS, pool, patience=patience)
        async with running(link):
            assert await failed(link) == "does not answer within 0.3 s"
        await eventually(lambda: not pool.statistics().busy)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers with something that is not MQTT"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "answers with TLS where plain text is expected"),
        (b"\x20\x02\x00\x01", "speaks no MQTT 5"),
        (b"\x20\xff\xff\xff\x7f", "sent a packet of 268435455 bytes"),
        (b"\x20\xff\xff\xff\xff\x7f", "sent a length that MQTT does not know"),
        (b"\x20\x03\x00\x87\x00", "does not authorise this"),
        (b"\x20\x03\x00\x00\x00\x34\x06\x00\x01a\x00\x01\x00", "sent a message of QoS 2"),
        (b"\x20\x03\x00\x00\x00\xe0\x02\x8b\x00", "shuts down"),
        (b"\x20\x03\x00\x00\x00\x90\x01\x00", "sent something that is not MQTT 5"),
        (b"\x20\x03\x00\x00\x00\x00\x00", "sent something that is not MQTT 5"),
    ],
)
async def test_a_peer_that_is_no_good_broker_is_named_as_such(pool: Pool, answer: bytes, reason: str) -> None:
    """Each gets its reason in words, none costs memory or the loop."""
    async with serving(answer) as port:
        link = BrokerLink(config_for(port), TOPICS, pool, patience=Patience(connect_s=2.0, answer_s=1.0))
        async with running(link):
            assert reason in await failed(link)


async def test_noise_from_a_broker_costs_the_connection_and_no_more(pool: Pool) -> None:
    """Random and mutated packets after a proper welcome: each time there is a reason, and the link tries again."""
    rng = random.Random(11)
    packets = [
        b"\x90\x04\x00\x01\x00\x00",
        b"\xb0\x04\x00\x02\x00\x00",
        b"\x30\x0c\x00\x05a/b/c\x00abcd",
        b"\x32\x12\x00\x05a/b/c\x00\x07\x04\x26\x00\x01a\x00\x01bX",
        b"\x40\x02\x00\x01",
        b"\xe0\x02\x8b\x00",
        b"\xd0\x00",
    ]
    welcomes = 0

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal welcomes
        with suppress(OSError):
            await reader.read(1)
            welcomes += 1
            noise = bytearray(b"".join(rng.choices(packets, k=rng.randint(1, 4))))
            for _ in range(rng.randint(0, 6)):
                noise[rng.randrange(len(noise))] = rng.randrange(256)
            writer.write(b"\x20\x03\x00\x00\x00" + noise)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reasons: set[str] = set()
    link = BrokerLink(
        config_for(port), TOPICS, pool, patience=Patience(1.0, 1.0, first_retry_s=0.001, longest_retry_s=0.001)
    )
    link.on("#", lambda _: None)
    link.watch(lambda state: reasons.add(state.reason))
    async with running(link):
        await eventually(lambda: welcomes >= 300)
        assert not link.state.is_connected
    server.close()
    await server.wait_closed()
    assert all(reason and "\n" not in reason for reason in reasons)
    assert "sent something that is not MQTT 5" in reasons


async def test_a_frozen_broker_costs_a_bounded_time(broker: Broker, pool: Pool) -> None:
    """What was published fails after the time for an answer, and the link connects anew when the broker thaws."""
    broker.start()
    patience = Patience(connect_s=0.5, answer_s=0.5, first_retry_s=0.05, longest_retry_s=0.1)
    link = BrokerLink(config_for(broker.port), TOPICS, pool, patience=patience)
    async with running(link):
        await connected(link)
        broker.freeze()
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(BrokerError, match=r"does not answer within 0\.5 s"):
                await link.publish(WELL, b"{}", qos=1)
        await until(link, lambda state: not state.is_connected)
        broker.thaw()
        await connected(link)
        await link.publish(WELL, b"{}", qos=1)


async def test_what_the_broker_refuses_is_not_taken_for_sent(
    make_broker: MakeBroker, pool: Pool, tmp_path: Path
) -> None:
    """Publishing raises with the broker's reason."""
    broker = make_broker(
        users={"kitchen": "secret"},
        acl=["user kitchen", "topic write edge-agent/kitchen/status", "topic write edge-agent/kitchen/availability"],
    )
    broker.start()
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    link = link_to(broker, pool, username="kitchen", password_file=str(password))
    async with running(link):
        await connected(link)
        await link.publish(WELL, b"{}", qos=1)
        with pytest.raises(BrokerError, match="does not authorise this") as caught:
            await link.publish("edge-agent/bath/status", b"{}", qos=1)
    assert caught.value.code == 0x87


async def test_a_wrong_password_is_said_once(
    make_broker: MakeBroker, pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried; the password itself is nowhere."""
    broker = make_broker(users={"kitchen": "secret"})
    broker.start()
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    password.chmod(0o600)
    attempts = 0

    async def sleep(pause_s: float) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)

    config = config_for(broker.port, username="kitchen", password_file=str(password))
    link = BrokerLink(config, TOPICS, pool, sleep=sleep)
    with caplog.at_level(logging.DEBUG):
        async with running(link):
            await eventually(lambda: attempts >= 5)
    assert (
        "check mqtt.username and mqtt.password_file" in link.state.reason or "does not authorise" in link.state.reason
    )
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1
    assert "hunter2" not in caplog.text


async def test_wrong_files_are_said_at_the_start_and_do_not_end_the_loop(pool: Pool, tmp_path: Path) -> None:
    """The key is named, by the check and in the state."""
    config = config_for(1, tls={"enabled": True, "ca_file": str(tmp_path / "absent.pem")})
    link = BrokerLink(config, TOPICS, pool, patience=QUICK)
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.ca_file: can't be read: No such file"):
        await link.check_files()
    async with running(link):
        assert "mqtt.tls.ca_file" in await failed(link)


async def test_a_name_that_nobody_knows_is_said(pool: Pool) -> None:
    """With the remedy."""
    config = config_for(1).model_copy(update={"host": "broker.invalid"})
    link = BrokerLink(config, TOPICS, pool, patience=QUICK)
    async with running(link):
        reason = await failed(link)
    assert "check mqtt.host and the network" in reason or "does not answer" in reason


async def test_a_broker_that_is_not_there_is_said(pool: Pool) -> None:
    """With the remedy."""
    link = BrokerLink(config_for(1), TOPICS, pool, patience=QUICK)
    async with running(link):
        assert "no broker listens there" in await failed(link)


async def test_pauses_grow_until_a_connection_lasts(broker: Broker, pool: Pool) -> None:
    """A broker that takes each connection and drops it is asked less and less often."""
    broker.start()
    pauses: list[float] = []
    enough = asyncio.Event()

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 8:
            enough.set()
            await asyncio.get_running_loop().create_future()

    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    link = BrokerLink(config_for(broker.port), TOPICS, pool, rng=Highest(), sleep=sleep)

    def drop(state: LinkState) -> None:
        if state.is_connected:
            assert link._client is not None
            link._client._gate._socket.shutdown(2)

    link.watch(drop)
    async with running(link), asyncio.timeout(WAIT_S):
        await enough.wait()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert link.state.connects == 8


async def test_a_huge_message_costs_no_memory(broker: Broker, pool: Pool) -> None:
    """The broker keeps 64 MiB from a device that takes 1 MiB; what is above the handler's bound is reported."""
    broker.start()
    received: list[int] = []
    refused: list[str] = []
    link = link_to(broker, pool)
    link.on(
        TOPICS.commands,
        lambda message: received.append(len(message.payload)),
        on_refused=lambda topic, reason: refused.append(f"{topic} {reason}"),
    )
    async with running(link):
        await connected(link)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for size in (64 << 20, (1 << 20) + 1, 100_000, 2000):
            await publish_elsewhere(broker.port, TOPICS.command("say"), size)
        await eventually(lambda: bool(received))
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        assert link.state.connects == 1
    assert received == [2000]
    assert refused == ["edge-agent/kitchen/command/say is 100000 bytes long; at most 65536 are read"]
    assert grown_kib < 16 << 10


async def publish_elsewhere(port: int, topic: str, size: int) -> None:
    """Publish zeros, retained, from a process of their own."""
    program = (
        "import sys, paho.mqtt.publish as p\n"
        "p.single(sys.argv[2], bytes(int(sys.argv[3])), 1, True, '127.0.0.1', int(sys.argv[1]))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(port), topic, str(size))
    assert await process.wait() == 0


async def test_a_handler_that_raises_costs_its_message_only(
    broker: Broker, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays, and so does the next message."""
    broker.start()
    received: list[bytes] = []

    def handle(message: Incoming) -> None:
        if message.payload == b"bad":
            raise ValueError("of the handler's own")
        received.append(message.payload)

    link = link_to(broker, pool)
    link.on(TOPICS.commands, handle)
    async with running(link), observer(broker.port) as client:
        await connected(link)
        for payload in (b"bad", b"good"):
            await client.publish(TOPICS.command("say"), payload, qos=1)
        await eventually(lambda: bool(received))
        assert link.state.connects == 1
    assert "a message to 'edge-agent/kitchen/command/say' was not handled" in caplog.text


async def test_stopping_is_quick_whatever_the_broker_does(broker: Broker, pool: Pool) -> None:
    """A frozen broker is not waited for longer than the farewell takes."""
    broker.start()
    patience = Patience(farewell_s=0.2)
    link = BrokerLink(config_for(broker.port), TOPICS, pool, patience=patience)
    task = asyncio.create_task(link.run_loop())
    await connected(link)
    broker.freeze()
    task.cancel()
    began_s = time.monotonic()
    await asyncio.wait({task})
    assert task.cancelled()
    assert time.monotonic() - began_s < WAIT_S
    broker.stop()


def test_the_client_cannot_dial_by_itself() -> None:
    """Should paho ever ignore the socket that it is given, it gets nowhere, least of all without TLS."""
    from edge_agent.mqtt import client

    assert client._NOWHERE.endswith(".invalid")
    with pytest.raises(socket.gaierror):
        socket.create_connection((client._NOWHERE, 1883), timeout=1)
