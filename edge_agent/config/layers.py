"""The remote layers that lie over a device's own configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.config.merge import Tree
    from edge_agent.config.mqtt import Layer


@dataclass(frozen=True, slots=True)
class RemoteLayer:
    """A layer's document.

    Attributes:
        layer: Whom it is for.
        group: The group's name; empty unless `layer` is group.
        revision: Its number.
        patch: All that the layer overrides, as a merge patch.
    """

    layer: Layer
    group: str
    revision: int
    patch: Tree

    def __str__(self) -> str:
        name = f"group {self.group}" if self.layer == "group" else self.layer
        return f"{name} revision {self.revision}"
