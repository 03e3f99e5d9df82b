"""Reads JSON that anybody may have written."""

from __future__ import annotations

import json
import re
from typing import Any

from edge_agent.errors import BadInputError

_SHOWN = 60
_DIGITS = 40
"""Longer numbers are nothing that a setting or a command could mean, and cost quadratic time to read."""
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]|,|[-+0-9.eE]{41,}', re.DOTALL)
"""Strings, which are passed over whole; brackets; commas; numbers that are too long. Linear: nothing is tried twice."""


class PayloadError(BadInputError):
    """A payload is not the JSON object that it should be; the message says why."""


def read_json(payload: bytes, *, most_bytes: int, most_depth: int = 16, most_items: int = 10_000) -> dict[str, Any]:
    """Parse an object; bounds are checked before anything is built.

    Args:
        payload: UTF-8.
        most_bytes: Its size.
        most_depth: Objects and arrays within each other, the outermost included.
        most_items: Members and elements in all of it.

    Raises:
        PayloadError: It is too large, too deep or too rich, is not UTF-8 or JSON, holds NaN, Infinity, a lone surrogate
            or a name twice, or is not an object.
    """
    if len(payload) > most_bytes:
        raise PayloadError(f"is {len(payload)} bytes long; at most {most_bytes} are read")
    _check_structure(payload, most_depth, most_items)
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"is not UTF-8: byte {error.start} is wrong") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise PayloadError(f"is not JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    if not isinstance(value, dict):
        raise PayloadError(f"is not a JSON object but {_kind(value)}")
    try:
        # An escape can make half a character, which no topic, file or log could hold.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise PayloadError("holds half of a surrogate pair (\\ud800 to \\udfff), which is no character") from None
    return value


def _check_structure(payload: bytes, most_depth: int, most_items: int) -> None:
    depth = items = 0
    for match in _STRUCTURE.finditer(payload):
        token = match[0]
        if token in b"[{":
            depth += 1
            items += 1
            if depth > most_depth:
                raise PayloadError(f"is nested more than {most_depth} deep")
        elif token in b"]}":
            depth -= 1
        elif token == b",":
            items += 1
        elif not token.startswith(b'"'):
            raise PayloadError(f"holds a number of more than {_DIGITS} digits")
        if items > most_items:
            raise PayloadError(f"holds more than {most_items} items")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise PayloadError(f"says {_shown(name)} twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> float:
    raise PayloadError(f"holds {name}, which is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise PayloadError(f"holds {_shown(digits)}, which is too large a number")
    return number


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "a number"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
