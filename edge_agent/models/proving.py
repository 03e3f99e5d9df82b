"""Whether a model works: its files are looked at, and its engine, where installed, tries it in a child process."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

from edge_agent.engines.llama_file import check_header
from edge_agent.engines.probe import ProbeStop, probe
from edge_agent.engines.vosk_files import DamageError, check_files
from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.catalog import Kind

_PROBES: dict[str, tuple[str, str]] = {
    "vosk": ("vosk", "edge_agent.engines.vosk_probe"),
    "piper": ("piper", "edge_agent.engines.piper_probe"),
    "llm": ("llama_cpp", "edge_agent.engines.llama_probe"),
}
"""The engine's package, and what tries a model with it."""
_MOST_SETTINGS_BYTES = 4_000_000


def find_fault(kind: Kind, path: Path, stop: ProbeStop | None = None) -> str | None:
    """Return what is wrong with a model, None where nothing is. Blocks for seconds.

    Args:
        kind: Its engine.
        path: A Vosk model's directory, a voice's .onnx file, a GGUF file.
        stop: Ends it before its time.
    """
    if reason := _look_at(kind, path):
        return reason
    package, module = _PROBES[kind]
    if importlib.util.find_spec(package) is None:
        return None  # what the files tell has to do
    return probe(module, path, stop)


def is_tried(kind: Kind) -> bool:
    """Tell whether the engine is installed, so that more than the files is looked at."""
    return kind in _PROBES and importlib.util.find_spec(_PROBES[kind][0]) is not None


def _look_at(kind: Kind, path: Path) -> str | None:
    try:
        match kind:
            case "vosk":
                check_files(path)
            case "piper":
                return _look_at_voice(path)
            case _:
                check_header(path)
    except DamageError as damage:
        return str(damage)
    except ModelError as error:
        return error.reason
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return None


def _look_at_voice(path: Path) -> str | None:
    beside = path.with_name(f"{path.name}.json")
    try:
        with beside.open("rb") as file:
            settings = json.loads(file.read(_MOST_SETTINGS_BYTES))
    except OSError as error:
        return f"{beside.name}, which belongs beside it, can't be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{beside.name} is not valid JSON ({type(error).__name__})"
    if not isinstance(settings, dict) or not isinstance(settings.get("phoneme_id_map"), dict):
        return f"{beside.name} is not a Piper voice's"
    if not path.stat().st_size:
        return f"{path.name} is empty"
    return None
