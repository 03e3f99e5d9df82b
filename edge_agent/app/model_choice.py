"""Which of the models that are here the agent uses, and what would change that. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.places import find_llm, find_piper_voice, find_vosk_model

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.models.catalog import CatalogModel, Kind

_KEYS: dict[str, str] = {"vosk": "asr.vosk.model", "piper": "tts.piper.voice", "llm": "llm.model"}


@dataclass(frozen=True, slots=True)
class Use:
    """How a model that is here stands to the configuration.

    Attributes:
        is_used: The agent uses it, or will at its next start.
        remedy: What to do where it is not; empty where it is.
    """

    is_used: bool
    remedy: str = ""


def used_model(config: Config, models: Path, kind: Kind) -> Path | None:
    """Return the model of that kind that the agent uses; None where it uses none."""
    match kind:
        case "vosk":
            if config.asr.engine == "pocketsphinx":
                return None
            return config.asr.vosk.model or find_vosk_model(models, config.language)
        case "piper":
            if config.tts.engine not in {"auto", "piper"}:
                return None
            return config.tts.piper.voice or find_piper_voice(models, config.language)
        case "llm":
            return config.llm.model or find_llm(models)
    return None


def named_by(config: Config, path: Path) -> str | None:
    """Return the key that names a model, or something in it; without it the agent would not start."""
    named = {"vosk": config.asr.vosk.model, "piper": config.tts.piper.voice, "llm": config.llm.model}
    place = path.resolve()
    for kind, configured in named.items():
        if configured is not None and (configured.resolve() == place or place in configured.resolve().parents):
            return _KEYS[kind]
    return None


def use_of(config: Config, models: Path, model: CatalogModel, path: Path) -> Use:
    """Tell whether the agent uses a model that is at `path`, and if not, what to do."""
    key = _KEYS.get(model.kind)
    if key is None or model.kind == "wake":
        return Use(is_used=True)
    used = used_model(config, models, model.kind)
    if used is not None and used.resolve() == path.resolve():
        return Use(is_used=True)
    if config.language not in model.languages:
        return Use(is_used=False, remedy=f'it is for another language than the configured "{config.language}"')
    if used is None:
        engine = "asr.engine" if model.kind == "vosk" else "tts.engine"
        return Use(is_used=False, remedy=f"{engine} of the configuration asks for another engine")
    return Use(is_used=False, remedy=f'{used.name} is used; to use this one set {key} = "{path}"')


def board_memory_mib() -> int:
    """Return the memory of this machine."""
    import psutil

    return int(psutil.virtual_memory().total) >> 20


def available_memory_mib() -> int:
    """Return the memory that can be had without swapping."""
    import psutil

    return int(psutil.virtual_memory().available) >> 20
