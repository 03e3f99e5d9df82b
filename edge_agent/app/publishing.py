"""Brings the events of custom intents to the broker, where one is configured."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from edge_agent.app.event_store import DatabaseEventStore
from edge_agent.mqtt.events import EventOutbox
from edge_agent.mqtt.identity import default_device_id
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.store.database import Database

_log = logging.getLogger(__name__)

_LAST_SENDING_S = 3.0
_POOL_THREADS = 2
_LEAVING_S = 0.5


class LogPublisher:
    """Stands in where no broker is configured: says in the log that the event went nowhere."""

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Log the event."""
        with_slots = ", ".join(slots) or "none"  # what they hold was said by somebody
        _log.warning("event %r (slots: %s) is not sent: mqtt.host is not configured", name, with_slots)


def make_topics(config: Config) -> Topics:
    """Return the topics of the configured device."""
    return Topics(config.device_id or default_device_id(), config.groups)


@asynccontextmanager
async def open_mqtt_pool() -> AsyncIterator[Pool]:
    """Open the threads that look up the broker's name, read its files and shake hands.

    They are apart from the others since a look-up may hang for as long as the system's resolver likes.
    """
    pool = Pool("mqtt", most_workers=_POOL_THREADS)
    try:
        yield pool
    finally:
        await pool.close(_LEAVING_S)


def make_outbox(
    config: MqttConfig, link: BrokerLink, topics: Topics, database: Database | None, tell: Callable[[str], None]
) -> EventOutbox:
    """Return the outbox of events: in the database, or in memory alone where there is none."""
    store = None if database is None else DatabaseEventStore(database, config)
    return EventOutbox(link, topics, store, tell=tell, oldest=timedelta(days=config.outbox_days))


@asynccontextmanager
async def open_publisher(
    config: Config,
    database: Database | None = None,
    *,
    is_guest: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[EventPublisher]:
    """Send events in the background; leaving gives the broker 3 s to take what only memory holds.

    Args:
        config: What is configured.
        database: Where events survive a restart.
        is_guest: A command beside the service: it leaves the device's own session and its availability alone.
        tell: Is told of faults of the database.

    Raises:
        ConfigError: The password, a certificate or a key is wrong.
        FaultError: These files could not be read in time.
    """
    if not config.mqtt.host:
        yield LogPublisher()
        return
    topics = make_topics(config)
    async with open_mqtt_pool() as pool:
        link = BrokerLink(config.mqtt, topics, pool, is_guest=is_guest)
        await link.check_files()
        outbox = make_outbox(config.mqtt, link, topics, database, tell)
        running = asyncio.create_task(_run(link, outbox), name="mqtt")
        try:
            yield outbox
        finally:
            if database is None:
                await _send_rest(link, outbox, running)
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()  # it never ends by itself, unless by an error of this program


async def _run(link: BrokerLink, outbox: EventOutbox) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run_loop(), name="mqtt.link")
        tasks.create_task(outbox.run_loop(), name="mqtt.outbox")


async def _send_rest(link: BrokerLink, outbox: EventOutbox, running: asyncio.Task[None]) -> None:
    sending = asyncio.create_task(outbox.sent(), name="mqtt.send_rest")
    try:
        await asyncio.wait({sending, running}, timeout=_LAST_SENDING_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        await asyncio.wait({sending})
    if waiting := outbox.counts.waiting:
        _log.warning("%d events are lost: broker %s %s", waiting, link.state.broker, link.state.reason)
