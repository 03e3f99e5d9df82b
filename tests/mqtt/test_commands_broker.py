"""Commands, status and discovery through a real mosquitto and the real link."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.client import Properties  # type: ignore[attr-defined]
from controls_double import ControlsDouble
from doubles import until
from home_assistant import check_document, command, shown
from mosquitto_broker import Broker
from paho.mqtt.packettypes import PacketTypes

from edge_agent.config.mqtt import HomeAssistantConfig, MqttConfig
from edge_agent.mqtt.command_memory import CommandMemory
from edge_agent.mqtt.command_request import MOST_COMMAND_BYTES
from edge_agent.mqtt.commands import Commands
from edge_agent.mqtt.discovery import Discovery
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.telling import Telling
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.store.commands import CommandStore
from edge_agent.store.database import Database
from edge_agent.store.retained import RetainedStore

TOPICS = Topics("kitchen")


class NoEvents:
    """Takes events nowhere."""

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Forget it."""


@asynccontextmanager
async def a_device(
    broker: Broker, directory: Path, pool: Pool, *, in_home_assistant: bool = True
) -> AsyncIterator[ControlsDouble]:
    """A device whose controls only note, on a real link."""
    controls = ControlsDouble()
    config = HomeAssistantConfig(enabled=in_home_assistant, name="Kitchen")
    async with Database(directory / "state.db", pool) as database:
        link = BrokerLink(MqttConfig(host="127.0.0.1", port=broker.port), TOPICS, pool)
        memory = CommandMemory(CommandStore(database), lambda _: None)
        commands = Commands(link, TOPICS, controls, memory, Metrics(), per_minute=6000)
        link.on(TOPICS.commands, commands.receive, most_bytes=MOST_COMMAND_BYTES)
        telling = Telling(
            link,
            TOPICS,
            NoEvents(),
            describe=lambda: {"state": "idle", "muted": False, "volume": 40, "problems": []},
            report=dict,
            publish_text=False,
            metrics_every_s=0,
        )
        discovery = Discovery(link, TOPICS, config, RetainedStore(database), version="1", takes_commands=True)
        loops = [
            asyncio.create_task(work(), name=name)
            for name, work in (
                ("link", link.run_loop),
                ("commands", commands.run_loop),
                ("telling", telling.run_loop),
                ("discovery", discovery.run_loop),
            )
        ]
        try:
            await until(lambda: link.state.is_connected)
            yield controls
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)


class Client:
    """Somebody who sends commands and reads everything."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.messages: list[aiomqtt.Message] = []

    async def read_loop(self) -> None:
        """Keep what comes."""
        async for message in self._client.messages:
            self.messages.append(message)

    async def send(
        self, topic: str, payload: bytes, response: str = "", correlation: bytes = b"", *, retain: bool = False
    ) -> None:
        """Send a command."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if response:
            properties.ResponseTopic, properties.CorrelationData = response, correlation
        await self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def at(self, topic: str) -> list[aiomqtt.Message]:
        """Return what came at a topic."""
        return [message for message in self.messages if message.topic.value == topic]

    async def wait_for(self, topic: str, number: int = 0) -> aiomqtt.Message:
        """Wait for a message at a topic."""
        await until(lambda: len(self.at(topic)) > number)
        return self.at(topic)[number]


@asynccontextmanager
async def a_client(broker: Broker) -> AsyncIterator[Client]:
    """Subscribed to everything."""
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        reader = Client(client)
        await client.subscribe("#", qos=1)
        reading = asyncio.create_task(reader.read_loop())
        try:
            yield reader
        finally:
            reading.cancel()
            await asyncio.wait({reading})


def parsed(message: aiomqtt.Message) -> dict[str, Any]:
    """The payload as JSON."""
    assert isinstance(message.payload, bytes)
    data: dict[str, Any] = json.loads(message.payload)
    return data


async def test_a_command_and_its_result_by_response_topic(broker: Broker, tmp_path: Path, file_pool: Pool) -> None:
    """Correlated; sent again it is answered again and not done again."""
    broker.start()
    async with a_device(broker, tmp_path, file_pool) as controls, a_client(broker) as client:
        for number in range(2):
            await client.send(TOPICS.command("say"), b'{"id":"1","args":{"text":"hello"}}', "replies/me", b"\x01\x02")
            message = await client.wait_for("replies/me", number)
            assert message.properties is not None
            assert message.properties.CorrelationData == b"\x01\x02"  # type: ignore[attr-defined]
            assert parsed(message) == {"id": "1", "ok": True, "error": None, "data": {"interrupted": False}}
        assert controls.calls == [("say", "hello")]
        assert client.at(TOPICS.result("say")) == []


async def test_a_result_cannot_become_a_command(broker: Broker, tmp_path: Path, file_pool: Pool) -> None:
    """A response topic at the controls is refused, here and at other devices."""
    broker.start()
    async with a_device(broker, tmp_path, file_pool) as controls, a_client(broker) as client:
        for number, topic in enumerate(
            (TOPICS.command("stop"), "edge-agent/other/command/stop", "edge-agent-fleet/config/desired")
        ):
            await client.send(TOPICS.command("ask"), f'{{"id":"{number}","args":{{"text":"x"}}}}'.encode(), topic)
            result = parsed(await client.wait_for(TOPICS.result("ask"), number))
            assert result["error"]["code"] == "bad_request"
            assert client.at(topic) == []
        assert controls.calls == []


async def test_a_retained_command_is_refused_at_every_connection(
    broker: Broker, tmp_path: Path, file_pool: Pool
) -> None:
    """It never runs."""
    broker.start()
    async with a_client(broker) as client:
        await client.send(TOPICS.command("restart"), b'{"id":"1"}', retain=True)
        for number in range(2):
            async with a_device(broker, tmp_path, file_pool) as controls:
                result = parsed(await client.wait_for(TOPICS.result("restart"), number))
                assert result["error"]["code"] == "retained"
                assert (controls.calls, controls.restarts) == ([], 0)


async def test_home_assistant_finds_the_device_and_loses_it(broker: Broker, tmp_path: Path, file_pool: Pool) -> None:
    """Its switch works; switched off, nothing of the document is left at the broker."""
    broker.start()
    topic = "homeassistant/device/kitchen/config"
    async with a_device(broker, tmp_path, file_pool) as controls, a_client(broker) as client:
        message = await client.wait_for(topic)
        assert isinstance(message.payload, bytes)
        document = check_document(topic, message.payload, "homeassistant")
        status = await client.wait_for(document["components"]["state"]["state_topic"])
        assert shown(document["components"]["volume"], parsed(status)) == 40.0
        await client.send(*command(document["components"]["mute"], "ON"))
        await until(lambda: controls.calls == [("mute", True)])
        assert (await client.wait_for(document["availability_topic"])).payload == b"online"
    async with a_client(broker) as client:
        assert (await client.wait_for(topic)).retain
        assert (await client.wait_for(TOPICS.availability)).payload == b"offline"
        async with a_device(broker, tmp_path, file_pool, in_home_assistant=False):
            assert (await client.wait_for(topic, 1)).payload == b""
    async with a_client(broker) as client:
        await client.wait_for(TOPICS.status)
        assert client.at(topic) == []
