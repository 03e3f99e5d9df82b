"""What is wrong with a configuration, in words and by key, from what pydantic says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from edge_agent.config.schema import Config
from edge_agent.config.suggest import suggest
from edge_agent.errors import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

    from edge_agent.config.merge import Keys, Tree

Sources = dict["Keys", str]
"""Where what stands at a path comes from, the strongest last; what is not named comes from the file."""

_LONGEST_SHOWN = 60


def problem_of(details: ErrorDetails, tree: Tree, file: str, sources: Mapping[Keys, str]) -> ConfigProblem:
    """Return one of pydantic's errors as a problem of `tree`."""
    is_missing = details["type"] == "missing"
    location = _written_keys(details["loc"], tree, missing=is_missing)
    source = source_of(location[:-1] if is_missing else location, file, sources)
    message = details["msg"][:1].lower() + details["msg"][1:]
    if details["type"] == "extra_forbidden":
        message = unknown(location)
    elif details["type"] == "too_short":
        message = f"needs at least {details['ctx']['min_length']} of them"
    elif details["type"] == "string_pattern_mismatch":
        message = f"does not have the right form (is {_shown(details['input'])}): {_description(location)}"
    elif not is_missing and not isinstance(details["input"], dict):
        message = f"{message} (is {_shown(details['input'])})"
    return ConfigProblem(".".join(location), message, source)


def source_of(location: Keys, file: str, sources: Mapping[Keys, str]) -> str:
    """Return what set a key, or, for a section that is wrong as a whole, the strongest that set a key in it."""
    found = [
        source for keys, source in sources.items() if keys[: len(location)] == location or location[: len(keys)] == keys
    ]
    return found[-1] if found else file


def unknown(location: Sequence[str]) -> str:
    """Say that there is no such key, and which one may be meant."""
    parent = section_at(location[:-1])
    return f"unknown key{suggest(location[-1], parent.model_fields if parent else ())}"


def is_known(location: Sequence[str]) -> bool:
    """Tell whether the schema has that key; what stands below a plain value is the value's affair."""
    section: type[BaseModel] | None = Config
    parts = list(location)
    while parts and section is not None:
        field = section.model_fields.get(parts.pop(0))
        if field is None:
            return False
        section = _model_in(field.annotation)
        if _is_table(field.annotation) and parts:
            parts.pop(0)
    return True


def section_at(location: Sequence[str]) -> type[BaseModel] | None:
    """Find the model that holds the keys at `location`, through optional sections and tables of sections."""
    section: type[BaseModel] = Config
    parts = list(location)
    while parts:
        field = section.model_fields.get(parts.pop(0))
        found = _model_in(field.annotation) if field else None
        if field is None or found is None:
            return None
        if _is_table(field.annotation) and parts:
            parts.pop(0)
        section = found
    return section


def once_per_key(problems: Sequence[ConfigProblem]) -> list[ConfigProblem]:
    """Unions report each member, and lists what a wrong item leads to: the first and innermost message is kept."""
    seen: dict[tuple[str, str], ConfigProblem] = {}
    for problem in problems:
        seen.setdefault((problem.source, problem.key), problem)
    keys = [problem.key for problem in seen.values()]
    return [
        problem
        for problem in seen.values()
        if not (problem.key and any(key.startswith(f"{problem.key}.") for key in keys))
    ]


def _description(location: Sequence[str]) -> str:
    section = section_at(location[:-1])
    field = section.model_fields.get(location[-1]) if section else None
    return (field.description if field else None) or "see `edge-agent config schema`"


def _written_keys(location: Sequence[int | str], tree: object, *, missing: bool) -> Keys:
    """Leave out what pydantic adds to a location for the members of a union; a `missing` key is the last part."""
    keys: list[str] = []
    for position, part in enumerate(location, start=1):
        if not isinstance(tree, dict | list):
            break
        known = part in tree if isinstance(tree, dict) else isinstance(part, int) and part < len(tree)
        if known:
            tree = tree[part]  # type: ignore[index]  # a key of a dict or an index of a list
        if known or (missing and position == len(location)):
            keys.append(str(part))
    return tuple(keys)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _is_table(annotation: Any) -> bool:  # noqa: ANN401 - a type expression
    return getattr(annotation, "__origin__", None) is dict
