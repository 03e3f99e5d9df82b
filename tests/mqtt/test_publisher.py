"""Events of custom intents on a real broker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
from pathlib import Path

import aiomqtt
import pytest
from mosquitto_broker import Broker

from edge_agent.config.engines import MqttConfig
from edge_agent.errors import ConfigError
from edge_agent.mqtt.identity import default_device_id
from edge_agent.mqtt.publisher import MqttPublisher, read_password


async def receive(port: int, count: int, subscribed: asyncio.Event) -> list[tuple[str, dict[str, object]]]:
    """Subscribe to all events and return the first `count`."""
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("edge-agent/+/event/#", qos=1)
        subscribed.set()
        received = []
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            received.append((message.topic.value, json.loads(message.payload)))
            if len(received) == count:
                break
    return received


async def test_events_arrive_in_order_with_their_slots(broker: Broker) -> None:
    """Topic, slots and order are as published, and every event has an id of its own."""
    broker.start()
    publisher = MqttPublisher(MqttConfig(host="127.0.0.1", port=broker.port), "kitchen")
    subscribed = asyncio.Event()
    receiving = asyncio.create_task(receive(broker.port, 3, subscribed))
    await subscribed.wait()
    for size in ("small", "large", "huge"):
        publisher.publish("order", {"size": size, "shots": 2})
    publisher.close()
    await publisher.send_loop()
    received = await receiving
    assert [topic for topic, _ in received] == ["edge-agent/kitchen/event/order"] * 3
    assert [event["slots"] for _, event in received] == [
        {"size": "small", "shots": 2},
        {"size": "large", "shots": 2},
        {"size": "huge", "shots": 2},
    ]
    assert len({str(event["id"]) for _, event in received}) == 3
    assert publisher.waiting == 0


async def test_events_wait_for_a_broker_that_is_away(broker: Broker) -> None:
    """Published before the broker is there, they are sent when it comes."""
    publisher = MqttPublisher(MqttConfig(host="127.0.0.1", port=broker.port), "kitchen")
    publisher.publish("early", {})
    sending = asyncio.create_task(publisher.send_loop())
    await asyncio.sleep(0.05)
    assert publisher.waiting == 1
    await asyncio.to_thread(broker.start)
    publisher.close()
    await sending
    assert publisher.waiting == 0


def test_the_queue_is_bounded() -> None:
    """With no broker for long, the oldest events go, and they are counted."""

    async def fill() -> MqttPublisher:
        publisher = MqttPublisher(MqttConfig(host="127.0.0.1"), "kitchen")
        for number in range(1005):
            publisher.publish("event", {"number": number})
        return publisher

    publisher = asyncio.run(fill())
    assert (publisher.waiting, publisher.dropped) == (1000, 5)


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """The error names the file and the remedy, and not the password."""
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        read_password(path)
    assert "hunter2" not in str(caught.value)
    path.chmod(0o600)
    assert read_password(path) == "hunter2"
    with pytest.raises(ConfigError, match=r"absent.*No such file"):
        read_password(tmp_path / "absent")


def test_the_device_id_hides_the_machine_id(tmp_path: Path) -> None:
    """Host name and six digits of a hash; the host name alone where there is no machine-id."""
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    digits = hashlib.sha256(b"0123456789abcdef0123456789abcdef").hexdigest()[:6]
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    assert default_device_id(path) == f"{host}-{digits}"
    assert default_device_id(tmp_path / "absent") == host
