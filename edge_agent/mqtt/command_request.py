"""Reads a command: everything that is wrong with it at once, each by its key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.config.suggest import suggest
from edge_agent.mqtt.command_args import COMMANDS
from edge_agent.mqtt.controls import CommandError
from edge_agent.mqtt.payload import PayloadError, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from edge_agent.mqtt.command_args import Args, Command
    from edge_agent.mqtt.controls import ErrorCode

MOST_COMMAND_BYTES = 16_384
"""The longest text, escaped in the longest way, is 12 kB."""
_MOST_DEPTH = 8
_MOST_ITEMS = 200
_MOST_PROBLEMS = 20
_SHOWN = 60
_ID = re.compile(r"[!-~]{1,128}")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=r"^[!-~]{1,128}$")
    expires_at: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """One command as it was sent.

    Attributes:
        expires_at: With a time zone; from then on it is not wanted any more.
    """

    id: str
    command: Command
    args: Args
    expires_at: datetime | None


class RequestError(CommandError):
    """A command can't be carried out as it was sent; `request_id` is its id where it has a valid one."""

    def __init__(self, code: ErrorCode, message: str, request_id: str | None = None) -> None:
        super().__init__(code, message)
        self.request_id = request_id


def read_request(name: str, payload: bytes) -> CommandRequest:
    """Return the command that `payload` is.

    Raises:
        RequestError: It is none, or one with wrong arguments; the message names every wrong key.
    """
    try:
        tree = read_json(payload, most_bytes=MOST_COMMAND_BYTES, most_depth=_MOST_DEPTH, most_items=_MOST_ITEMS)
    except PayloadError as error:
        raise RequestError("bad_request", str(error)) from error
    found = tree.get("id")
    request_id = found if isinstance(found, str) and _ID.fullmatch(found) else None
    command = COMMANDS.get(name)
    if command is None:
        raise RequestError("unknown_command", f'there is no command "{name}"{suggest(name, COMMANDS)}', request_id)
    problems: list[str] = []
    expires_at = None
    try:
        envelope = _Envelope.model_validate(tree)
        expires_at = None if envelope.expires_at is None else _instant(envelope.expires_at)
    except ValidationError as error:
        problems += _problems(error, _Envelope, "")
    except ValueError:
        problems.append("expires_at: is no date and time with a zone (RFC 3339), such as 2030-01-31T12:00:00Z")
    args = tree.get("args", {})
    if isinstance(args, dict):
        try:
            checked = command.args.model_validate(args)
        except ValidationError as error:
            problems += _problems(error, command.args, "args.")
    if problems:
        raise RequestError("bad_request", _listed(problems), request_id)
    return CommandRequest(envelope.id, command, checked, expires_at)


def _instant(text: str) -> datetime:
    """Return the point in time.

    Raises:
        ValueError: It is none that RFC 3339 allows.
    """
    text = text.upper()
    if not _RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text)


def _problems(error: ValidationError, model: type[BaseModel], prefix: str) -> list[str]:
    return [_problem(details, model, prefix) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, model: type[BaseModel], prefix: str) -> str:
    key = prefix + ".".join(_cut(str(part)) for part in details["loc"]) if details["loc"] else prefix.rstrip(".")
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown key{suggest(_cut(str(details['loc'][-1])), model.model_fields)}"
    message = details["msg"][:1].lower() + details["msg"][1:]
    if details["type"] == "missing":
        return f"{key}: is missing{_meaning(details, model)}"
    if details["type"] == "string_pattern_mismatch":
        return f"{key}: does not have the right form (is {_shown(details)}){_meaning(details, model)}"
    if isinstance(details["input"], str | int | float | bool | None):
        message = f"{message} (is {_shown(details)})"
    return f"{key}: {message}"


def _meaning(details: ErrorDetails, model: type[BaseModel]) -> str:
    described = model.model_fields.get(str(details["loc"][-1]))
    if described is not None and described.description:
        return f": {described.description}"
    return ": 1 to 128 visible ASCII characters" if details["loc"] == ("id",) else ""


def _shown(details: ErrorDetails) -> str:
    value = details["input"]
    try:
        return _cut(repr(value))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def _cut(text: str) -> str:
    plain = text.encode("ascii", "backslashreplace").decode("ascii") if not text.isprintable() else text
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 3]}..."


def _listed(problems: Iterable[str]) -> str:
    listed = list(dict.fromkeys(problems))
    more = len(listed) - _MOST_PROBLEMS
    return "; ".join(listed[:_MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def schemas() -> Mapping[str, dict[str, Any]]:
    """Return the JSON schema of each command's arguments, by the command's name."""
    return {name: command.args.model_json_schema() for name, command in COMMANDS.items()}
