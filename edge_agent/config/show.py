"""Prints a configuration as TOML that loads again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_agent.config.schema import Config


def as_toml(config: Config) -> str:
    """Return the effective configuration; keys that are unset appear as comments."""
    import tomli_w

    tree: dict[str, Any] = json.loads(config.model_dump_json())
    unset: list[str] = []
    text = tomli_w.dumps(_without_none(tree, "", unset))
    notes = "".join(f"# unset: {key}\n" for key in unset)
    return f"{text}\n{notes}" if notes else text


def _without_none(tree: dict[str, Any], path: str, unset: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if value is None:
            unset.append(where)
        elif isinstance(value, dict):
            kept[key] = _without_none(value, where, unset)
        else:
            kept[key] = value
    return kept
