"""Which keys a remote document may not set: what could lock the owner out, or let audio and texts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.merge import leaves
from edge_agent.config.problems import is_known, unknown
from edge_agent.errors import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.merge import Keys, Tree

PROTECTED: Mapping[Keys, str] = {
    ("mqtt",): "a wrong broker or credential would cut the device off",
    ("device_id",): "it decides whose documents the device takes",
    ("groups",): "they decide whose documents the device takes",
    ("remote",): "it decides who may configure and command the device",
    ("directories",): "what the device knows would stay behind",
    ("privacy",): "only the owner decides what leaves the device",
    ("recorder", "audio_turns"): "only the owner decides whether audio is kept",
}
"""Keys, with all that is below them, that only the file and the environment set, and why."""

OPEN: frozenset[Keys] = frozenset(
    (key,)
    for key in (
        "language",
        "log_level",
        "audio",
        "vad",
        "endpoint",
        "activation",
        "interruption",
        "asr",
        "intents",
        "llm",
        "tts",
        "gpio",
        "home_assistant",
        "cores",
        "store",
        "timers",
        "recorder",
        "phrases",
        "pressure",
    )
)
"""Keys that a remote document may set, but for what is protected below. Each key of the schema is here or there."""


def problems_of_patch(patch: Tree, source: str) -> list[ConfigProblem]:
    """Return what a remote patch touches that it may not, by a null too, and keys that there are not."""
    problems: dict[Keys, ConfigProblem] = {}
    for keys, value in leaves(patch):
        refused = [(key, why) for key, why in PROTECTED.items() if _touches(keys, value, key)]
        for key, why in refused:
            named = keys if len(keys) > len(key) else key
            problems[named] = ConfigProblem(".".join(named), f"can't be set remotely: {why}", source)
        if not refused and value is None and not is_known(keys):  # the schema does not see it: a null sets nothing
            problems[keys] = ConfigProblem(".".join(keys), unknown(keys), source)
    return list(problems.values())


def _touches(keys: Keys, value: object, protected: Keys) -> bool:
    """A leaf touches what it is in, and what it would replace; an empty object replaces nothing."""
    return keys[: len(protected)] == protected or (value != {} and protected[: len(keys)] == keys)
