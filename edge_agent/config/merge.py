"""JSON merge patches, and JSON in the one form that is signed and hashed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Tree = dict[str, Any]
Keys = tuple[str, ...]
"""A key's path: parts, since a part may hold a dot itself."""


def merge(target: object, patch: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return `target` with a JSON merge patch (RFC 7396) applied to it; neither is changed.

    Objects are merged key by key, null takes a key out, everything else, lists too, replaces what was there.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def overrides(patch: Mapping[str, Any]) -> Tree:
    """Return what a layer's complete patch sets: the patch applied to nothing, so that a null sets nothing."""
    tree: Tree = merge({}, patch)
    return tree


def leaves(tree: Mapping[str, Any], path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield the paths that hold something other than an object, or an empty one."""
    for key, value in tree.items():
        where = (*path, key)
        if isinstance(value, dict) and value:
            yield from leaves(value, where)
        else:
            yield where, value


def canonical(value: object, errors: str = "strict") -> bytes:
    """Return the one form of a JSON value: keys sorted by code point, no white space, UTF-8.

    Args:
        value: What JSON can hold.
        errors: What becomes of halves of surrogate pairs, as in `str.encode`.

    Raises:
        ValueError: It holds what JSON has not: NaN, infinity, half of a surrogate pair.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors=errors)
