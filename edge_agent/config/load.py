"""Reads the configuration: defaults, then the TOML file, then the environment, and finds every error at once."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from edge_agent.config.schema import Config
from edge_agent.config.suggest import suggest
from edge_agent.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

ENVIRONMENT_PREFIX = "EDGE_AGENT_"
SYSTEM_FILE = Path("/etc/edge-agent/config.toml")
NOT_SETTINGS = frozenset({"CONFIG", "EXTRAS", "TEST_DATA", "REQUIRE_TEST_DATA", "STRICT_SKIPS"})
"""Variables with our prefix that configure the installation or the tests instead."""
_MAX_FILE_BYTES = 1_000_000

Tree = dict[str, Any]


def default_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that is read where none is named: $EDGE_AGENT_CONFIG, the system's, the user's, or none."""
    if named := environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        return Path(named)
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "edge-agent", "config.toml")
    return next((path for path in (SYSTEM_FILE, home) if path.is_file()), None)


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Load the file at `path` (None: `default_file`, defaults where there is none) under the environment.

    Raises:
        ConfigError: Holds every problem of the file and of the environment, one for each key.
    """
    path = path or default_file(environ)
    tree = _read(path) if path else {}
    overrides = _from_environment(environ)
    sources: dict[tuple[str, ...], str] = {}
    problems: list[ConfigProblem] = []
    for keys, (variable, value) in overrides.items():
        sources[keys] = variable
        if not _put(tree, keys, value):
            problems.append(ConfigProblem(".".join(keys), "the file holds a plain value here, not a section", variable))
    base_dir = path.resolve().parent if path else Path.cwd()
    try:
        config = Config.model_validate(tree, context={"base_dir": base_dir})
    except ValidationError as error:
        where = str(path) if path else "defaults"
        problems += [_problem(details, tree, where, sources) for details in error.errors(include_url=False)]
    else:
        problems += _contradictions(config, str(path) if path else "defaults")
    if problems:
        raise ConfigError(_once_per_key(problems))
    return config


def _contradictions(config: Config, source: str) -> list[ConfigProblem]:
    """Find keys that are right each by itself and wrong together."""
    if config.activation.mode == "button" and config.gpio.button is None:
        return [ConfigProblem("activation.mode", 'is "button", which needs gpio.button.pin', source)]
    return []


def _read(path: Path) -> Tree:
    def refuse(message: str) -> ConfigError:
        return ConfigError([ConfigProblem("", message, str(path))])

    try:
        if path.is_file() and path.stat().st_size > _MAX_FILE_BYTES:
            raise refuse(f"is larger than {_MAX_FILE_BYTES} bytes; this can't be a configuration file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise refuse(f"is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise refuse(f"is not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise refuse("is nested too deeply") from error
    except OSError as error:
        raise refuse(f"can't be read: {error.strerror}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[tuple[str, ...], tuple[str, Any]]:
    """Map key paths to (variable, value); EDGE_AGENT_AUDIO__VOLUME is audio.volume."""
    found: dict[tuple[str, ...], tuple[str, Any]] = {}
    for variable, text in sorted(environ.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in NOT_SETTINGS:
            continue
        found[tuple(name.lower().split("__"))] = (variable, _value(text))
    return found


def _value(text: str) -> Any:  # noqa: ANN401 - whatever TOML can hold
    """Lists, tables and quoted strings are TOML; anything else stays text, which pydantic converts."""
    if text[:1] in '[{"':
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _put(tree: Tree, keys: Sequence[str], value: Any) -> bool:  # noqa: ANN401
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            return False
    tree[keys[-1]] = value
    return True


def _problem(details: ErrorDetails, tree: Tree, file: str, sources: Mapping[tuple[str, ...], str]) -> ConfigProblem:
    location = _written_keys(details["loc"], tree, missing=details["type"] == "missing")
    source = next((variable for keys, variable in sources.items() if location[: len(keys)] == keys), file)
    message = details["msg"][:1].lower() + details["msg"][1:]
    if details["type"] == "extra_forbidden":
        parent = _section_at(location[:-1])
        known = parent.model_fields if parent else ()
        message = f"unknown key{suggest(location[-1], known)}"
    elif details["type"] == "too_short":
        message = f"needs at least {details['ctx']['min_length']} of them"
    elif details["type"] == "string_pattern_mismatch":
        message = f"does not have the right form (is {_shown(details['input'])}): {_description(location)}"
    elif details["type"] != "missing" and not isinstance(details["input"], dict):
        message = f"{message} (is {_shown(details['input'])})"
    return ConfigProblem(".".join(location), message, source)


def _description(location: Sequence[str]) -> str:
    section = _section_at(location[:-1])
    field = section.model_fields.get(location[-1]) if section else None
    return (field.description if field else None) or "see `edge-agent config schema`"


def _written_keys(location: Sequence[int | str], tree: object, *, missing: bool) -> tuple[str, ...]:
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
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - fits a line


def _section_at(location: Sequence[str]) -> type[BaseModel] | None:
    """Find the model that holds the keys at `location`, through optional sections and tables of sections."""
    section: type[BaseModel] = Config
    parts = list(location)
    while parts:
        field = section.model_fields.get(parts.pop(0))
        if field is None:
            return None
        found = _models_in(field.annotation)
        if not found:
            return None
        if _is_table(field.annotation) and parts:
            parts.pop(0)
        section = found[0]
    return section


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _is_table(annotation: Any) -> bool:  # noqa: ANN401 - a type expression
    return getattr(annotation, "__origin__", None) is dict


def _once_per_key(problems: Sequence[ConfigProblem]) -> list[ConfigProblem]:
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
