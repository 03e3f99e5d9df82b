"""Where things stand on the broker: every topic that a device publishes and subscribes to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.mqtt import Layer

ROOT = "edge-agent"
FLEET_ROOT = "edge-agent-fleet"

_LEVEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DESIRED = "config/desired"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device.

    Attributes:
        groups: Whose configuration it takes; a later one beats an earlier one.
    """

    device_id: str
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.device_id, *self.groups):
            _level(name)

    @property
    def root(self) -> str:
        """What all topics that the device itself owns begin with."""
        return f"{ROOT}/{self.device_id}"

    @property
    def availability(self) -> str:
        """Retained: `online` or `offline`."""
        return f"{self.root}/availability"

    @property
    def status(self) -> str:
        """Retained: what the device is and does."""
        return f"{self.root}/status"

    @property
    def metrics(self) -> str:
        """Figures, from time to time."""
        return f"{self.root}/metrics"

    @property
    def reported(self) -> str:
        """Retained: which configuration is in force, and what became of the last change."""
        return f"{self.root}/config/reported"

    @property
    def commands(self) -> str:
        """A filter for all commands."""
        return f"{self.root}/command/+"

    def event(self, name: str) -> str:
        """Return where events of that name go.

        Raises:
            ValueError: `name` is not one level of letters, digits, `_` and `-`.
        """
        return f"{self.root}/event/{_level(name)}"

    def command(self, name: str) -> str:
        """Return where a command is given.

        Raises:
            ValueError: As for `event`.
        """
        return f"{self.root}/command/{_level(name)}"

    def result(self, name: str) -> str:
        """Return where a command's result goes, where the sender names no other topic.

        Raises:
            ValueError: As for `event`.
        """
        return f"{self.command(name)}/result"

    def desired(self) -> Mapping[str, tuple[Layer, str]]:
        """Return each topic of desired configuration with its layer and group, the weakest first."""
        topics: dict[str, tuple[Layer, str]] = {f"{FLEET_ROOT}/{_DESIRED}": ("fleet", "")}
        for group in self.groups:
            topics[f"{FLEET_ROOT}/group/{group}/{_DESIRED}"] = ("group", group)
        topics[f"{self.root}/{_DESIRED}"] = ("device", "")
        return topics


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a subscription to `topic_filter` gets messages of `topic` (MQTT 5, section 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in {"+", levels[at]}:
            return False
    return len(wanted) == len(levels)


def _level(name: str) -> str:
    if not _LEVEL.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not one level of a topic: letters, digits, _ and -, at most 64")
    return name
