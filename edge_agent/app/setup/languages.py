"""What a language needs on this device, and the command that fetches what is missing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.places import find_piper_voice, find_vosk_model
from edge_agent.errors import BadInputError

if TYPE_CHECKING:
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config

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
    model = config.asr.vosk.model or find_vosk_model(places.models, language)
    voice = config.tts.piper.voice or find_piper_voice(places.models, language)
    heard = f"Vosk, {model.name}" if model is not None else "PocketSphinx" if language == _WITHOUT_MODELS else ""
    spoken = f"Piper, {voice.name}" if voice is not None else "Flite" if language == _WITHOUT_MODELS else "eSpeak NG"
    notes = [Note(f"It is heard by {heard} and spoken by {spoken}.")] if heard else []
    fetch = [name for name, there in zip(_recommended(language), (model, voice), strict=False) if name and not there]
    command = f"edge-agent models pull {' '.join(fetch)}" if fetch else "edge-agent models list"
    if not heard:
        notes.append(Note(f"Nothing here hears {language!r} yet. Fetch a model:\n    {command}", needs_doing=True))
    elif fetch:
        notes.append(Note(f"Better ones, to fetch later:\n    {command}"))
    if language not in _WITH_INTENTS and not config.intents.paths:
        known = " and ".join(_WITH_INTENTS)
        notes.append(
            Note(f"The commands that come with it are in {known}: write your own (docs/intents.md).", needs_doing=True)
        )
    return notes


def _recommended(language: str) -> tuple[str, str]:
    """Return what the catalogue recommends for this board: a model that hears, a voice; empty where there is none."""
    from edge_agent.models.catalog import load_catalog

    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    try:
        found = {model.kind: model.id for model in load_catalog().recommended(language, memory_mib)}
    except BadInputError:  # a small install without the list: its command says so itself
        return "", ""
    return found.get("vosk", ""), found.get("piper", "")
