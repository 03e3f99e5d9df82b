"""Home Assistant's discovery of the device: one retained document with all its entities, taken back when it is off.

The form is that of https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, Home Assistant 2024.11
and later.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_agent.errors import FaultError
from edge_agent.mqtt.command_args import MOST_TEXT
from edge_agent.mqtt.sending import Connected

if TYPE_CHECKING:
    from edge_agent.config.mqtt import HomeAssistantConfig
    from edge_agent.mqtt.sending import Link
    from edge_agent.mqtt.topics import Topics
    from edge_agent.store.retained import RetainedStore

_log = logging.getLogger(__name__)

_STATES = ("starting", "idle", "listening", "hearing", "thinking", "speaking")
_MOST_STATE = 255
"""Home Assistant's longest text of an entity."""
_ID = "ha-{{ now().timestamp() }}-{{ range(100000) | random }}"
_PUBLISH_S = 30.0
_AGAIN_S = 5.0
_LONGEST_AGAIN_S = 600.0

Component = dict[str, Any]


def discovery_topic(topics: Topics, prefix: str) -> str:
    """Return where the device's document is."""
    return f"{prefix}/device/{topics.device_id}/config"


def discovery_payload(topics: Topics, config: HomeAssistantConfig, *, version: str, takes_commands: bool) -> bytes:
    """Return the document; entities that send commands are taken away where the device takes none."""
    components = _sensors(topics)
    for key, component in _controls(topics).items():
        # A component of which nothing but the platform is given is removed.
        components[key] = component if takes_commands else {"platform": component["platform"]}
    for key, component in components.items():
        if len(component) > 1:
            component["unique_id"] = f"edge_agent_{topics.device_id}_{key}"
    document = {
        "device": {
            "identifiers": [f"edge_agent_{topics.device_id}"],
            "name": config.name or topics.device_id,
            "manufacturer": "edge-agent",
            "model": "Voice agent",
            "sw_version": version,
        },
        "origin": {"name": "edge-agent", "sw_version": version},
        "availability_topic": topics.availability,
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "components": components,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _sensors(topics: Topics) -> dict[str, Component]:
    def shown(platform: str, name: str, template: str, **more: object) -> Component:
        return {
            "platform": platform,
            "name": name,
            "state_topic": topics.status,
            "value_template": template,
            "qos": 1,
            **more,
        }

    def problem(name: str, condition: str) -> Component:
        return shown(
            "binary_sensor",
            name,
            f"{{{{ 'ON' if {condition} else 'OFF' }}}}",
            payload_on="ON",
            payload_off="OFF",
            device_class="problem",
            entity_category="diagnostic",
        )

    return {
        "state": shown(
            "sensor",
            "State",
            "{{ value_json.state }}",
            device_class="enum",
            options=list(_STATES),
            icon="mdi:account-voice",
        ),
        "delay": shown(
            "sensor",
            "Last turn delay",
            "{{ value_json.last_turn_delay_ms }}",
            device_class="duration",
            unit_of_measurement="ms",
            state_class="measurement",
            suggested_display_precision=0,
            entity_category="diagnostic",
        ),
        "temperature": shown(
            "sensor",
            "Temperature",
            "{{ value_json.temperature_c }}",
            device_class="temperature",
            unit_of_measurement="°C",
            state_class="measurement",
            entity_category="diagnostic",
        ),
        "problem": problem("Problem", "value_json.problem"),
        "microphone_problem": problem("Microphone problem", "'microphone' in value_json.problems"),
        "speaker_problem": problem("Speaker problem", "'speaker' in value_json.problems"),
    }


def _controls(topics: Topics) -> dict[str, Component]:
    def sends(platform: str, name: str, command: str, args: str, **more: object) -> Component:
        return {
            "platform": platform,
            "name": name,
            "command_topic": topics.command(command),
            "command_template": f'{{"id": "{_ID}", "args": {args}}}',
            "qos": 1,
            "retain": False,
            **more,
        }

    return {
        "mute": sends(
            "switch",
            "Mute",
            "mute",
            "{\"muted\": {{ (value == 'ON') | tojson }}}",
            state_topic=topics.status,
            value_template="{{ 'ON' if value_json.muted else 'OFF' }}",
            payload_on="ON",
            payload_off="OFF",
            icon="mdi:microphone-off",
        ),
        "volume": sends(
            "number",
            "Volume",
            "volume",
            '{"percent": {{ value | int }}}',
            state_topic=topics.status,
            value_template="{{ value_json.volume }}",
            min=0,
            max=100,
            step=1,
            mode="slider",
            unit_of_measurement="%",
            icon="mdi:volume-high",
        ),
        "say": sends(
            "text",
            "Say",
            "say",
            '{"text": {{ value | tojson }}}',
            min=1,
            max=min(MOST_TEXT, _MOST_STATE),
            icon="mdi:bullhorn",
        ),
        "restart": sends("button", "Restart", "restart", "{}", device_class="restart", entity_category="config"),
    }


class Discovery:
    """Publishes the document at every connection, and takes back what an earlier setting left. Belongs to the loop.

    Args:
        store: Remembers where a document was left; None where there is no database: then the one that would be there
            is taken back at the first connection.
        version: Of the agent.
        takes_commands: Whether the device is commanded over MQTT.
    """

    def __init__(
        self,
        link: Link,
        topics: Topics,
        config: HomeAssistantConfig,
        store: RetainedStore | None,
        *,
        version: str,
        takes_commands: bool,
    ) -> None:
        self._link = link
        self._topics = topics
        self._store = store
        self._version = version
        self._takes_commands = takes_commands
        self.configure(config)
        self._connected = Connected(link)
        self._again = asyncio.Event()
        self._connected.on_connect = self._again.set

    def configure(self, config: HomeAssistantConfig) -> None:
        """Take another configuration; `run_loop` must not run, and is to be begun anew."""
        self._config = config
        self._topic = discovery_topic(self._topics, config.prefix)
        self._payload = discovery_payload(
            self._topics, config, version=self._version, takes_commands=self._takes_commands
        )

    async def run_loop(self) -> None:
        """Publish until cancelled; where discovery is off, return as soon as nothing of it is left at the broker."""
        stale = await self._stale()
        again_s, told = _AGAIN_S, ""
        while stale or self._config.enabled:
            await self._connected.up()
            self._again.clear()
            if not (reason := await self._settle(stale)):
                again_s, told = _AGAIN_S, ""
                if self._config.enabled:
                    await self._again.wait()
                continue
            if reason != told:  # a broker that forbids it does so for months
                told = reason
                _log.warning("Home Assistant's discovery: %s; trying again", reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await self._again.wait()
            again_s = min(2 * again_s, _LONGEST_AGAIN_S)

    async def _settle(self, stale: set[str]) -> str:
        """Take back what is `stale`, and publish, whatever becomes of that; return what went wrong, or nothing."""
        reason = ""
        for topic in sorted(stale):
            try:
                await self._take_back(topic)
            except (FaultError, TimeoutError) as error:
                reason = f"{topic}: {str(error) or 'the broker does not answer'}"
            else:
                stale.discard(topic)
        if self._config.enabled:
            try:
                await self._publish(self._topic, self._payload)
            except (FaultError, TimeoutError) as error:
                reason = f"{self._topic}: {str(error) or 'the broker does not answer'}"
        return reason

    async def _stale(self) -> set[str]:
        """Return where documents are that should not be, and note where there will be one."""
        if self._store is None:
            return set() if self._config.enabled else {self._topic}
        try:
            left = set(await self._store.all())
            if self._config.enabled and self._topic not in left:
                await self._store.add(self._topic)
        except FaultError as error:
            _log.warning("it is not remembered where Home Assistant's discovery was published: %s", error)
            return set()
        return left - {self._topic} if self._config.enabled else left

    async def _take_back(self, topic: str) -> None:
        await self._publish(topic, b"")
        _log.info("Home Assistant's discovery at %s was taken back", topic)
        if self._store is None:
            return
        try:
            await self._store.remove(topic)
        except FaultError as error:
            _log.warning("it is not remembered that it was taken back, and will be again: %s", error)

    async def _publish(self, topic: str, payload: bytes) -> None:
        async with asyncio.timeout(_PUBLISH_S):
            await self._link.publish(topic, payload, qos=1, retain=True)
