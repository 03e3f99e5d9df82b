"""The device in Home Assistant: by the rules, with commands that are understood, and gone when it is switched off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles import until
from home_assistant import check_document, command, shown
from link_double import LinkDouble
from virtual_time import in_virtual_time

from edge_agent.config.mqtt import HomeAssistantConfig
from edge_agent.errors import StoreError
from edge_agent.mqtt.command_args import MuteArgs, NoArgs, SayArgs, VolumeArgs
from edge_agent.mqtt.command_request import read_request
from edge_agent.mqtt.discovery import Discovery, discovery_payload, discovery_topic
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database
from edge_agent.store.retained import RetainedStore

TOPICS = Topics("kitchen-a1b2c3")
ON = HomeAssistantConfig(enabled=True, name="Kitchen")
OFF = HomeAssistantConfig(enabled=False)
STATUS = {
    "state": "idle",
    "muted": False,
    "volume": 40,
    "temperature_c": 51.0,
    "problem": False,
    "problems": [],
    "last_turn_delay_ms": 480,
    "faults": [],
}


def document(config: HomeAssistantConfig = ON, *, takes_commands: bool = True) -> dict[str, Any]:
    """The document, checked by Home Assistant's rules."""
    topic = discovery_topic(TOPICS, config.prefix)
    payload = discovery_payload(TOPICS, config, version="1.2.3", takes_commands=takes_commands)
    return check_document(topic, payload, config.prefix)


def test_the_document_keeps_home_assistants_rules() -> None:
    """All ten entities, the device, where it comes from, and when it is there."""
    found = document()
    assert set(found["components"]) == {
        "state",
        "delay",
        "temperature",
        "problem",
        "microphone_problem",
        "speaker_problem",
        "mute",
        "volume",
        "say",
        "restart",
    }
    assert found["device"]["name"] == "Kitchen"
    assert found["device"]["identifiers"] == ["edge_agent_kitchen-a1b2c3"]
    assert found["origin"] == {"name": "edge-agent", "sw_version": "1.2.3"}
    assert found["availability_topic"] == TOPICS.availability
    assert (found["payload_available"], found["payload_not_available"]) == ("online", "offline")


@pytest.mark.parametrize("prefix", ["homeassistant", "home/ha", "ä ö"])
def test_any_prefix_and_device_will_do(prefix: str) -> None:
    """Without a name of its own the device is called by its id."""
    found = document(HomeAssistantConfig(enabled=True, prefix=prefix))
    assert found["device"]["name"] == "kitchen-a1b2c3"


def test_a_shared_state_topic_would_reach_entities_without_state() -> None:
    """So there is none: Home Assistant hands it down to all, and `say` would show the whole status."""
    found = document()
    assert "state_topic" not in found
    assert "state_topic" not in found["components"]["say"]


def test_without_commands_their_entities_are_removed() -> None:
    """By a component that says nothing but its platform."""
    components = document(takes_commands=False)["components"]
    assert components["say"] == {"platform": "text"}
    assert components["mute"] == {"platform": "switch"}
    assert components["volume"] == {"platform": "number"}
    assert components["restart"] == {"platform": "button"}
    assert components["state"]["state_topic"] == TOPICS.status


def test_entities_show_what_the_status_says() -> None:
    """Each by its template."""
    components = document()["components"]
    assert shown(components["state"], STATUS) == "idle"
    assert shown(components["delay"], STATUS) == 480.0
    assert shown(components["temperature"], STATUS) == 51.0
    for key in ("problem", "microphone_problem", "speaker_problem"):
        assert shown(components[key], STATUS) is False
    deaf = {**STATUS, "problem": True, "problems": ["microphone"]}
    assert [shown(components[key], deaf) for key in ("microphone_problem", "speaker_problem")] == [True, False]
    assert shown(components["mute"], STATUS) is False
    assert shown(components["volume"], STATUS) == 40.0
    other = {**STATUS, "muted": True, "problem": True, "temperature_c": None, "last_turn_delay_ms": None}
    assert shown(components["problem"], other) is True
    assert shown(components["mute"], other) is True
    assert shown(components["temperature"], other) is None
    assert shown(components["delay"], other) is None


@pytest.mark.parametrize(
    "text",
    [
        "Dinner is ready.",
        'She said "now" \\ and {left}',
        "{{ states('lock.door') }} {% raw %}",
        "it's <b>&amp;</b>",
        "zwei\nZeilen",
        "grüße 🙂 你好",
    ],
)
def test_whatever_is_typed_arrives_as_it_was_typed(text: str) -> None:
    """Quotation marks, braces, line breaks, any script."""
    topic, payload = command(document()["components"]["say"], text)
    assert topic == TOPICS.command("say")
    assert read_request("say", payload).args == SayArgs(text=text)


@pytest.mark.parametrize(
    ("key", "value", "name", "args"),
    [
        ("mute", "ON", "mute", MuteArgs(muted=True)),
        ("mute", "OFF", "mute", MuteArgs(muted=False)),
        ("volume", 30, "volume", VolumeArgs(percent=30)),
        ("volume", 30.0, "volume", VolumeArgs(percent=30)),
        ("volume", 0, "volume", VolumeArgs(percent=0)),
        ("restart", "PRESS", "restart", NoArgs()),
    ],
)
def test_switch_number_and_button_send_commands(key: str, value: object, name: str, args: object) -> None:
    """On the command's topic, in its form."""
    topic, payload = command(document()["components"][key], value)
    assert topic == TOPICS.command(name)
    assert read_request(name, payload).args == args


def test_every_press_is_a_command_of_its_own() -> None:
    """No two have the same id, also within a moment."""
    button = document()["components"]["restart"]
    ids = {json.loads(command(button, "PRESS")[1])["id"] for _ in range(50)}
    assert len(ids) == 50


class Rig:
    """Discovery on a link."""

    def __init__(self, store: RetainedStore | None, config: HomeAssistantConfig, topics: Topics = TOPICS) -> None:
        self.link = LinkDouble()
        self.topic = discovery_topic(topics, config.prefix)
        self.discovery = Discovery(self.link, topics, config, store, version="1", takes_commands=True)

    @property
    def published(self) -> list[tuple[str, bool]]:
        """Topics, and whether something was left there."""
        assert all(message.is_retained and message.qos == 1 for message in self.link.published)
        return [(message.topic, bool(message.payload)) for message in self.link.published]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Publish."""
        running = asyncio.create_task(self.discovery.run_loop(), name="discovery")
        try:
            yield running
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.fixture
async def store(tmp_path: Path, file_pool: Pool) -> AsyncIterator[RetainedStore]:
    """An empty store."""
    async with Database(tmp_path / "state.db", file_pool) as database:
        yield RetainedStore(database)


async def remembered(store: RetainedStore) -> None:
    """Wait until something is in the store; bounded."""
    for _ in range(2000):
        if await store.all():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("nothing is remembered")


async def test_it_is_published_at_every_connection(store: RetainedStore) -> None:
    """A broker that forgot it gets it again."""
    rig = Rig(store, ON)
    async with rig.running():
        await until(lambda: len(rig.published) == 1)
        rig.link.set_connected(False)
        rig.link.set_connected(True)
        await until(lambda: len(rig.published) == 2)
    assert rig.published == [(rig.topic, True)] * 2
    assert await store.all() == {rig.topic}


async def test_switched_off_it_is_taken_back_once(store: RetainedStore) -> None:
    """By the process that comes after; then it is over."""
    await store.add(discovery_topic(TOPICS, "homeassistant"))
    rig = Rig(store, OFF)
    async with rig.running() as running:
        await asyncio.wait({running}, timeout=5)
        assert running.done()
    assert rig.published == [(rig.topic, False)]
    assert await store.all() == frozenset()
    again = Rig(store, OFF)
    await again.discovery.run_loop()
    assert again.published == []


async def test_under_another_name_or_prefix_the_old_one_is_taken_back(store: RetainedStore) -> None:
    """Before the new one appears."""
    async with Rig(store, ON).running():
        await remembered(store)
    rig = Rig(store, HomeAssistantConfig(enabled=True, prefix="ha"), Topics("hall"))
    async with rig.running():
        await until(lambda: len(rig.published) == 2)
    assert rig.published == [("homeassistant/device/kitchen-a1b2c3/config", False), ("ha/device/hall/config", True)]
    assert await store.all() == {"ha/device/hall/config"}


async def test_it_is_remembered_before_it_is_published(store: RetainedStore) -> None:
    """A power cut in between costs an empty message, not a ghost."""
    rig = Rig(store, ON)
    rig.link.set_connected(False)
    async with rig.running():
        await remembered(store)
    assert rig.published == []


async def test_without_a_disk_it_is_taken_back_at_the_first_connection() -> None:
    """Nobody knows whether there is one."""
    rig = Rig(None, OFF)
    await rig.discovery.run_loop()
    assert rig.published == [(rig.topic, False)]


@in_virtual_time
async def test_a_broker_that_refuses_is_asked_again() -> None:
    """The reason is in the log."""
    rig = Rig(None, ON)
    rig.link.refused.add(rig.topic)
    async with rig.running():
        await asyncio.sleep(12)
        assert rig.published == []
        rig.link.refused.clear()
        await asyncio.sleep(6)
        assert rig.published == [(rig.topic, True)]


@in_virtual_time
async def test_a_topic_that_may_not_be_cleared_hinders_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The new document is published all the same; the refusal is logged once, and tried ever more rarely."""

    class LeftStore(RetainedStore):
        async def all(self) -> frozenset[str]:
            return frozenset({"old/device/x/config"})

        async def add(self, topic: str) -> None:
            pass

    rig = Rig(LeftStore(None), ON)  # type: ignore[arg-type]
    rig.link.refused.add("old/device/x/config")
    async with rig.running():
        await asyncio.sleep(3600)
    assert 1 <= len(rig.published) < 20
    assert set(rig.published) == {(rig.topic, True)}
    assert len([record for record in caplog.records if "old/device/x/config" in record.message]) == 1


async def test_a_disk_that_fails_costs_the_memory_alone() -> None:
    """The device appears all the same."""

    class BrokenStore(RetainedStore):
        async def all(self) -> frozenset[str]:
            raise StoreError(Path("x.db"), "the disk is full")

    rig = Rig(BrokenStore(None), ON)  # type: ignore[arg-type]
    async with rig.running():
        await until(lambda: rig.published == [(rig.topic, True)])
