"""Devices as an operator sees them: plain clients that keep to the topics and do as they are told."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiomqtt

FLEET = "edge-agent-fleet/config/desired"


class FakeDevice:
    """Applies every new document at once, unless `verdict` says otherwise."""

    def __init__(
        self,
        client: aiomqtt.Client,
        device_id: str,
        groups: Sequence[str] = (),
        verdict: Callable[[dict[str, Any]], str] = lambda _patch: "applied",
    ) -> None:
        self.id = device_id
        self._client = client
        self._groups = groups
        self._verdict = verdict
        self.applied = asyncio.Event()
        self.patches: dict[str, dict[str, Any]] = {}
        self._revisions: dict[str, int] = {}
        self._refused: dict[str, int] = {}

    def topics(self) -> dict[str, str]:
        """Return the layer of each topic of documents."""
        groups = {f"edge-agent-fleet/group/{group}/config/desired": f"group:{group}" for group in self._groups}
        return {FLEET: "fleet", **groups, f"edge-agent/{self.id}/config/desired": "device"}

    async def begin(self) -> None:
        """Tell of itself, and ask for documents."""
        await self._tell("availability", "online")
        await self._tell("status", json.dumps({"state": "idle", "version": "0.1.0", "groups": [*self._groups]}))
        await self._report("applied", None)
        for topic in self.topics():
            await self._client.subscribe(topic, qos=1)

    async def take(self, topic: str, payload: bytes) -> None:
        """Do what a document says."""
        layer = self.topics().get(topic)
        if layer is None or not payload:
            return
        document = json.loads(payload)
        revision = document["revision"]
        if revision <= max(self._revisions.get(layer, 0), self._refused.get(layer, 0)):
            return
        verdict = self._verdict(document["patch"])
        if verdict == "silent":
            return
        if verdict == "applied":
            self._revisions[layer] = revision
            self.patches[layer] = document["patch"]
            self.applied.set()
            self._refused.pop(layer, None)
        else:
            self._refused[layer] = revision
        await self._report(verdict, (layer, revision))

    async def event(self, name: str, data: dict[str, Any]) -> None:
        """Tell of an event."""
        await self._client.publish(f"edge-agent/{self.id}/event/{name}", json.dumps({"id": "1", **data}), qos=1)

    async def offline(self) -> None:
        """Go away."""
        await self._tell("availability", "offline")

    async def _tell(self, topic: str, payload: str) -> None:
        await self._client.publish(f"edge-agent/{self.id}/{topic}", payload, qos=1, retain=True)

    async def _report(self, outcome: str, about: tuple[str, int] | None) -> None:
        groups = {key.partition(":")[2]: value for key, value in self._revisions.items() if ":" in key}
        refused: dict[str, Any] = {key: value for key, value in self._refused.items() if ":" not in key}
        if refused_groups := {key.partition(":")[2]: value for key, value in self._refused.items() if ":" in key}:
            refused["group"] = refused_groups
        layer, _, group = about[0].partition(":") if about else ("", "", "")
        reported = {
            "revisions": {
                "fleet": self._revisions.get("fleet"),
                "group": max(groups.values(), default=None),
                "device": self._revisions.get("device"),
            },
            "groups": groups,
            "outcome": outcome,
            "errors": [] if outcome == "applied" else [{"key": "tts.piper.voice", "message": "does not exist"}],
            "document": {"layer": layer, "group": group or None, "revision": about[1]} if about else None,
            "refused": refused,
            "hash": "0" * 64,
        }
        await self._tell("config/reported", json.dumps(reported))


@asynccontextmanager
async def fake_fleet(
    port: int,
    count: int,
    groups: Callable[[str], Sequence[str]] = lambda _id: (),
    verdict: Callable[[str, dict[str, Any]], str] = lambda _id, _patch: "applied",
) -> AsyncIterator[list[FakeDevice]]:
    """Run devices `d000`, `d001` … on one connection."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, max_inflight_messages=1000)
        )
        ids = [f"d{number:03}" for number in range(count)]
        devices = [FakeDevice(client, one, groups(one), functools.partial(verdict, one)) for one in ids]

        async def serve_loop() -> None:
            async for message in client.messages:
                for device in devices:
                    await device.take(message.topic.value, bytes(message.payload))

        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        serving = tasks.create_task(serve_loop())
        stack.callback(serving.cancel)
        for device in devices:
            await device.begin()
        yield devices
