"""Reads the configuration: defaults, the TOML file, the environment, remote layers, and finds every error at once."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edge_agent.config.merge import leaves, merge, overrides
from edge_agent.config.problems import once_per_key, problem_of, source_of
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.config.layers import RemoteLayer
    from edge_agent.config.merge import Keys, Tree

ENVIRONMENT_PREFIX = "EDGE_AGENT_"
SYSTEM_FILE = Path("/etc/edge-agent/config.toml")
NOT_SETTINGS = frozenset({"CONFIG", "EXTRAS", "TEST_DATA", "REQUIRE_TEST_DATA", "STRICT_SKIPS"})
"""Variables with our prefix that configure the installation or the tests instead."""
_MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class OwnConfig:
    """What the device's owner set, file and environment, before it is checked.

    Attributes:
        tree: The file under the environment.
        file: Path of the file, as problems name it.
        directory: What relative paths count from, those of remote layers too.
        sources: The variable that set what stands at a path, where not the file did.
        problems: What is wrong before the schema is asked.
    """

    tree: Tree = field(default_factory=dict)
    file: str = "defaults"
    directory: Path = field(default_factory=Path)
    sources: Mapping[Keys, str] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()

    def under(self, layers: Sequence[RemoteLayer] = ()) -> Config:
        """Return the configuration with remote `layers` over it, the weakest first. Reads no file.

        Raises:
            ConfigError: Holds every problem, one for each key, and names the layer that the key is from.
        """
        tree, sources = self._merged(layers)
        config, problems = self._validated(tree, sources)
        if config is not None:
            problems += _contradictions(config, self.file, sources)
        if problems or config is None:
            raise ConfigError(once_per_key(problems))
        return config

    def traced(self, error: ConfigError) -> ConfigError:
        """Return `error` with what set each key, where a part of the agent knew of no more than the configuration."""
        return ConfigError(
            [
                replace(problem, source=source_of(tuple(problem.key.split(".")), self.file, self.sources))
                if problem.source == "configuration"
                else problem
                for problem in error.problems
            ]
        )

    def wrong_values(self, layer: RemoteLayer) -> list[ConfigProblem]:
        """Return which values of one layer are wrong whatever the other layers hold."""
        _, problems = self._validated(*self._merged([layer]))
        set_here = [".".join(keys) for keys, _ in leaves(overrides(layer.patch))]
        return [
            problem
            for problem in problems
            if any(problem.key == key or problem.key.startswith(f"{key}.") for key in set_here)
        ]

    def _merged(self, layers: Sequence[RemoteLayer]) -> tuple[Tree, Mapping[Keys, str]]:
        tree, sources = dict(self.tree), dict(self.sources)
        for layer in layers:
            patch = overrides(layer.patch)
            tree = merge(tree, patch)
            for keys, value in leaves(patch):
                sources.pop(keys, None)  # the last to set a key is the last in the order
                # An empty section sets nothing; it is named only for want of anybody else.
                sources = {keys: str(layer), **sources} if value == {} else {**sources, keys: str(layer)}
        return tree, sources

    def _validated(self, tree: Tree, sources: Mapping[Keys, str]) -> tuple[Config | None, list[ConfigProblem]]:
        problems = list(self.problems)
        try:
            return Config.model_validate(tree, context={"base_dir": self.directory}), problems
        except ValidationError as error:
            problems += [problem_of(details, tree, self.file, sources) for details in error.errors(include_url=False)]
            return None, problems


def default_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that is read where none is named: $EDGE_AGENT_CONFIG, the system's, the user's, or none."""
    if named := environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        return Path(named)
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "edge-agent", "config.toml")
    return next((path for path in (SYSTEM_FILE, home) if _is_there(path)), None)


def load_config(
    path: Path | None, environ: Mapping[str, str] = os.environ, remote: Sequence[RemoteLayer] = ()
) -> Config:
    """Load the file at `path` (None: `default_file`, defaults where there is none), environment and `remote` over it.

    Raises:
        ConfigError: Holds every problem of file, environment and remote layers, one for each key.
    """
    return read_own(path, environ).under(remote)


def read_own(path: Path | None, environ: Mapping[str, str] = os.environ) -> OwnConfig:
    """Read the file at `path` (None: `default_file`, if there is one) and the environment; the schema is not asked.

    Raises:
        ConfigError: The file can't be read, or is no TOML.
    """
    path = path or default_file(environ)
    tree = _read(path) if path else {}
    sources: dict[Keys, str] = {}
    problems: list[ConfigProblem] = []
    for keys, (variable, value) in _from_environment(environ).items():
        sources[keys] = variable
        if not _put(tree, keys, value):
            problems.append(ConfigProblem(".".join(keys), "the file holds a plain value here, not a section", variable))
    directory = path.resolve().parent if path else Path.cwd()
    return OwnConfig(tree, str(path) if path else "defaults", directory, sources, tuple(problems))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # kept from this user: reading it then says so, instead of going on without it
        return True


def _contradictions(config: Config, file: str, sources: Mapping[Keys, str]) -> list[ConfigProblem]:
    """Find keys that are right each by itself and wrong together."""
    if config.activation.mode == "button" and config.gpio.button is None:
        source = source_of(("activation", "mode"), file, sources)
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
    except PermissionError as error:
        remedy = "use sudo, or join its group: sudo usermod -aG edge-agent $USER, then log in again"
        raise refuse(f"you may not read it; {remedy}") from error
    except OSError as error:
        raise refuse(f"can't be read: {error.strerror}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[Keys, tuple[str, Any]]:
    """Map key paths to (variable, value); EDGE_AGENT_AUDIO__VOLUME is audio.volume."""
    found: dict[Keys, tuple[str, Any]] = {}
    for variable, text in sorted(environ.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in NOT_SETTINGS or name.startswith("FLEET_"):
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
