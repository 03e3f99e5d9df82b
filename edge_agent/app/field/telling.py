"""Tells the broker what came of a field test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge_agent.app.doctor.broker import with_password
from edge_agent.app.field.report import EVENT
from edge_agent.app.publishing import open_publisher
from edge_agent.errors import EdgeAgentError
from edge_agent.mqtt.events import EventOutbox

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.app.doctor.result import Surroundings
    from edge_agent.app.field.report import FieldReport
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher

_WITHIN_S = 15.0


async def tell_broker(config: Config, around: Surroundings, report: FieldReport, path: Path) -> str:
    """Publish the summary as event `field_test`, at QoS 1; return why not, or nothing where the broker has it."""
    if not config.mqtt.host:
        return "no broker is configured"
    mqtt, hidden = with_password(config.mqtt, around)
    if hidden:
        return f"you may not read {hidden}"
    try:
        async with open_publisher(config.model_copy(update={"mqtt": mqtt})) as outbox:
            return await _send(outbox, report.summary(path), mqtt.host)
    except EdgeAgentError as error:
        return str(error).replace("\n", "; ")


async def _send(outbox: EventPublisher, summary: Mapping[str, Any], host: str) -> str:
    if not isinstance(outbox, EventOutbox):
        return "no broker is configured"
    outbox.record(EVENT, summary)
    try:
        async with asyncio.timeout(_WITHIN_S):
            await outbox.sent()
    except TimeoutError:
        return f"{host} did not take it within {_WITHIN_S:.0f} s (edge-agent doctor --only broker)"
    return "" if outbox.counts.sent else f"{host} refused it (edge-agent doctor --only broker)"
