"""A device that makes events as it is told and may be killed at any moment.

`python -m edge_agent.bench.mqtt_outbox_child DIRECTORY PORT LIFE`: each line of input is a number of events to make.
Prints `ready`, the numbers of events as they are on disk, and `empty` when the broker has acknowledged everything.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.event_store import DatabaseEventStore
from edge_agent.config.mqtt import MqttConfig
from edge_agent.mqtt.events import EventOutbox
from edge_agent.mqtt.link import BrokerLink, Patience
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.mqtt.events import QueuedEvent

DEVICE = "bench"
EVENT = "tick"
PATIENCE = Patience(connect_s=5.0, first_retry_s=0.02, longest_retry_s=0.1)
"""The broker is on the same machine and comes back at once."""
_FRESH = 300
"""Events in memory at once: more would be dropped, which is not what is measured."""


class _TellingStore(DatabaseEventStore):
    """Says which events are on disk, after they are."""

    async def append(self, events: Sequence[QueuedEvent]) -> int:
        dropped = await super().append(events)
        _say(*(str(json.loads(event.payload)["n"]) for event in events))
        return dropped


async def main(directory: Path, port: int, life: int) -> None:
    """Make events until the input ends."""
    config = MqttConfig(host="127.0.0.1", port=port)
    topics = Topics(DEVICE)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    pool = Pool("file_io", most_workers=4)
    try:
        async with Database(directory / "events.db", pool) as database, asyncio.TaskGroup() as tasks:
            link = BrokerLink(config, topics, pool, patience=PATIENCE)
            outbox = EventOutbox(link, topics, _TellingStore(database, config))
            running = [tasks.create_task(link.run_loop()), tasks.create_task(outbox.run_loop())]
            _say("ready")
            made = 0
            while line := await reader.readline():
                for _ in range(int(line)):
                    while outbox.counts.fresh >= _FRESH:  # noqa: ASYNC110 - the outbox tells nobody
                        await asyncio.sleep(0.001)
                    outbox.record(EVENT, {"life": life, "n": made})
                    made += 1
            await outbox.sent()
            _say("empty")
            for task in running:
                task.cancel()
    finally:
        await pool.close()


def _say(*words: str) -> None:
    sys.stdout.write("".join(f"{word}\n" for word in words))
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
