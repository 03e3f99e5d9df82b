"""The MQTT broker: reached, encrypted, let in, allowed to publish and to subscribe; and if not, why."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import CheckResult
from edge_agent.app.publishing import make_topics, open_mqtt_pool
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.mqtt.credentials import CREDENTIAL
from edge_agent.mqtt.link import PORT, TLS_PORT, BrokerLink, NotConnectedError, Patience
from edge_agent.runtime import loop

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.doctor.result import Figure, Surroundings
    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.config.schema import Config
    from edge_agent.mqtt.link import LinkState

CHECK_S = 15.0
EVENT = "doctor"
"""Name of the event by which it is tried whether this device may publish."""
_PATIENCE = Patience(connect_s=5.0, answer_s=4.0, farewell_s=0.5)
_CREDENTIALS = "etc/edge-agent/credentials"


def check_broker(config: Config, around: Surroundings) -> CheckResult:
    """Connect as a guest beside the service, subscribe to the device's own topics and publish an event."""
    if not config.mqtt.host:
        return CheckResult("broker", "ok", "none is configured (mqtt.host)")
    mqtt, hidden = with_password(config.mqtt, around)
    where = f"{mqtt.host}:{mqtt.port or (TLS_PORT if mqtt.tls.enabled else PORT)}"
    figures: dict[str, Figure] = {"broker": where, "tls": mqtt.tls.enabled, "device_id": make_topics(config).device_id}
    if hidden:
        return _as_the_service_says(around, where, hidden, figures)
    try:
        state, refusal = loop.run(_try(config.model_copy(update={"mqtt": mqtt})))
    except ConfigError as error:
        remedy = "correct it: edge-agent config check; sudo edge-agent setup"
        return CheckResult("broker", "fault", str(error).replace("\n", "; "), remedy, figures)
    except EdgeAgentError as error:
        return CheckResult("broker", "fault", str(error), "check [mqtt] in the configuration", figures)
    return _judge(state, refusal, where, mqtt, figures)


def _judge(state: LinkState, refusal: str, where: str, mqtt: MqttConfig, figures: dict[str, Figure]) -> CheckResult:
    how = "TLS, its certificate checked" if mqtt.tls.enabled else "without TLS"
    who = f"as {mqtt.username}" if mqtt.username else "anonymously"
    if not state.is_connected:
        remedy = f"try it from here: nc -vz {where.replace(':', ' ')}; check [mqtt] in the configuration"
        return CheckResult("broker", "fault", f"{where}: {state.reason}", remedy, figures)
    if state.reason or refusal:
        topics = f"edge-agent/{figures['device_id']}/# and edge-agent-fleet/#"
        remedy = f"let this user publish and subscribe there: {topics} (mosquitto: acl_file); docs/mqtt.md"
        return CheckResult("broker", "fault", f"{where} lets us in, but {state.reason or refusal}", remedy, figures)
    message = f"{where} answers ({how}, {who}); subscribing and publishing are allowed"
    if mqtt.username and not mqtt.tls.enabled and not _is_near(mqtt.host):
        remedy = "encrypt: mqtt.tls.enabled = true (docs/mqtt.md)"
        return CheckResult("broker", "warning", f"{message}; the password travels in plain text", remedy, figures)
    return CheckResult("broker", "ok", message, figures=figures)


async def _try(config: Config) -> tuple[LinkState, str]:
    """Return how the link stands after one attempt, and why an event was refused, or nothing."""
    topics = make_topics(config)
    changed = asyncio.Event()
    async with open_mqtt_pool() as pool:
        link = BrokerLink(config.mqtt, topics, pool, is_guest=True, patience=_PATIENCE)
        await link.check_files()
        for topic in topics.desired():
            link.on(topic, lambda _: None)
        link.watch(lambda _: changed.set())
        running = asyncio.create_task(link.run_loop(), name="doctor.broker")
        try:
            await changed.wait()  # each attempt has its bounds, and tells how it ended
            state, refusal = link.state, ""
            if state.is_connected:
                try:
                    await link.publish(topics.event(EVENT), _event(), qos=1)
                except NotConnectedError:
                    state = link.state
                except EdgeAgentError as error:
                    refusal = f"the event is refused: {error}"
            return state, refusal
        finally:
            running.cancel()
            await asyncio.wait({running})


def _event() -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"id": str(uuid.uuid4()), "at": at, "check": "broker"}).encode()


def with_password(mqtt: MqttConfig, around: Surroundings) -> tuple[MqttConfig, str]:
    """Return the configuration with the password that systemd would hand on, and which file we may not read."""
    path = mqtt.password_file
    if path is None and "CREDENTIALS_DIRECTORY" not in os.environ:
        kept = around.root / _CREDENTIALS / CREDENTIAL
        try:
            path = kept if kept.is_file() else None
            encrypted = kept.with_name(f"{CREDENTIAL}.cred")
            if path is None and encrypted.is_file():
                return mqtt, str(encrypted)
        except PermissionError:
            return mqtt, str(kept.parent)
    for needed in (path, mqtt.tls.key_file):
        if needed is not None and _is_kept_from_us(needed):
            return mqtt, str(needed)
    return mqtt.model_copy(update={"password_file": path}), ""


def _is_kept_from_us(path: Path) -> bool:
    try:
        return path.exists() and not os.access(path, os.R_OK)
    except PermissionError:
        return True


def _as_the_service_says(around: Surroundings, where: str, hidden: str, figures: dict[str, Figure]) -> CheckResult:
    """Ask the running service, for what it needs to connect is kept from this user."""
    remedy = "sudo edge-agent doctor --only broker"
    told = (around.status or {}).get("broker")
    if not isinstance(told, dict):
        return CheckResult("broker", "warning", f"{where}: not tried, you may not read {hidden}", remedy, figures)
    if told.get("connected"):
        return CheckResult("broker", "ok", f"{where}: the running service is connected", figures=figures)
    reason = told.get("reason") or "is not connected"
    return CheckResult("broker", "fault", f"{where}: the running service says: {reason}", remedy, figures)


def _is_near(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
