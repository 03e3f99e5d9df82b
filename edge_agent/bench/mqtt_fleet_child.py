"""Some hundred devices in one process: `python -m edge_agent.bench.mqtt_fleet_child PORT FIRST COUNT DIRECTORY`.

The client code is the service's own: link, transactions with their files on disk, and telling. There are no engines: a
change takes effect at once and proves itself well. What differs from real devices is that all share one process, its
loop, and one pool for files.

It prints `base` when all is imported, `ready` when every device is connected and has reported, and reads a line from
standard input before each step; at its end of file it stops.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent import __version__
from edge_agent.app.reconfiguration import Reconfiguration
from edge_agent.config.load import OwnConfig
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.retained import RetainedDocument
from edge_agent.mqtt.telling import Telling
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime import loop
from edge_agent.runtime.pool import Pool
from edge_agent.store.revisions import RevisionStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.schema import Config
    from edge_agent.errors import ConfigProblem
    from edge_agent.mqtt.incoming import Incoming

_LEAST_DEPTH = 64
_FILE_WORKERS = 4
"""As the service's `file_io` pool has at most."""


class _NothingToApply:
    """A device without engines."""

    async def apply(self, config: Config) -> None:
        """Do nothing: nothing runs."""

    async def prove(self, within_s: float) -> list[ConfigProblem]:
        """Be well."""
        return []


class _NoEvents:
    """Where events go: nowhere; the outbox is measured by itself."""

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Forget it."""


class _Device:
    def __init__(self, device_id: str, port: int, directory: Path, pool: Pool) -> None:
        self._topics = Topics(device_id)
        own = OwnConfig({"device_id": device_id, "mqtt": {"host": "127.0.0.1", "port": port}}, directory=directory)
        revisions = RevisionStore(directory / device_id / "remote.json")
        self._changes = Reconfiguration(own, revisions, pool, device_id=device_id)
        self._pool = pool
        self.has_reported = asyncio.Event()

    async def run_loop(self) -> None:
        """Be a device until cancelled."""
        config = await self._changes.boot()
        link = BrokerLink(config.mqtt, self._topics, self._pool)
        for topic in self._changes.topics:
            link.on(topic, self._offer)
        telling = Telling(
            link,
            self._topics,
            _NoEvents(),
            describe=self._describe,
            report=dict,
            publish_text=False,
            metrics_every_s=0,
        )

        reported = RetainedDocument(link, self._topics.reported, lambda: self._changes.reported)

        def changed(_reported: Mapping[str, Any]) -> None:
            reported.changed()
            telling.changed()

        self._changes.watch(changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._changes.run_loop(_NothingToApply()), name="device.changes")
            tasks.create_task(telling.run_loop(), name="device.telling")
            tasks.create_task(reported.run_loop(), name="device.report")
            tasks.create_task(link.run_loop(), name="device.link")
            await reported.published()
            self.has_reported.set()

    def _offer(self, message: Incoming) -> None:
        self._changes.offer(message.topic, message.payload)

    def _describe(self) -> dict[str, Any]:
        reported = self._changes.reported
        config = {key: reported[key] for key in ("revisions", "outcome", "hash") if key in reported}
        return {"state": "idle", "muted": False, "versions": {"edge_agent": __version__}, "config": config}


async def main(port: int, first: int, count: int, directory: Path) -> None:
    """Be `count` devices."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # One pool stands for the pools of all devices: as deep as theirs together.
    pool = Pool("file_io", most_workers=_FILE_WORKERS, depth=_LEAST_DEPTH + 8 * count)
    try:
        await _step("base")
        devices = [
            _Device(f"bench-{number:05}", port, await asyncio.to_thread(_made, directory, number), pool)
            for number in range(first, first + count)
        ]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(device.run_loop(), name="device") for device in devices]
            for device in devices:
                await device.has_reported.wait()
            await _step("ready")
            for task in running:
                task.cancel()
    finally:
        await pool.close()


def _made(directory: Path, number: int) -> Path:
    (directory / f"bench-{number:05}").mkdir()
    return directory


async def _step(name: str) -> None:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    loop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
