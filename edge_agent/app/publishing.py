"""Connects the publisher of custom intents' events where a broker is configured."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from edge_agent.mqtt.identity import default_device_id
from edge_agent.mqtt.publisher import LogPublisher, MqttPublisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher

_log = logging.getLogger(__name__)

_LAST_SENDING_S = 3.0


@asynccontextmanager
async def open_publisher(config: Config) -> AsyncIterator[EventPublisher]:
    """Send events in the background; leaving gives the broker 3 s to take what still waits.

    Raises:
        ConfigError: The password file is wrong.
    """
    if not config.mqtt.host:
        yield LogPublisher()
        return
    publisher = MqttPublisher(config.mqtt, config.device_id or default_device_id())
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(publisher.send_loop(), name="mqtt.send")
        try:
            yield publisher
        finally:
            publisher.close()
            if publisher.waiting:
                await asyncio.wait({sending}, timeout=_LAST_SENDING_S)
            if publisher.waiting:
                _log.warning("%d events were not taken by the broker", publisher.waiting)
            sending.cancel()
