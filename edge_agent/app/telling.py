"""Gathers what the status on MQTT says from those who know it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent import __version__
from edge_agent.events import DeviceState
from edge_agent.runtime.pressure import Rung

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.app.status import StatusBook
    from edge_agent.mqtt.link import LinkState
    from edge_agent.reason.ports import Volume
    from edge_agent.runtime.pressure import PressureState

_OPENING_S = 15.0
"""After the start; no microphone by then is a problem."""
_REPORTED = ("revisions", "outcome", "hash")


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """Where the parts of the status come from. All are called on the loop.

    Attributes:
        uptime_s: Seconds since the service began.
        pressure: The last look at the sensors; None before the first.
        outbox: The outbox' figures.
        configuration: What `config/reported` says.
        groups: Of the device.
    """

    book: StatusBook
    volume: Callable[[], Volume]
    uptime_s: Callable[[], float]
    pressure: Callable[[], PressureState | None]
    link: Callable[[], LinkState]
    outbox: Callable[[], Mapping[str, Any]]
    configuration: Callable[[], Mapping[str, Any]]
    groups: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the status, but for what `Telling` adds.

        The faults and the trouble of the status book are left out: their words are for the device's owner alone.
        """
        known, volume, pressure, link = self.book.describe(), self.volume(), self.pressure(), self.link()
        reported = self.configuration()
        return {
            "state": known["state"],
            "muted": known["muted"],
            "volume": volume.percent,
            "silenced": volume.muted,
            "versions": {"edge_agent": __version__, "python": platform.python_version()},
            "groups": list(self.groups),
            "engines": known["engines"],
            "pressure": pressure and {"rung": pressure.rung.label, "reasons": list(pressure.reasons)},
            "temperature_c": None if pressure is None else pressure.reading.temperature_c,
            "uptime_s": round(self.uptime_s()),
            "audio": known["audio"],
            "counters": known["counters"],
            "link": {"broker": link.broker, "connects": link.connects, "taken_over": link.taken_over},
            "outbox": dict(self.outbox()),
            "config": {key: reported[key] for key in _REPORTED if key in reported},
            "problems": self._problems(known, pressure),
        }

    def _problems(self, known: Mapping[str, Any], pressure: PressureState | None) -> list[str]:
        problems = []
        audio = known["audio"]
        is_deaf = audio["microphone"] is None or DeviceState(audio["microphone_state"]).is_useless
        if is_deaf and self.uptime_s() > _OPENING_S:
            problems.append("microphone")
        if DeviceState(audio["speaker_state"]).is_useless:
            problems.append("speaker")
        if pressure is not None and pressure.rung >= Rung.HOT:
            problems.append("pressure")
        return problems
