"""Loads intents: the shipped templates of a language, and the user's own files over them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem, IntentsFileError
from edge_agent.reason.intents_merge import Merger
from edge_agent.reason.intents_source import SourceFile
from edge_agent.reason.responses import RESPONSE_SLOTS
from edge_agent.reason.yaml_text import YamlTextError, parse_yaml, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hassil import Intents

    from edge_agent.reason.action import Action
    from edge_agent.reason.wording import Wording

_log = logging.getLogger(__name__)

_FALLBACK_LANGUAGE = "en"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class IntentSet:
    """Everything that can be said, and what it does.

    Attributes:
        language: ISO 639 code.
        intents: hassil's intents: templates, lists, rules, skip words and settings.
        actions: What the user's own intents do, by intent. An intent that is not in here is a built-in one.
        responses: What the built-in intents answer, by name.
    """

    language: str
    intents: Intents
    actions: Mapping[str, Action]
    responses: Mapping[str, tuple[Wording, ...]]


def languages() -> tuple[str, ...]:
    """Languages that intents are shipped for."""
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if ".yaml" in entry.name))


def load_intents(
    language: str, *, builtin: bool, paths: Sequence[Path], outputs: Mapping[str, Sequence[str]]
) -> IntentSet:
    """Load, merge and check the shipped intents and the user's.

    Args:
        language: ISO 639 code; user files of another language are skipped.
        builtin: Whether the shipped intents are in it.
        paths: The user's files, or directories of *.yaml and *.yml files, read in order of their names.
        outputs: GPIO outputs by spoken name, with their aliases; they become the list {output}.

    Raises:
        IntentsFileError: A file is missing or wrong; the message names the line, the key and the remedy.
        ConfigError: The shipped intents are wanted, and there are none in that language.
    """
    merger = Merger(language, outputs)
    shipped = _read_shipped(language, needed=builtin)
    if builtin:
        merger.add_shipped(shipped)
    for path in _files(paths):
        source = _read(path)
        if source.content.language not in (None, language):
            _log.info("%s is in %s, not %s: skipped", path, source.content.language, language)
            continue
        merger.add(source)
    intents, actions = merger.finish()
    return IntentSet(language, intents, actions, merger.responses(shipped, RESPONSE_SLOTS))


def _shipped() -> resources.abc.Traversable:
    return resources.files("edge_agent.reason") / "intents"


def _read_shipped(language: str, *, needed: bool) -> SourceFile:
    if language not in languages():
        if needed:
            message = (
                f"no intents in {language!r} come with edge_agent, only in {', '.join(languages())}; choose one of "
                "those, or set intents.builtin = false (your own go into intents.paths)"
            )
            raise ConfigError([ConfigProblem("language", message, "configuration")])
        language = _FALLBACK_LANGUAGE
    entry = _shipped() / f"{language}.yaml"
    return SourceFile.check(Path(f"built-in {entry.name}"), parse_yaml(entry.read_text(encoding="utf-8")))


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        try:
            if path.is_dir():
                inside = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES and entry.is_file())
                if not inside:
                    _log.warning("%s holds no *.yaml or *.yml file", path)
                found += inside
            else:
                found.append(path)
        except OSError as error:
            raise IntentsFileError(path, f"can't be read: {error.strerror}; mend intents.paths") from error
    return list(dict.fromkeys(found))


def _read(path: Path) -> SourceFile:
    try:
        return SourceFile.check(path, read_yaml(path))
    except FileNotFoundError as error:
        raise IntentsFileError(path, "there is no such file or directory; mend intents.paths") from error
    except OSError as error:
        raise IntentsFileError(path, f"can't be read: {error.strerror}") from error
    except YamlTextError as error:
        raise IntentsFileError(path, str(error)) from error
