"""All devices that a broker tells of, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.fleet.device import Device, read_report
from edge_agent.fleet.plain import plain
from edge_agent.fleet.target import is_name
from edge_agent.mqtt.payload import PayloadError, read_json
from edge_agent.mqtt.topics import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.fleet.target import Target

MOST_DEVICES = 50_000
_MOST_BYTES = 65_536

Kind = Literal["availability", "status", "reported", "event", "unreadable"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a device told.

    Attributes:
        text: In a few words, for people.
        event: Name of an event.
        data: An event's payload.
        is_news: It was said just now and not retained.
    """

    device: Device
    kind: Kind
    text: str
    event: str = ""
    data: Mapping[str, Any] | None = None
    is_news: bool = True


@dataclass(frozen=True, slots=True)
class Summary:
    """A fleet in numbers."""

    devices: int
    online: int
    offline: int
    applied: int
    rejected: int
    rolled_back: int
    pressed: int
    unreadable: int


class Registry:
    """Learns from messages under `edge-agent/`; what no device of ours sends is counted and else ignored.

    Args:
        most: Devices that are kept; of others only the number of messages is known.
    """

    def __init__(self, most: int = MOST_DEVICES) -> None:
        self._most = most
        self._devices: dict[str, Device] = {}
        self.strange = 0
        self.strange_example = ""
        self.beyond = 0

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def get(self, device_id: str) -> Device | None:
        """Return what is known of a device."""
        return self._devices.get(device_id)

    def members(self, target: Target) -> list[Device]:
        """Return the devices that take a layer's document, by id."""
        return sorted((one for one in self if target.takes_in(one)), key=lambda device: device.id)

    def worst(self, most: int) -> list[Device]:
        """Return up to `most` devices, the worst first, else by id."""
        return heapq.nsmallest(most, self, key=lambda device: (-device.badness, device.id))

    def summary(self) -> Summary:
        """Count."""
        outcomes = Counter(one.report.outcome for one in self if one.report is not None)
        online = Counter(one.online for one in self)
        return Summary(
            len(self),
            online[True],
            online[False],
            outcomes["applied"],
            outcomes["rejected"],
            outcomes["rolled_back"],
            sum(one.pressure in {"hot", "critical"} for one in self),
            sum(one.unreadable > 0 for one in self),
        )

    def hear(self, topic: str, payload: bytes, *, is_retained: bool, at_s: float) -> Change | None:
        """Take a message in; return what it changed, or None where it changed nothing or is none of ours."""
        root, _, rest = topic.partition("/")
        device_id, _, rest = rest.partition("/")
        if root != ROOT or not is_name(device_id):
            self.strange += 1
            self.strange_example = plain(topic, 60)
            return None
        device = self._device(device_id, is_new=bool(payload))
        if device is None:
            return None
        if not is_retained:
            device.seen_at_s = at_s
        try:
            change = self._take(device, rest, payload)
        except PayloadError as error:
            device.unreadable += 1
            device.why_unreadable = plain(f"{rest}: {error}")
            change = Change(device, "unreadable", device.why_unreadable)
        if change is not None and is_retained:
            return Change(change.device, change.kind, change.text, change.event, change.data, is_news=False)
        return change

    def _device(self, device_id: str, *, is_new: bool) -> Device | None:
        device = self._devices.get(device_id)
        if device is None and is_new:
            if len(self._devices) >= self._most:
                self.beyond += 1
                return None
            device = self._devices[device_id] = Device(device_id)
        return device

    def _take(self, device: Device, rest: str, payload: bytes) -> Change | None:
        level, _, name = rest.partition("/")
        match level, name:
            case "availability", "":
                return _take_availability(device, payload)
            case "status", "":
                return _take_status(device, payload)
            case "config", "reported":
                return _take_report(device, payload)
            case "event", _ if is_name(name):
                return _take_event(device, name, payload)
        return None


def _take_availability(device: Device, payload: bytes) -> Change | None:
    said = {b"online": True, b"offline": False, b"": None}
    if payload not in said:
        raise PayloadError('is neither "online" nor "offline"')
    if device.online == said[payload]:
        return None
    device.online = said[payload]
    return Change(device, "availability", "online" if device.online else "offline" if payload else "forgotten")


def _take_status(device: Device, payload: bytes) -> Change | None:
    before = (device.state, device.pressure, device.version)
    device.take_status(read_json(payload, most_bytes=_MOST_BYTES) if payload else {})
    if before == (device.state, device.pressure, device.version):
        return None
    pressure = f", pressure {device.pressure}" if device.pressure not in {"", "normal"} else ""
    return Change(device, "status", f"{device.state or 'no state'}{pressure}")


def _take_report(device: Device, payload: bytes) -> Change | None:
    report = read_report(read_json(payload, most_bytes=_MOST_BYTES)) if payload else None
    if report == device.report:
        return None
    device.report = report
    return Change(device, "reported", _report_text(device))


def _take_event(device: Device, name: str, payload: bytes) -> Change:
    data = read_json(payload, most_bytes=_MOST_BYTES)
    text = name
    if name == "fault":
        device.faults += 1
        message = data.get("message", data.get("text", ""))
        device.last_fault = plain(f"fault: {message}" if isinstance(message, str) and message else "fault")
        text = device.last_fault
    elif name == "pressure" and isinstance(rung := data.get("rung"), str):
        device.pressure = plain(rung, 40)
        text = f"pressure {device.pressure}"
    return Change(device, "event", text, name, data)


def _report_text(device: Device) -> str:
    report = device.report
    if report is None:
        return "its report was removed"
    revisions = ", ".join(f"{layer.replace(':', ' ')} {number}" for layer, number in report.layers) or "no revision"
    why = f": {device.trouble}" if report.outcome in {"rejected", "rolled_back"} else ""
    return f"{report.outcome.replace('_', ' ') or 'report'} ({revisions}){why}"
