"""Which parts of the running agent a change of the configuration restarts. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edge_agent.config.merge import leaves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from edge_agent.config.merge import Keys
    from edge_agent.config.schema import Config


class Part(StrEnum):
    """What can be restarted, or set anew, by itself.

    CORE is pools, core ledger and scheduler, and so everything that works on them. LINK is what connects the device to
    its broker and lives outside of the agent: it is no affair of this package's parts.
    """

    LOG = "log"
    LINK = "link"
    CORE = "core"
    STORE = "store"
    RECORDER = "recorder"
    PRESSURE = "pressure"
    MICROPHONE = "microphone"
    SPEAKER = "speaker"
    SOUND = "sound"
    EARS = "ears"
    WAKE = "wake"
    RECOGNIZER = "recognizer"
    BRAIN = "brain"
    MODEL = "model"
    GENERATION = "generation"
    VOICE = "voice"
    PHRASES = "phrases"
    TIMERS = "timers"
    OUTPUTS = "outputs"
    BUTTON = "button"
    LIGHT = "light"


_PINS = (Part.OUTPUTS, Part.BUTTON, Part.LIGHT)

RESTARTS: Mapping[str, tuple[Part, ...]] = {
    "language": (Part.BRAIN, Part.RECOGNIZER, Part.VOICE, Part.STORE),
    "device_id": (Part.LINK,),
    "groups": (Part.LINK,),
    "log_level": (Part.LOG,),
    "audio.input_device": (Part.MICROPHONE,),
    "audio.output_device": (Part.SPEAKER,),
    "audio.volume": (Part.SOUND,),
    "audio.earcons": (Part.SOUND,),
    "vad": (Part.EARS,),
    "endpoint": (Part.EARS,),
    "activation": (Part.EARS,),
    "activation.mode": (Part.EARS, Part.WAKE),
    "activation.words": (Part.EARS, Part.WAKE),
    "activation.sensitivity": (Part.EARS, Part.WAKE),
    "interruption": (Part.EARS,),
    "asr": (Part.RECOGNIZER,),
    "intents": (Part.BRAIN, Part.RECOGNIZER),
    "llm": (Part.BRAIN,),
    "llm.model": (Part.MODEL, Part.BRAIN),
    "llm.context_tokens": (Part.MODEL, Part.BRAIN),
    "llm.keep_prefix": (Part.MODEL, Part.BRAIN),
    "llm.threads": (Part.GENERATION,),
    "llm.max_answer_tokens": (Part.GENERATION, Part.BRAIN),
    "llm.temperature": (Part.GENERATION,),
    "llm.seed": (Part.GENERATION,),
    "tts": (Part.VOICE,),
    "gpio.driver": _PINS,
    "gpio.button": (Part.BUTTON,),
    "gpio.light": (Part.LIGHT,),
    "gpio.outputs": (Part.OUTPUTS, Part.BRAIN, Part.RECOGNIZER),
    "gpio.outputs.<name>.pin": (Part.OUTPUTS,),
    "gpio.outputs.<name>.active_high": (Part.OUTPUTS,),
    "gpio.outputs.<name>.initial": (Part.OUTPUTS,),
    "gpio.outputs.<name>.aliases": (Part.BRAIN, Part.RECOGNIZER),
    "mqtt": (Part.LINK,),
    "privacy": (Part.LINK,),
    "remote": (Part.LINK,),
    "home_assistant": (Part.LINK,),
    "directories": (Part.CORE,),
    "cores": (Part.CORE,),
    "store": (Part.STORE,),
    "timers": (Part.TIMERS,),
    "recorder": (Part.RECORDER,),
    "phrases": (Part.PHRASES,),
    "pressure": (Part.PRESSURE,),
}
"""Keys, with all that is below them, and what they restart; the longest that fits counts."""

_NAMED = "<name>"
_TABLE: Mapping[Keys, tuple[Part, ...]] = {tuple(key.split(".")): parts for key, parts in RESTARTS.items()}
_ABSENT = object()


def parts_of(keys: Keys) -> tuple[Part, ...]:
    """Return what a change of that key restarts; `<name>` stands for any part of a path.

    Raises:
        LookupError: The schema has a key that this table lacks.
    """
    for length in range(len(keys), 0, -1):
        for known, parts in _TABLE.items():
            if len(known) == length and all(_fits(*pair) for pair in zip(known, keys, strict=False)):
                return parts
    raise LookupError(f"no part of the agent is responsible for {'.'.join(keys)}")


def changed_keys(before: Config, after: Config) -> tuple[Keys, ...]:
    """Return the paths at which two configurations differ, in the schema's order."""
    old, new = (dict(_leaves(config)) for config in (before, after))
    return tuple(key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT))


def affected(keys: Iterable[Keys]) -> frozenset[Part]:
    """Return the parts that a change of all of these keys restarts."""
    return frozenset(part for key in keys for part in parts_of(key))


def describe(parts: Collection[Part]) -> str:
    """Name parts, in the order of their definition."""
    return ", ".join(part for part in Part if part in parts)


def _fits(known: str, key: str) -> bool:
    return known in {key, _NAMED}


def _leaves(config: Config) -> Iterable[tuple[Keys, Any]]:
    return leaves(config.model_dump())
