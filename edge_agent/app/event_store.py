"""Lets the outbox of events use the device's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.mqtt.events import QueuedEvent, StoredCounts
from edge_agent.store.outbox import OutboxMessage, OutboxStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.store.database import Database


class DatabaseEventStore:
    """An `EventStore` in SQLite, bounded as the configuration says."""

    def __init__(self, database: Database, config: MqttConfig) -> None:
        self._most_bytes = max(1, int(config.outbox_mib * (1 << 20)))
        self._store = OutboxStore(database, most=config.outbox_messages, most_bytes=self._most_bytes)

    async def append(self, events: Sequence[QueuedEvent]) -> int:
        """Queue events; those that alone exceed the bound are dropped as well."""
        messages = [OutboxMessage(event.id, event.topic, event.payload, event.created_at) for event in events]
        fitting = [message for message in messages if message.size_bytes <= self._most_bytes]
        return len(messages) - len(fitting) + await self._store.append(fitting)

    async def peek(self, most: int) -> Sequence[QueuedEvent]:
        """Return the first."""
        return [
            QueuedEvent(message.id, message.topic, message.payload, message.created_at)
            for message in await self._store.peek(most)
        ]

    async def remove(self, ids: Iterable[str]) -> int:
        """Take away what was acknowledged."""
        return await self._store.remove(ids)

    async def prune(self, older_than: datetime) -> int:
        """Drop what is old."""
        return await self._store.prune(older_than)

    async def counts(self) -> StoredCounts:
        """Count."""
        found = await self._store.statistics()
        return StoredCounts(found.waiting, found.dropped_full, found.dropped_old)
