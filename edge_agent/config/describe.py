"""The configuration's keys as a Markdown table, for docs/configuration.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from edge_agent.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


def as_markdown() -> str:
    """Return a table with a row for each key: name, what it takes, default, meaning."""
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(field)} | {field.description} |" for key, field in _keys(Config, "")
    ]
    return "\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _keys(section: type[BaseModel], path: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        key = f"{path}{name}"
        inner = _section_in(field.annotation)
        if inner is None:
            yield key, field
        elif get_origin(field.annotation) is dict:
            yield from _keys(inner, f"{key}.<name>.")
        else:
            yield from _keys(inner, f"{key}.")


def _section_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _kind(field: FieldInfo) -> str:
    bounds = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}
    limits = [
        f"{sign} {getattr(limit, kind.__name__.lower())}"
        for kind, sign in bounds.items()
        for limit in field.metadata
        if isinstance(limit, kind)
    ]
    return " ".join([_type_name(field.annotation), ", ".join(limits)]).strip()


def _type_name(annotation: Any) -> str:  # noqa: ANN401 - a type expression
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{part}`" for part in parts)
    if origin in {tuple, list}:
        inner = [part for part in parts if part is not Ellipsis]
        return f"{len(inner)} times {_type_name(inner[0])}" if len(inner) > 1 else f"list of {_type_name(inner[0])}"
    if origin is dict:
        return f"table of {_type_name(parts[1])}"
    if parts:
        names = [_type_name(part) for part in parts if part is not type(None)]
        return " or ".join(dict.fromkeys(name for name in names if name))
    plain = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}
    return plain.get(getattr(annotation, "__name__", ""), "")


def _default(field: FieldInfo) -> str:  # noqa: PLR0911 - one line a kind
    if field.default_factory is not None:
        return "none"
    if field.default is PydanticUndefined:
        return "required"
    match field.default:
        case None:
            return "unset"
        case "":
            return "empty"
        case bool():
            return f"`{str(field.default).lower()}`"
        case tuple():
            return ", ".join(f"`{part}`" for part in field.default) or "none"
        case str() if len(field.default) > 40:  # noqa: PLR2004 - fits the table
            return "a sentence"
        case _:
            return f"`{field.default}`"
