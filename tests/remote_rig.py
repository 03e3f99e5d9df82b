"""A device that is configured remotely, without an agent: its disk, its clock and what runs are doubles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from unreliable_disk import UnreliableDisk

from edge_agent.app.reconfiguration import ChangeError, Reconfiguration
from edge_agent.config.load import OwnConfig
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigProblem
from edge_agent.runtime.pool import Pool
from edge_agent.store.revisions import RevisionStore

T = TypeVar("T")

DEVICE = "edge-agent/pi-1/config/desired"
FLEET = "edge-agent-fleet/config/desired"
KITCHEN = "edge-agent-fleet/group/kitchen/config/desired"
STATE = Path("/state/remote.json")
OWN_VOLUME = 30

NOT_STARTING = 13
"""A volume with which the agent does not take the configuration."""
NOT_WELL = 14
"""One with which it takes it and is not well then."""


class InlinePool(Pool):
    """Runs calls at once, so that virtual time does not pass meanwhile."""

    def __init__(self) -> None:
        super().__init__("inline")

    async def run(self, call: Callable[[], T], **_: object) -> T:
        """Run it."""
        await asyncio.sleep(0)
        return call()


class FakeAgent:
    """Implements `Applier`: the volume decides what goes wrong.

    Attributes:
        volumes: What was applied, in order.
        before_apply: Called first, with the configuration.
        before_prove: Called first.
    """

    def __init__(self, config: Config) -> None:
        self.running = config
        self.volumes: list[int] = []
        self.proofs = 0
        self.before_apply: Callable[[Config], None] = lambda _: None
        self.before_prove: Callable[[], None] = lambda: None

    async def apply(self, config: Config) -> None:
        """See `Applier`."""
        await asyncio.sleep(0.01)
        self.before_apply(config)
        self.volumes.append(config.audio.volume)
        if config.audio.volume == NOT_STARTING:
            raise ChangeError([ConfigProblem("audio.volume", "the speaker does not start", "")])
        self.running = config

    async def prove(self, within_s: float) -> list[ConfigProblem]:
        """See `Applier`."""
        self.before_prove()
        self.proofs += 1
        if self.running.audio.volume == NOT_WELL:
            await asyncio.sleep(within_s)
            return [ConfigProblem("", "no audio flows", "")]
        await asyncio.sleep(0.1)
        return []


class RemoteDevice:
    """One device on one disk, through any number of starts.

    Attributes:
        own: The owner's configuration, as TOML would give it.
        told: Faults.
        reports: Every report of the present start.
    """

    def __init__(self, own: dict[str, Any] | None = None, disk: UnreliableDisk | None = None) -> None:
        self.own = own if own is not None else {"audio": {"volume": OWN_VOLUME}, "groups": ["kitchen"]}
        self.disk = disk or UnreliableDisk()
        self.told: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.now = datetime(2027, 3, 1, tzinfo=UTC)
        self.change: Reconfiguration
        self.agent: FakeAgent

    async def boot(self) -> Reconfiguration:
        """Start: read what is on the disk."""
        self.change = Reconfiguration(
            self._read_own(),
            RevisionStore(STATE, self.disk),
            InlinePool(),
            device_id="pi-1",
            tell=self.told.append,
            now=lambda: self.now + timedelta(seconds=asyncio.get_running_loop().time()),
            read_own=self._read_own,
        )
        self.agent = FakeAgent(await self.change.boot())
        self.reports = []
        self.change.watch(self.reports.append)
        return self.change

    def _read_own(self) -> OwnConfig:
        return OwnConfig(self.own, "config.toml", Path("/etc/edge-agent"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Reconfiguration]:
        """Start, and run until left; what ends the loop is raised there."""
        change = await self.boot()
        looping = asyncio.create_task(change.run_loop(self.agent), name="config.loop")
        try:
            yield change
        finally:
            looping.cancel()
            (ended,) = await asyncio.gather(looping, return_exceptions=True)
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                raise ended

    async def deliver(self, topic: str, document: object) -> dict[str, Any]:
        """Let a document arrive, and return what is reported when all is settled."""
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.change.offer(topic, payload)
        await asyncio.sleep(300)
        return self.change.reported

    @property
    def volume(self) -> int:
        """What runs."""
        return self.agent.running.audio.volume


def volume(revision: int, value: int | None) -> dict[str, Any]:
    """Return a document that sets the volume."""
    return {"revision": revision, "patch": {"audio": {"volume": value}}}
