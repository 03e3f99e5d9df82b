"""Events on their way to the broker: on disk until it has acknowledged them, sent in order."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from edge_agent.errors import BusyError, JobTimeoutError, PoolClosedError, StoreError
from edge_agent.mqtt.fresh import FreshEvents
from edge_agent.mqtt.pipeline import EventPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.mqtt.pipeline import EventSender
    from edge_agent.mqtt.topics import Topics

_log = logging.getLogger(__name__)

DROPPED = "outbox_dropped"
"""Name of the event that says what was lost."""
_LARGEST_BYTES = 64 << 10
_BATCH = 500
_REMOVE_AT_ONCE = 50
"""Acknowledged events that a power cut may bring back: duplicates, no more."""
_STORE_RETRY_S = 15.0
_FLUSH_S = 1.0
_PRUNE_EVERY_S = 3600.0
_TELL_EVERY_S = 60.0
_REAL_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock that says less has not been set since power came: many boards have none of their own."""
AGELESS = datetime(2100, 1, 1, tzinfo=UTC)
"""When an event was made that nobody knows the time of: it is never too old."""
_STORE_ERRORS = (StoreError, JobTimeoutError, BusyError, PoolClosedError)


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event as it waits; `created_at` is `AGELESS` where the clock was not set."""

    id: str
    topic: str
    payload: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """What waits on disk, and what was lost since the file was begun: for want of room, and by age."""

    waiting: int
    dropped_full: int
    dropped_old: int


class EventStore(Protocol):
    """Keeps events over a power cut. Belongs to the loop.

    Every method raises StoreError, JobTimeoutError, BusyError or PoolClosedError where the disk or its database fails.
    """

    async def append(self, events: Sequence[QueuedEvent]) -> int:
        """Queue events, all or none; they are on disk when this returns how many were dropped to make room.

        One whose id waits already is left as it is.
        """
        ...

    async def peek(self, most: int) -> Sequence[QueuedEvent]:
        """Return the first events in the order of appending; they stay."""
        ...

    async def remove(self, ids: Iterable[str]) -> int:
        """Take events away that were acknowledged."""
        ...

    async def prune(self, older_than: datetime) -> int:
        """Drop events made before that, and return how many that were."""
        ...

    async def counts(self) -> StoredCounts:
        """Return what waits and what was lost."""
        ...


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """The outbox at one moment.

    Attributes:
        waiting: Events that the broker has not acknowledged, on disk and in memory.
        fresh: Those of them that are not on disk yet.
        sent: Acknowledged since the start.
        dropped: Lost since the start, by reason: `full` and `old` on disk, `memory` before they got there, `large`,
            and `refused` by the broker for good.
        is_stored: Whether the disk takes events.
    """

    waiting: int
    fresh: int
    sent: int
    dropped: Mapping[str, int]
    is_stored: bool


class EventOutbox:
    """Takes events at any time, in no time; brings each to the broker at least once, in order. Belongs to the loop.

    An event waits in memory for some milliseconds until it is on disk, and there until the broker has acknowledged
    it. Duplicates, after a lost connection or a power cut, have the same id. While the disk fails, which is told,
    events are sent from memory.

    Args:
        store: None keeps events in memory alone.
        tell: Is told of faults of the disk.
        oldest: Age at which an event is dropped, as long as the clock is right.
        now: The time, in UTC.
    """

    def __init__(
        self,
        link: EventSender,
        topics: Topics,
        store: EventStore | None,
        *,
        tell: Callable[[str], None] = lambda _: None,
        oldest: timedelta = timedelta(days=30),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._topics = topics
        self._store = store
        self._tell = tell
        self._oldest = oldest
        self._now = now
        self._fresh = FreshEvents()
        self._pipeline = EventPipeline(link)
        self._stored = 0
        self._counting = asyncio.Lock()  # whoever changes what is stored also changes how many that are
        self._has_stored = asyncio.Event()
        self._has_stored.set()  # from before the start
        self._is_stored = store is not None
        self._dropped: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_s = -_TELL_EVERY_S
        self._idle = asyncio.Event()

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Queue the event of a custom intent; never waits."""
        self._queue(name, {"slots": dict(slots)})

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Queue another event: its payload is `id`, `at` and `data`; never waits."""
        self._queue(name, data)

    @property
    def counts(self) -> OutboxCounts:
        """What waits, was sent and was lost."""
        dropped = Counter(self._dropped)
        dropped.update({"memory": self._fresh.dropped, "refused": self._pipeline.refused})
        return OutboxCounts(
            self._stored + len(self._fresh),
            len(self._fresh),
            self._pipeline.sent,
            dict(+dropped),
            self._is_stored,
        )

    async def run_loop(self) -> None:
        """Store and send until cancelled; then put what is not on disk there, within a second."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._store_loop(), name="outbox.store")
                if self._store is not None:
                    tasks.create_task(self._send_loop(self._store), name="outbox.send")
                    tasks.create_task(self._prune_loop(self._store), name="outbox.prune")
        finally:
            await self._flush()

    async def sent(self) -> None:
        """Wait until nothing waits any more."""
        while self._fresh or self._stored:
            self._idle.clear()
            await self._idle.wait()

    def _queue(self, name: str, data: Mapping[str, Any]) -> None:
        now = self._now()
        is_real = now >= _REAL_SINCE
        event_id = str(uuid.uuid4())
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z") if is_real else None
        content = {"id": event_id, "at": at} | dict(data) | {"id": event_id}
        payload = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        if len(payload) > _LARGEST_BYTES:
            _log.error(
                "event %r is dropped: it takes %d bytes, at most %d are sent", name, len(payload), _LARGEST_BYTES
            )
            self._lose("large", 1)
            return
        lost = self._fresh.add(QueuedEvent(event_id, self._topics.event(name), payload, now if is_real else AGELESS))
        self._untold["memory"] += lost

    async def _store_loop(self) -> None:
        """Bring events from memory to disk, many at once; or to the broker, while the disk fails."""
        while True:
            await self._fresh.wait()
            if self._store is None:
                await self._send_fresh()
            elif not await self._append(self._store, self._fresh.first(_BATCH)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_STORE_RETRY_S):
                        await self._send_fresh_loop()

    async def _append(self, store: EventStore, batch: Sequence[QueuedEvent]) -> bool:
        try:
            async with self._counting:
                lost = await store.append(batch)
                self._stored += len(batch) - lost
        except _STORE_ERRORS as error:
            self._store_fails(error)
            return False
        self._fresh.remove(batch)
        self._lose("full", lost)
        self._store_works()
        self._has_stored.set()
        return True

    async def _send_fresh_loop(self) -> None:
        while True:
            await self._fresh.wait()
            await self._send_fresh()

    async def _send_fresh(self) -> None:
        """Send what is in memory from there."""
        async with aclosing(self._pipeline.send(self._fresh.first(_BATCH))) as done:
            async for event in done:
                self._fresh.remove([event])
                self._after_sending()

    async def _send_loop(self, store: EventStore) -> None:
        while True:
            await self._has_stored.wait()
            self._has_stored.clear()
            try:
                await self._count(store)
                while batch := await store.peek(_BATCH):
                    await self._send_stored(store, batch)
                await self._count(store)
            except _STORE_ERRORS as error:
                self._store_fails(error)
                await asyncio.sleep(_STORE_RETRY_S)
                self._has_stored.set()
            self._after_sending()

    async def _send_stored(self, store: EventStore, batch: Sequence[QueuedEvent]) -> None:
        acknowledged: list[str] = []
        removing: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._pipeline.send(batch)) as done:
                async for event in done:
                    acknowledged.append(event.id)
                    if len(acknowledged) >= _REMOVE_AT_ONCE and (removing is None or removing.done()):
                        if removing is not None:
                            removing.result()
                        # Beside the sending, which a card that takes its time must not hold up.
                        removing = asyncio.create_task(self._remove(store, acknowledged), name="outbox.remove")
                        acknowledged = []
        finally:
            # Also when this is cancelled: what is not removed is sent again, which costs a duplicate and no more.
            if removing is not None:
                await removing
            await self._remove(store, acknowledged)
        self._after_sending()

    async def _remove(self, store: EventStore, ids: list[str]) -> None:
        if ids:
            async with self._counting:
                self._stored -= await store.remove(ids)

    async def _prune_loop(self, store: EventStore) -> None:
        while True:
            now = self._now()
            if now >= _REAL_SINCE:
                try:
                    async with self._counting:
                        lost = await store.prune(now - self._oldest)
                        self._stored -= lost
                    self._lose("old", lost)
                except _STORE_ERRORS as error:
                    _log.warning("old events are not dropped: %s", error)
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def _count(self, store: EventStore) -> None:
        """An append that failed, or seemed to, may have counted wrongly."""
        async with self._counting:
            self._stored = (await store.counts()).waiting

    def _store_fails(self, error: Exception) -> None:
        if self._is_stored:
            self._is_stored = False
            message = f"events are not stored, and are lost with the power until they are sent: {error}"
            _log.error("%s", message)
            self._tell(message)

    def _store_works(self) -> None:
        if not self._is_stored:
            self._is_stored = True
            _log.warning("events are stored again")

    def _lose(self, reason: str, count: int) -> None:
        if count:
            self._dropped[reason] += count
            self._untold[reason] += count

    def _after_sending(self) -> None:
        """There is room again: say what was lost."""
        self._untold["refused"] += self._pipeline.take_refused()
        lost = +self._untold
        if lost and time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._untold.clear()
            self.record(DROPPED, {"dropped": dict(lost), "since_start": self.counts.dropped})
        if not self._fresh and not self._stored:
            self._idle.set()

    async def _flush(self) -> None:
        if self._store is None or not self._fresh:
            return
        try:
            async with asyncio.timeout(_FLUSH_S):
                while batch := self._fresh.first(_BATCH):
                    await self._store.append(batch)
                    self._fresh.remove(batch)
        except (*_STORE_ERRORS, TimeoutError) as error:
            _log.error("%d events are lost: they could not be stored (%s)", len(self._fresh), error)
