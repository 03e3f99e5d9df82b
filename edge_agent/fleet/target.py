"""Whom a change is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError
from edge_agent.mqtt.topics import FLEET_ROOT, ROOT

if TYPE_CHECKING:
    from edge_agent.config.mqtt import Layer
    from edge_agent.fleet.device import Device

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_name(text: str) -> bool:
    """Tell whether `text` can be the id of a device or the name of a group."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Target:
    """One layer of configuration: the fleet's, a group's or a device's; `name` is empty for the fleet.

    Raises:
        BadInputError: The name can't be one level of a topic.
    """

    layer: Layer
    name: str = ""

    def __post_init__(self) -> None:
        if self.layer != "fleet" and not is_name(self.name):
            raise BadInputError(
                f"{self.name!r} can't be a {self.layer}'s name: it has letters, digits, _ and -, 64 at most"
            )

    @property
    def topic(self) -> str:
        """Where its document is retained."""
        match self.layer:
            case "fleet":
                return f"{FLEET_ROOT}/config/desired"
            case "group":
                return f"{FLEET_ROOT}/group/{self.name}/config/desired"
            case "device":
                return f"{ROOT}/{self.name}/config/desired"

    def takes_in(self, device: Device) -> bool:
        """Tell whether `device` takes this layer's document."""
        match self.layer:
            case "fleet":
                return True
            case "group":
                return device.is_in(self.name)
            case "device":
                return device.id == self.name

    def __str__(self) -> str:
        return "the fleet" if self.layer == "fleet" else f"{self.layer} {self.name}"
