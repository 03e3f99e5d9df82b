"""Home Assistant's rules for a device that announces itself over MQTT, as far as we use them.

Written down from its documentation (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, and the
pages of the platforms sensor, binary_sensor, switch, number, text and button below it) and from its source
(homeassistant/components/mqtt: discovery.py, schemas.py and the platforms; sensor/const.py for units). Home Assistant
drops keys that it does not know in silence; here they are errors, for they are mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

Json = dict[str, Any]

DISCOVERY_TOPIC = re.compile(r"device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")
"""discovery.py, TOPIC_MATCHER, below the prefix."""
_MOST_STATE = 255
_PLATFORMS = {"sensor", "binary_sensor", "switch", "number", "text", "button"}
_DEVICE_KEYS = {
    "identifiers",
    "connections",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "hw_version",
    "serial_number",
    "sw_version",
    "via_device",
    "suggested_area",
    "configuration_url",
}
_ORIGIN_KEYS = {"name", "sw_version", "support_url"}
_SHARED = {
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "command_topic",
    "payload_available",
    "payload_not_available",
    "state_topic",
    "qos",
    "encoding",
}
_ENTITY = {"platform", "name", "unique_id", "icon", "entity_category", "enabled_by_default", "qos", "encoding"}
_READS = {"state_topic", "value_template"}
_WRITES = {"command_topic", "command_template", "retain"}
_KEYS = {
    "sensor": _ENTITY
    | _READS
    | {
        "device_class",
        "state_class",
        "unit_of_measurement",
        "options",
        "suggested_display_precision",
        "expire_after",
        "force_update",
        "last_reset_value_template",
    },
    "binary_sensor": _ENTITY | _READS | {"device_class", "payload_on", "payload_off", "off_delay", "expire_after"},
    "switch": _ENTITY
    | _READS
    | _WRITES
    | {"device_class", "payload_on", "payload_off", "state_on", "state_off", "optimistic"},
    "number": _ENTITY
    | _READS
    | _WRITES
    | {"device_class", "min", "max", "step", "mode", "unit_of_measurement", "payload_reset", "optimistic"},
    "text": _ENTITY | _READS | _WRITES | {"min", "max", "mode", "pattern"},
    "button": _ENTITY | _WRITES | {"device_class", "payload_press"},
}
_REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
    "text": {"command_topic"},
    "button": {"command_topic"},
}
_UNITS: dict[str, set[str | None]] = {
    "temperature": {"°C", "°F", "K"},
    "duration": {"d", "h", "min", "s", "ms", "µs"},
    "enum": {None},
}
_CLASSES = {"binary_sensor": {"problem"}, "button": {"identify", "restart", "update"}}


def check_document(topic: str, payload: bytes, prefix: str) -> Json:
    """Return the document, after every rule was checked."""
    assert topic.startswith(f"{prefix}/")
    assert DISCOVERY_TOPIC.fullmatch(topic.removeprefix(f"{prefix}/")), topic
    document: Json = json.loads(payload)
    assert {"device", "origin", "components"} <= set(document)
    assert set(document) <= {"device", "origin", "components"} | _SHARED
    device, origin = document["device"], document["origin"]
    assert set(device) <= _DEVICE_KEYS
    assert device["identifiers"] or device["connections"]
    assert all(isinstance(value, str) for key, value in device.items() if key not in {"identifiers", "connections"})
    assert origin["name"]
    assert set(origin) <= _ORIGIN_KEYS
    _check_topic(document["availability_topic"])
    assert document["payload_available"] != document["payload_not_available"]
    assert document.get("qos", 0) in {0, 1, 2}
    for key, component in document["components"].items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", key), key
        _check_component(key, component)
    unique = [component["unique_id"] for component in document["components"].values() if "unique_id" in component]
    assert len(unique) == len(set(unique))
    return document


def _check_component(key: str, component: Json) -> None:
    platform = component["platform"]
    assert platform in _PLATFORMS, key
    if set(component) == {"platform"}:
        return  # it is removed
    assert set(component) <= _KEYS[platform], (key, set(component) - _KEYS[platform])
    assert _REQUIRED[platform] <= set(component), key
    assert component["unique_id"], "needed in the discovery of devices"
    assert component["name"]
    assert component.get("qos", 0) in {0, 1, 2}
    for name in ("state_topic", "command_topic"):
        if name in component:
            _check_topic(component[name])
    if "icon" in component:
        assert re.fullmatch(r"mdi:[a-z0-9-]+", component["icon"])
    category: str | None = component.get("entity_category")
    # homeassistant/components/sensor and binary_sensor refuse the category `config`.
    assert category in {None, "diagnostic"} or (category == "config" and "sensor" not in platform)
    if platform in _CLASSES:
        assert component.get("device_class") in {None, *_CLASSES[platform]}
    {"sensor": _check_sensor, "number": _check_number, "text": _check_text}.get(platform, lambda _: None)(component)


def _check_sensor(component: Json) -> None:
    """sensor.py, validate_sensor_state_and_device_class_config."""
    device_class, unit = component.get("device_class"), component.get("unit_of_measurement")
    assert "last_reset_value_template" not in component or component["state_class"] == "total"
    if "options" in component:
        assert component["options"]
        assert device_class == "enum"
        assert "state_class" not in component
        assert unit is None
    if device_class is not None:
        assert unit in _UNITS[device_class]
    assert component.get("state_class") in {None, "measurement", "total", "total_increasing"}


def _check_number(component: Json) -> None:
    assert component["min"] < component["max"]
    assert component["step"] >= 1e-3
    assert component["mode"] in {"auto", "box", "slider"}


def _check_text(component: Json) -> None:
    assert 0 <= component["min"] < component["max"] <= _MOST_STATE
    assert component.get("mode", "text") in {"text", "password"}


def _check_topic(topic: str) -> None:
    assert topic
    assert not re.search(r"[+#\x00]", topic)


def render(template: str, **variables: object) -> str:
    """Render as Home Assistant does: sandboxed, with its `now`; what is undefined is an error here, not a warning."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals["now"] = lambda: datetime.now(UTC)
    return environment.from_string(template).render(**variables)


def shown(component: Json, status: Mapping[str, Any]) -> object:
    """Return the state that an entity takes from the status; None where that is unknown."""
    text = render(component["value_template"], value=json.dumps(status), value_json=status).strip()
    assert text, "an empty text is ignored"
    return _SHOWS[component["platform"]](component, text)


def _sensor_shows(component: Json, text: str) -> object:
    if text == "None":
        return None
    if component.get("device_class") == "enum":
        assert text in component["options"], text
        return text
    return float(text)


def _switch_shows(component: Json, text: str) -> object:
    assert text in {component["payload_on"], component["payload_off"]}, text
    return text == component["payload_on"]


def _number_shows(component: Json, text: str) -> object:
    value = float(text)
    assert component["min"] <= value <= component["max"]
    return value


_SHOWS: dict[str, Callable[[Json, str], object]] = {
    "sensor": _sensor_shows,
    "binary_sensor": _switch_shows,
    "switch": _switch_shows,
    "number": _number_shows,
}


def command(component: Json, value: object) -> tuple[str, bytes]:
    """Return topic and payload of what an entity sends for `value`."""
    return component["command_topic"], render(component["command_template"], value=value).encode()
