"""What a language needs on this device, and the command that fetches what is missing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.app.places import find_piper_voice, find_vosk_model
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.errors import BadInputError
from edge_agent.models.identity import as_typed

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.places import Places
    from edge_agent.config.merge import Keys
    from edge_agent.config.schema import Config
    from edge_agent.models.catalog import Catalog

_WITH_INTENTS = ("en", "zh")
"""Languages of the intents that come with edge_agent; a test compares it with the files."""
_WITHOUT_MODELS = "en"
"""PocketSphinx and Flite hear and speak it with nothing downloaded."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line about a language."""

    text: str
    needs_doing: bool = False


def about_language(config: Config, language: str, places: Places) -> list[Note]:
    """Say what hears and speaks `language` here, and what is to be fetched. Blocking, a few directories."""
    model = _model_of(config, language, places)
    voice = config.tts.piper.voice or find_piper_voice(places.models, language)
    heard = f"Vosk, {model.name}" if model is not None else "PocketSphinx" if language == _WITHOUT_MODELS else ""
    spoken = f"Piper, {voice.name}" if voice is not None else "Flite" if language == _WITHOUT_MODELS else "eSpeak NG"
    notes = [Note(f"It is heard by {heard} and spoken by {spoken}.")] if heard else []
    fetch = [name for name, there in zip(_recommended(language), (model, voice), strict=False) if name and not there]
    command = as_typed(places.models, f"models pull {' '.join(fetch)}") if fetch else "edge-agent models list"
    if not heard:
        missing = f"Nothing here hears {language!r} yet, and without that the service does not start."
        notes.append(Note(f"{missing} Fetch a model:\n    {command}", needs_doing=True))
    elif fetch:
        notes.append(Note(f"Better ones, to fetch later:\n    {command}"))
    return notes + _about_commands(config, language)


def require_hearing(config: Config, language: str, places: Places) -> None:
    """Refuse a language that nothing hears, and that nothing can be fetched for. Blocking, a few directories.

    Raises:
        BadAnswerError: With it the service could not start.
    """
    if language == _WITHOUT_MODELS:
        return
    if config.asr.engine == "pocketsphinx":
        raise BadAnswerError(f'asr.engine is "pocketsphinx", which hears {_WITHOUT_MODELS} alone; take it out first')
    catalog = _catalog()
    if catalog is None or _model_of(config, language, places) is not None:
        return
    known = sorted({code for model in catalog.models if model.kind == "vosk" for code in model.languages})
    if language not in known:
        raise BadAnswerError(
            f"nothing hears {language!r}: there is no Vosk model for it in {places.models / 'vosk'}, and none to fetch "
            f"(there are for {', '.join(known)}); put your own there first (docs/models.md)"
        )


def commands_change(config: Config, language: str) -> dict[Keys, Any]:
    """Return what becomes of the commands that come with edge_agent; None takes a key out.

    Where there are none in `language` the service would not start with them. Back in a language that has them, they
    are wanted again: in the one before they could not be.
    """
    key = ("intents", "builtin")
    if language not in _WITH_INTENTS:
        return {key: False} if config.intents.builtin else {}
    if config.language not in _WITH_INTENTS and not config.intents.builtin:
        return {key: None}
    return {}


def _about_commands(config: Config, language: str) -> list[Note]:
    if language not in _WITH_INTENTS:
        known = " and ".join(_WITH_INTENTS)
        none = f"No commands in {language!r} come with it, only in {known}; so intents.builtin = false."
        if config.intents.paths:
            return [Note(f"{none} Yours are in intents.paths.")]
        return [Note(f"{none} Write your own (docs/intents.md), or let a language model answer.", needs_doing=True)]
    if commands_change(config, language):
        return [Note(f"The commands in {language!r} that come with it count again: no intents.builtin = false.")]
    return []


def _model_of(config: Config, language: str, places: Places) -> Path | None:
    if config.asr.engine == "pocketsphinx":
        return None
    return config.asr.vosk.model or find_vosk_model(places.models, language)


def _recommended(language: str) -> tuple[str, str]:
    """Return what the catalogue recommends for this board: a model that hears, a voice; empty where there is none."""
    catalog = _catalog()
    if catalog is None:
        return "", ""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    found = {model.kind: model.id for model in catalog.recommended(language, memory_mib)}
    return found.get("vosk", ""), found.get("piper", "")


def _catalog() -> Catalog | None:
    from edge_agent.models.catalog import load_catalog

    try:
        return load_catalog()
    except BadInputError:  # a small install without the list: its command says so itself
        return None
