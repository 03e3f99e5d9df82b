"""The whole device, its engines and sound doubles, on a real broker: begun, changed, and ended at awkward moments."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from agent_rig import House, furnish
from doubles import Notebook
from mosquitto_broker import Broker

from edge_agent.app.recorder import FlightRecorder
from edge_agent.app.remote import Means, RestartRequestedError, hold_device
from edge_agent.config.load import OwnConfig
from edge_agent.errors import BadInputError, EdgeAgentError
from edge_agent.store.revisions import Accepted, LayerRecord, RemoteState, RevisionStore

ROOT = "edge-agent/pi-1"
ENDS_WITHIN_S = 4.0


class Device:
    """A device in its house, through any number of starts.

    Attributes:
        levels: What the log's level was set to.
    """

    def __init__(self, home: Path, house: House) -> None:
        self.home, self.house = home, house
        self.notebook = Notebook()
        self.levels: list[str] = []
        self.revisions = RevisionStore(home / "state" / "remote.json")

    @asynccontextmanager
    async def starting(self, port: int = 0, **sections: Any) -> AsyncIterator[asyncio.Task[None]]:  # noqa: ANN401
        """Start it; leaving stops it by order, within the bound."""
        places = {name: str(self.home / name) for name in ("models", "cache", "state")}
        tree: dict[str, Any] = {
            "device_id": "pi-1",
            "cores": {"compute": 2},
            "directories": places,
            "gpio": {"driver": "simulated"},
            **sections,
        }
        if port:
            tree["mqtt"] = {"host": "127.0.0.1", "port": port}
        own = OwnConfig(tree, "config.toml", self.home)
        means = Means(self.notebook, FlightRecorder(own.under().recorder), set_log_level=self.levels.append)
        holding: asyncio.Task[None] = asyncio.create_task(hold_device(own, means), name="test.device")
        try:
            yield holding
        finally:
            holding.cancel()
            began_s = time.monotonic()
            await asyncio.wait({holding})
            assert time.monotonic() - began_s < ENDS_WITHIN_S
            error = None if holding.cancelled() else holding.exception()
            assert error is None or isinstance(error, EdgeAgentError), holding

    async def heard(self) -> None:
        """Wait until the microphone of this start delivers."""
        before = self.house.heard_frames
        async with asyncio.timeout(20):
            while self.house.heard_frames <= before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)

    async def kept(self) -> RemoteState:
        """Return what is on disk."""
        loaded = await asyncio.to_thread(self.revisions.load)
        assert not loaded.faults
        return loaded.state

    async def keep(self, patch: dict[str, Any], *, starts: int = 0) -> None:
        """Let a document have been accepted earlier."""
        record = LayerRecord(seen=7, accepted=Accepted(revision=7, patch=patch, digest="7"))
        state = RemoteState(layers={"device/pi-1": record}, starts=starts)
        await asyncio.to_thread(self.revisions.save, state)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """One that was never started."""
    house = House()
    furnish(monkeypatch, house)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Device(tmp_path, house)


@asynccontextmanager
async def operator(broker: Broker, *topics: str) -> AsyncIterator[aiomqtt.Client]:
    """Connect as somebody who looks after the device."""
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        for topic in topics:
            await client.subscribe(f"{ROOT}/{topic}", qos=1)
        yield client


async def desire(client: aiomqtt.Client, revision: int, patch: dict[str, Any]) -> None:
    """Ask for a configuration."""
    document = json.dumps({"revision": revision, "patch": patch})
    await client.publish(f"{ROOT}/config/desired", document, qos=1, retain=True)


async def reported(client: aiomqtt.Client, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a report, or whatever was subscribed to."""
    async with asyncio.timeout(30):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            found: dict[str, Any] = json.loads(message.payload)
            if fits(found):
                return found
    raise AssertionError("the client ended")


async def online(client: aiomqtt.Client) -> None:
    """Wait until the device has subscribed: it was subscribed to its availability first."""
    async with asyncio.timeout(30):
        async for message in client.messages:
            if message.payload == b"online":
                return


async def tried(device: Device) -> None:
    """Wait until a document is being tried."""
    async with asyncio.timeout(30):
        while (await device.kept()).trial is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_stopping_during_a_trial_is_not_the_documents_fault(device: Device, broker: Broker) -> None:
    """SIGTERM while a change proves itself ends the device in time, and the change may be tried once more."""
    broker.start()
    async with operator(broker, "config/reported") as client:
        async with device.starting(broker.port):
            await device.heard()
            await desire(client, 1, {"audio": {"input_device": "absent"}})
            await tried(device)
            await asyncio.sleep(0.5)
        state = await device.kept()
        assert state.trial is not None
        assert state.trial.attempts == 1
        assert state.record("device/pi-1").refused is None
        device.house.plugged.add("absent")
        async with device.starting(broker.port):
            report = await reported(client, lambda report: report["revisions"]["device"] == 1)
        assert report["outcome"] == "applied"


async def test_stopping_while_a_change_rebuilds_the_agent(
    device: Device, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The change ends before the agent that it acts on: nothing fails, and nothing is begun anew."""
    broker.start()
    rebuilding = asyncio.Event()

    async def make_vad(*_: object) -> None:
        rebuilding.set()
        await asyncio.sleep(60)

    async with operator(broker, "availability") as client, device.starting(broker.port):
        await device.heard()
        await online(client)
        monkeypatch.setattr("edge_agent.app.voice.make_vad", make_vad)
        await desire(client, 1, {"cores": {"compute": 1}})
        await asyncio.wait_for(rebuilding.wait(), 20)
    state = await device.kept()
    assert state.record("device/pi-1").refused is None
    assert state.trial is not None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_starts_without_a_broker_are_not_held_against_what_was_accepted(device: Device) -> None:
    """A device that is stopped by order each time keeps its remote configuration, also where MQTT was switched off."""
    await device.keep({"log_level": "debug"})
    for _ in range(7):
        async with device.starting():
            await device.heard()
    assert (await device.kept()).starts == 0
    assert not [fault for fault in device.notebook.faults if "stopped" in fault]


async def test_a_start_that_is_broken_off_is_not_held_against_what_was_accepted(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while the engines load is an order, too."""
    await device.keep({"log_level": "debug"}, starts=3)
    loading = asyncio.Event()

    async def make_vad(*_: object) -> None:
        loading.set()
        await asyncio.sleep(60)

    monkeypatch.setattr("edge_agent.app.voice.make_vad", make_vad)
    async with device.starting():
        await asyncio.wait_for(loading.wait(), 20)
    assert (await device.kept()).starts == 0


async def test_a_kept_log_level_counts_from_the_start(device: Device) -> None:
    """The configuration in force is what runs, the log's level included."""
    await device.keep({"log_level": "debug"})
    async with device.starting():
        await device.heard()
    assert device.levels[-1:] == ["debug"]


async def test_a_restart_by_command_ends_the_device_with_that_reason_alone(
    device: Device, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its result first, and what ended it is no crash."""
    broker.start()
    monkeypatch.setenv("INVOCATION_ID", "0123")
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    async with (
        operator(broker, "availability", "command/restart/result") as client,
        device.starting(broker.port) as holding,
    ):
        await online(client)
        await client.publish(f"{ROOT}/command/restart", json.dumps({"id": "r1", "args": {}}), qos=1)
        assert (await reported(client, lambda result: result["id"] == "r1"))["ok"]
        await asyncio.wait({holding}, timeout=10)
        assert isinstance(holding.exception(), RestartRequestedError)


async def test_a_terminal_that_systemd_started_is_no_service(
    device: Device, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would start the agent in it again."""
    broker.start()
    monkeypatch.setenv("INVOCATION_ID", "0123")
    monkeypatch.setenv("SYSTEMD_EXEC_PID", "1")
    async with operator(broker, "availability", "command/restart/result") as client, device.starting(broker.port):
        await online(client)
        await client.publish(f"{ROOT}/command/restart", json.dumps({"id": "r1", "args": {}}), qos=1)
        refused = await reported(client, lambda result: result["id"] == "r1")
    assert refused["error"]["code"] == "unavailable"


async def test_an_absent_model_ends_the_start_as_it_is(device: Device) -> None:
    """The command line tells it in a line by its type."""
    with pytest.raises(BadInputError, match="absent"):
        async with device.starting(llm={"model": "/models/absent.gguf"}) as holding:
            await holding
