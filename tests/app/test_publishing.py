"""Events of custom intents on their way through database and broker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import pytest
from broker_link import WAIT_S, eventually, observer
from mosquitto_broker import Broker

from edge_agent.app.event_store import DatabaseEventStore
from edge_agent.app.publishing import LogPublisher, make_topics, open_publisher
from edge_agent.config.mqtt import MqttConfig
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigError
from edge_agent.mqtt.events import AGELESS, EventOutbox, QueuedEvent
from edge_agent.store.database import Database

if TYPE_CHECKING:
    from edge_agent.runtime.pool import Pool


def config_of(port: int, **mqtt: object) -> Config:
    """Return a configuration with a broker on this machine."""
    return Config.model_validate({"device_id": "kitchen", "mqtt": {"host": "127.0.0.1", "port": port, **mqtt}})


async def take(client: aiomqtt.Client, count: int) -> list[dict[str, object]]:
    """Return the slots of the next events."""
    async with asyncio.timeout(WAIT_S):
        return [json.loads(bytes((await anext(client.messages)).payload))["slots"] for _ in range(count)]


async def test_a_command_sends_its_events_before_it_ends(broker: Broker) -> None:
    """Beside a running service, in order, with their slots."""
    await asyncio.to_thread(broker.start)
    async with observer(broker.port, "edge-agent/kitchen/event/order", "edge-agent/kitchen/availability") as client:
        async with open_publisher(config_of(broker.port)) as publisher:
            for size in ("small", "large", "huge"):
                publisher.publish("order", {"size": size, "shots": 2})
        assert await take(client, 3) == [{"size": size, "shots": 2} for size in ("small", "large", "huge")]


async def test_events_wait_in_the_database_for_the_next_start(broker: Broker, tmp_path: Path, file_pool: Pool) -> None:
    """The broker was never there while they were made."""
    config = config_of(broker.port)
    async with Database(tmp_path / "state.db", file_pool) as database:
        async with open_publisher(config, database, is_guest=False) as publisher:
            publisher.publish("order", {"n": 1})
            await asyncio.sleep(0)
            publisher.publish("order", {"n": 2})
        assert (await DatabaseEventStore(database, config.mqtt).counts()).waiting == 2
        await asyncio.to_thread(broker.start)
        async with (
            observer(broker.port, "edge-agent/kitchen/event/#") as client,
            open_publisher(config, database, is_guest=False) as second,
        ):
            assert isinstance(second, EventOutbox)
            assert await take(client, 2) == [{"n": 1}, {"n": 2}]
            await eventually(lambda: second.counts.waiting == 0)
            second.publish("order", {"n": 3})
            assert await take(client, 1) == [{"n": 3}]


async def test_the_store_is_bounded_as_configured(tmp_path: Path, file_pool: Pool) -> None:
    """By count, and by bytes; an event that alone is too large costs itself and no other."""
    events = [QueuedEvent(str(number), "t", b"x" * 100, AGELESS) for number in range(5)]
    async with Database(tmp_path / "state.db", file_pool) as database:
        store = DatabaseEventStore(database, MqttConfig(outbox_messages=3, outbox_mib=0.01))
        assert await store.append([*events, QueuedEvent("big", "t", b"x" * 20_000, AGELESS)]) == 3
        assert [event.id for event in await store.peek(10)] == ["2", "3", "4"]
        assert await store.peek(1) == events[2:3]
        assert await store.remove(["2", "3"]) == 2


async def test_a_wrong_password_file_is_said_at_once(tmp_path: Path) -> None:
    """As one clear error, not a group of them."""
    config = config_of(1, username="kitchen", password_file=str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"mqtt\.password_file"):
        async with open_publisher(config):
            pass


async def test_an_error_of_the_caller_comes_out_as_it_is() -> None:
    """However many tasks run beside it."""
    with pytest.raises(ZeroDivisionError):
        async with open_publisher(config_of(1)):
            raise ZeroDivisionError


async def test_without_a_broker_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And goes nowhere."""
    async with open_publisher(Config()) as publisher:
        assert isinstance(publisher, LogPublisher)
        publisher.publish("order", {"size": "small"})
    assert "is not sent: mqtt.host is not configured" in caplog.text


def test_topics_are_the_configured_devices() -> None:
    """With its groups."""
    assert make_topics(Config(device_id="kitchen", groups=("downstairs",))).groups == ("downstairs",)
