"""The part of docs/commands.md that is made of the commands themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.mqtt.command_args import COMMANDS

if TYPE_CHECKING:
    from edge_agent.mqtt.command_args import Command

_EXAMPLE_ID = "7f3a"


def commands_markdown() -> str:
    """Return a section for each command: what it does, arguments, result, and an example of both."""
    return "\n\n".join(_section(command) for command in COMMANDS.values()) + "\n"


def _section(command: Command) -> str:
    parts = [f"### {command.name}", command.summary, _arguments(command)]
    if command.returns:
        rows = [f"| `{name}` | {meaning} |" for name, meaning in command.returns.items()]
        parts.append("\n".join(["| in `data` | |", "|---|---|", *rows]))
    at_once = f", {command.most} under way at most" if command.most is not None else ""
    parts.append(f"Given up after {command.timeout_s:g} s{at_once}.")
    sent = {"id": _EXAMPLE_ID, "args": command.example} if command.example else {"id": _EXAMPLE_ID}
    result = {"id": _EXAMPLE_ID, "ok": True, "error": None, "data": command.result}
    parts.append(f"```json\n{_json(sent)}\n{_json(result)}\n```")
    return "\n\n".join(parts)


def _arguments(command: Command) -> str:
    schema = command.args.model_json_schema()
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    if not properties:
        return "No arguments."
    needed = schema.get("required", ())
    rows = [
        f"| `{name}` | {_kind(entry)} | {'needed' if name in needed else _default(entry)} | {entry['description']} |"
        for name, entry in properties.items()
    ]
    return "\n".join(["| argument | | default | |", "|---|---|---|---|", *rows])


def _kind(entry: dict[str, Any]) -> str:
    """Say in words what a value must be."""
    options = [option for option in entry.get("anyOf", ()) if option.get("type") != "null"]
    entry = {**entry, **(options[0] if options else {})}
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    kind = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}[entry["type"]]
    if "maxLength" in entry:
        return f"{kind}, at most {entry['maxLength']} characters"
    if "exclusiveMinimum" in entry:
        return f"{kind}, more than {entry['exclusiveMinimum']:g}, at most {entry['maximum']}"
    if "maximum" in entry:
        return f"{kind}, {entry['minimum']} to {entry['maximum']}"
    return kind


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    return "none" if default in (None, "") else f"`{_json(default)}`"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
