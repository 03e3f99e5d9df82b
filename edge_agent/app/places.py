"""Where models, state and caches are: the system's places when installed, XDG's in a checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.audio import DirectoriesConfig

_SYSTEM_STATE = Path("/var/lib/edge-agent")
_SYSTEM_CACHE = Path("/var/cache/edge-agent")
_VOSK_CODES = {"zh": "cn", "ja": "jp", "uk": "ua"}
"""Languages that the names of Vosk's models give a country's code instead: vosk-model-small-cn-0.22."""


@dataclass(frozen=True, slots=True)
class Places:
    """Directories; none of them need exist."""

    models: Path
    cache: Path
    state: Path


def find_places(config: DirectoriesConfig, environ: Mapping[str, str] = os.environ) -> Places:
    """Return the configured directories; unset ones are the system's where it was installed, else below XDG's."""
    cache = config.cache or _installed(_SYSTEM_CACHE) or _xdg(environ, "XDG_CACHE_HOME", ".cache")
    data = _installed(_SYSTEM_STATE) or _xdg(environ, "XDG_DATA_HOME", ".local/share")
    state = config.state or _installed(_SYSTEM_STATE) or _xdg(environ, "XDG_STATE_HOME", ".local/state")
    return Places(models=config.models or data / "models", cache=cache, state=state)


def _installed(path: Path) -> Path | None:
    return path if path.is_dir() and os.access(path, os.W_OK) else None


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    return Path(environ.get(variable) or Path.home() / fallback, "edge-agent")


def find_vosk_model(models: Path, language: str) -> Path | None:
    """Return the first Vosk model directory for `language` below `models`/vosk, by name."""
    codes = {language, _VOSK_CODES.get(language, language)}
    folders = sorted(path for path in models.glob("vosk/*") if path.is_dir())
    return next((path for path in folders if codes.intersection(path.name.lower().split("-"))), None)


def find_piper_voice(models: Path, language: str) -> Path | None:
    """Return the first Piper voice for `language` below `models`/piper, by name (en_US-…, zh_CN-…)."""
    return next(iter(sorted(models.glob(f"piper/**/{language}_*.onnx"))), None)


def find_llm(models: Path) -> Path | None:
    """Return the first GGUF file below `models`/llm, by name."""
    return next(iter(sorted(models.glob("llm/**/*.gguf"))), None)
