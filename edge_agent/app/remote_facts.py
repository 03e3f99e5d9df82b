"""What the device knows of its connection, for the status at hand and for the one on MQTT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.app.telling import StatusFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.app.agent import Agent
    from edge_agent.app.reconfiguration import Reconfiguration
    from edge_agent.mqtt.events import EventOutbox
    from edge_agent.mqtt.link import BrokerLink
    from edge_agent.runtime.metrics import Metrics


def standing(metrics: Metrics, link: BrokerLink, outbox: EventOutbox) -> Mapping[str, Any]:
    """Tell the device's owner of the connection."""
    state = link.state
    return {
        "broker": state.broker,
        "connected": state.is_connected,
        "reason": state.reason,
        "since_s": round(metrics.clock() - state.since_s, 1),
        "events_waiting": outbox.counts.waiting,
    }


def facts(
    metrics: Metrics,
    agent: Agent,
    link: BrokerLink,
    outbox: EventOutbox,
    changes: Reconfiguration,
    *,
    groups: tuple[str, ...],
) -> StatusFacts:
    """Return where the parts of the status come from."""

    def counts() -> Mapping[str, Any]:
        now = outbox.counts
        return {"waiting": now.waiting, "sent": now.sent, "dropped": dict(now.dropped), "stored": now.is_stored}

    return StatusFacts(
        agent.book,
        volume=lambda: agent.mouth,
        uptime_s=lambda: metrics.clock() - metrics.started_s,
        pressure=lambda: agent.pressure,
        link=lambda: link.state,
        outbox=counts,
        configuration=lambda: changes.reported,
        groups=groups,
    )
