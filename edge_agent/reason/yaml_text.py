"""YAML as people mean it, with the line of every key.

Differences from plain YAML 1.1: `on`, `off`, `yes` and `no` are words, not booleans; times and dates are text; a
key may not occur twice. Files are bounded in size, depth and in what their aliases expand to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_MAX_SIZE_BYTES = 1_000_000
_MAX_NODES = 100_000
_MAX_DEPTH = 24

_TAG = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|timestamp|value)")
_TRUTH = re.compile(r"true|false", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_NOTHING = ("", "~", "null", "Null", "NULL")
_QUOTED = ("'", '"', "|", ">")

Key = tuple[str | int, ...]


class YamlTextError(ValueError):
    """The text is not the YAML that is expected; the message begins with the line where it is known."""


@dataclass(frozen=True, slots=True)
class YamlText:
    """A parsed file.

    Attributes:
        value: Plain values; the top level is a mapping.
        lines: The line, from 1, of every key and list item by its path.
    """

    value: dict[str, Plain]
    lines: Mapping[Key, int]

    def line(self, key: Key) -> int:
        """The line of a key, or of its nearest ancestor that has one."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read_yaml(path: Path) -> YamlText:
    """Read and parse a file.

    Raises:
        YamlTextError: It is too large, not UTF-8 or not as this module's docstring says.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_SIZE_BYTES + 1)
    if len(content) > _MAX_SIZE_BYTES:
        raise YamlTextError(f"is larger than {_MAX_SIZE_BYTES // 1000} kB; split it into several files")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlTextError(f"line {line}: is not UTF-8 text; save the file with that encoding") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> YamlText:
    """Parse a document whose top level is a mapping.

    Raises:
        YamlTextError: It is not as this module's docstring says.
    """
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        _bound_depth(yaml.parse(text, Loader=loader))
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        if "nesting depth" in (error.problem or ""):  # newer libyaml looks ahead, and has a limit of its own
            raise YamlTextError(f"{where}is nested too deeply") from error
        raise YamlTextError(f"{where}is not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise YamlTextError(f"is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise YamlTextError("holds no keys; it needs at least `intents:` or `lists:`")
    reader = _Reader()
    value = reader.mapping(root, ())
    return YamlText(value, reader.lines)


def _bound_depth(events: Iterable[yaml.Event]) -> None:
    """Refuse nesting that the C composer, which recurses without a limit of its own, dies of."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise YamlTextError(f"line {line}: is nested too deeply")


class _Reader:
    """Turns nodes into plain values, counting them: an alias is a node again each time it is used."""

    def __init__(self) -> None:
        self.lines: dict[Key, int] = {}
        self._nodes = 0

    def _value(self, node: yaml.Node, key: Key) -> Plain:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > _MAX_NODES or len(key) > _MAX_DEPTH:
            raise YamlTextError(f"line {line}: is too large or too deep with its aliases (`*name`) expanded")
        self.lines.setdefault(key, line)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*key, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or not _TAG.fullmatch(node.tag):
            raise YamlTextError(f"line {line}: the tag {node.tag} has no meaning here; remove it")
        return _scalar(node.value, node.style)

    def mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Plain]:
        """Turn a mapping's node into a dictionary."""
        values: dict[str, Plain] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            name = name_node.value
            if not isinstance(name_node, yaml.ScalarNode):
                raise YamlTextError(f"line {line}: a key must be a single word")
            if name in values:
                first = self.lines[(*key, name)]
                raise YamlTextError(f"line {line}: the key {name!r} occurs twice (first on line {first})")
            self.lines[(*key, name)] = line
            values[name] = self._value(value_node, (*key, name))
        return values


def _scalar(text: str, style: str | None) -> Plain:
    if style in _QUOTED:
        return text
    if text in _NOTHING:
        return None
    if _TRUTH.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 18 else text  # noqa: PLR2004 - a longer one is a code, not a number
    if _FRACTION.fullmatch(text):
        return float(text)
    return text
