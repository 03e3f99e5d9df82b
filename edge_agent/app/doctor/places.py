"""Where the installed service keeps things, seen by whoever looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.places import Places, find_places

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config

STATE, CACHE, CONFIG = "var/lib/edge-agent", "var/cache/edge-agent", "etc/edge-agent"


def places_of(config: Config, root: Path) -> Places:
    """Return the service's places where it is installed, also for a user who may not write there; else one's own."""
    own = find_places(config.directories)
    state, cache = root / STATE, root / CACHE
    if not state.is_dir():
        return own
    return Places(
        models=config.directories.models or state / "models",
        cache=config.directories.cache or (cache if cache.is_dir() else own.cache),
        state=config.directories.state or state,
    )
