"""Says which keys of the configuration are at fault where a part does not start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.app.parts import Part
from edge_agent.errors import ConfigError, ConfigProblem, IntentsFileError, ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_agent.config.merge import Keys
    from edge_agent.errors import BadInputError, FaultError

_MODELS: Mapping[str, str] = {
    "Vosk model": "asr.vosk.model",
    "Piper voice": "tts.piper.voice",
    "language model": "llm.model",
    "GGUF model": "llm.model",
}
_PARTS: Mapping[Part, str] = {
    Part.BRAIN: "intents",
    Part.BUTTON: "gpio.button",
    Part.LIGHT: "gpio.light",
    Part.MODEL: "llm.model",
    Part.OUTPUTS: "gpio.outputs",
    Part.RECOGNIZER: "asr.engine",
    Part.VOICE: "tts.engine",
    Part.WAKE: "activation.words",
}


def problems_of(
    error: BadInputError | FaultError, part: Part | None, changed: Collection[Keys], source: str
) -> list[ConfigProblem]:
    """Return what is wrong, by key; the key is empty where it is not known.

    Args:
        error: Why a part does not start.
        part: Which; None: the whole.
        changed: What was changed. Where the language was, and not what an error names, it is the language's fault.
        source: Where the configuration is from.
    """
    if isinstance(error, ConfigError):
        return [replace(problem, source=source) for problem in error.problems]
    if isinstance(error, IntentsFileError):
        key = "intents.paths"
    elif isinstance(error, ModelError) and error.kind in _MODELS:
        key = _MODELS[error.kind]
    else:
        key = "" if part is None else _PARTS.get(part, "")
    if ("language",) in changed and not any(_is_in(keys, key) for keys in changed):
        key = "language"
    return [ConfigProblem(key, str(error), source)]


def _is_in(keys: Keys, key: str) -> bool:
    parts = tuple(key.split("."))
    return bool(key) and (keys[: len(parts)] == parts or parts[: len(keys)] == keys)
