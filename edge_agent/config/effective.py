"""The configuration in effect: its fingerprint, and where each value comes from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edge_agent.config.merge import canonical, leaves, overrides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.layers import RemoteLayer
    from edge_agent.config.load import OwnConfig
    from edge_agent.config.schema import Config


def fingerprint(config: Config) -> str:
    """Return the SHA-256, in hexadecimal digits, of the effective configuration as sorted, compact JSON in UTF-8.

    The configuration holds no secrets, only the paths of files that do; a field of pydantic's `SecretStr` would
    enter as a row of asterisks.
    """
    # A path may hold bytes that are no UTF-8; Python carries them as halves of surrogate pairs.
    return hashlib.sha256(canonical(config.model_dump(mode="json"), "surrogateescape")).hexdigest()


def sources(own: OwnConfig, layers: Sequence[RemoteLayer] = ()) -> dict[str, str]:
    """Return, by dotted key, which file, variable or layer each value is from; what is not named is a default."""
    found = {keys: own.sources.get(keys, own.file) for keys, _ in leaves(own.tree)}
    found |= own.sources
    for layer in layers:
        for keys, value in leaves(overrides(layer.patch)):
            if value == {}:
                continue
            found = {other: source for other, source in found.items() if other[: len(keys)] != keys}
            found[keys] = str(layer)
    return {".".join(keys): source for keys, source in sorted(found.items())}
