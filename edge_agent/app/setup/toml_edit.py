"""Changes keys of a TOML text and nothing else: comments, order and other keys stay as their owner wrote them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from edge_agent.app.setup.errors import NotEditableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.merge import Keys, Tree

_HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"^\s*\[")
_MISSING = object()


def edit(text: str, changes: Mapping[Keys, Any], defaults: Tree, path: Path) -> str:
    """Return `text` with `changes`: the same text where all of them hold already.

    Args:
        text: TOML.
        changes: Values by key; None takes a key out.
        defaults: What holds where the text says nothing: a key that is absent is not written to say the same.
        path: Names the text in errors.

    Raises:
        NotEditableError: It can't be done in place.
    """
    for keys, value in changes.items():
        text = _set(text, keys, value, defaults, path)
    return text


def _set(text: str, keys: Keys, value: Any, defaults: Tree, path: Path) -> str:  # noqa: ANN401 - what TOML holds
    tree = tomllib.loads(text)
    there = _at(tree, keys)
    if there == value or (there is _MISSING and (value is None or _at(defaults, keys) == value)):
        return text
    wanted = _expected(tree, keys, value)
    ways = (_replaced,) if there is not _MISSING else (_inserted, _replaced)
    for way in ways:
        edited = way(text, keys, value)
        # A text can be written in more ways than are thought of here: what comes out has to mean what was wanted.
        if edited is not None and _meaning(edited) == wanted:
            return edited
    raise NotEditableError(path, ".".join(keys))


def _replaced(text: str, keys: Keys, value: Any) -> str | None:  # noqa: ANN401
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        table: Any = document
        for key in keys[:-1]:
            if key not in table:
                table[key] = tomlkit.table()
            table = table[key]
        if value is None:
            del table[keys[-1]]
        else:
            table[keys[-1]] = value
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, KeyError):
        return None


def _inserted(text: str, keys: Keys, value: Any) -> str | None:  # noqa: ANN401
    """Put a new key at the end of its section's first paragraph, or a new section at the end."""
    line = f"{keys[-1]} = {_written(value)}"
    lines = text.split("\n")
    if len(keys) == 1:
        at, gap = _before_sections(lines)
        return _joined(lines, at, [line, *gap])
    section = ".".join(keys[:-1])
    for at, found in enumerate(lines):
        header = _HEADER.match(found)
        if header is not None and header[1] == section:
            return _joined(lines, _end_of_paragraph(lines, at + 1), [line])
    body = text.rstrip("\n")
    return f"{body}\n\n[{section}]\n{line}\n" if body else f"[{section}]\n{line}\n"


def _written(value: Any) -> str:  # noqa: ANN401
    import tomli_w

    if isinstance(value, list):
        return f"[{', '.join(_written(item) for item in value)}]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip("\n")


def _joined(lines: Sequence[str], at: int, new: Sequence[str]) -> str:
    text = "\n".join([*lines[:at], *new, *lines[at:]])
    return text if text.endswith("\n") else f"{text}\n"


def _before_sections(lines: Sequence[str]) -> tuple[int, list[str]]:
    """Return where a key of the top level goes, and the lines that part it from what follows.

    That is above the first section and the comment that belongs to it, but below a comment that opens the file.
    """
    header = first = next((at for at, line in enumerate(lines) if _ANY_HEADER.match(line)), len(lines))
    while first and header < len(lines) and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    if first == 0 and header > 0:
        return header, [""]
    while first and not lines[first - 1].strip():
        first -= 1
    return first, [] if first or header == len(lines) else [""]


def _end_of_paragraph(lines: Sequence[str], at: int) -> int:
    while at < len(lines) and lines[at].strip() and not _ANY_HEADER.match(lines[at]):
        at += 1
    return at


def _meaning(text: str) -> Tree | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _at(tree: object, keys: Keys) -> object:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return _MISSING
        tree = tree[key]
    return tree


def _expected(tree: Tree, keys: Keys, value: Any) -> Tree:  # noqa: ANN401
    changed = dict(tree)
    if len(keys) == 1:
        if value is None:
            changed.pop(keys[0], None)
        else:
            changed[keys[0]] = value
        return changed
    below = changed.get(keys[0], {})
    changed[keys[0]] = _expected(below if isinstance(below, dict) else {}, keys[1:], value)
    return changed
