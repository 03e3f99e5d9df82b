"""Each key of the configuration has the parts that it restarts, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.app.parts import RESTARTS, Part, affected, changed_keys, describe, parts_of
from edge_agent.config.describe import as_markdown
from edge_agent.config.schema import Config

KEYS = [line.split("`")[1] for line in as_markdown().splitlines() if line.startswith("| `")]


def test_every_key_of_the_schema_has_a_part() -> None:
    """The table of the documentation is the whole schema; a new key fails here until it is decided what it restarts."""
    assert len(KEYS) > 100
    for key in KEYS:
        assert parts_of(tuple(key.split("."))), key


def test_the_table_names_nothing_that_the_schema_lacks() -> None:
    """A key that was renamed would be looked for in vain."""
    known = {prefix for key in KEYS for prefix in _prefixes(key)}
    assert set(RESTARTS) <= known


def test_every_part_is_restarted_by_some_key() -> None:
    """A part that nothing restarts is none."""
    assert {part for key in KEYS for part in parts_of(tuple(key.split(".")))} == set(Part)


def test_a_key_without_a_part_is_a_defect() -> None:
    """It must not pass for one that concerns nobody."""
    with pytest.raises(LookupError, match="weather"):
        parts_of(("weather",))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({}, set()),
        ({"log_level": "debug"}, {Part.LOG}),
        ({"audio": {"volume": 30, "earcons": False}}, {Part.SOUND}),
        ({"audio": {"output_device": "bluetooth"}}, {Part.SPEAKER}),
        ({"tts": {"flite": {"voice": "rms"}}}, {Part.VOICE}),
        ({"llm": {"temperature": 0.1}}, {Part.GENERATION}),
        ({"llm": {"system_prompt": "Be brief."}}, {Part.BRAIN}),
        ({"llm": {"context_tokens": 512}}, {Part.MODEL, Part.BRAIN}),
        ({"endpoint": {"hang_over_s": 0.5}}, {Part.EARS}),
        ({"activation": {"listen_s": 3}}, {Part.EARS}),
        ({"activation": {"mode": "wake_word"}}, {Part.EARS, Part.WAKE}),
        ({"activation": {"sensitivity": {"alexa": 0.5}}}, {Part.EARS, Part.WAKE}),
        ({"language": "de"}, {Part.BRAIN, Part.RECOGNIZER, Part.VOICE, Part.STORE}),
        ({"gpio": {"light": {"pin": 4}}}, {Part.LIGHT}),
        ({"gpio": {"outputs": {"fan": {"pin": 5}}}}, {Part.OUTPUTS, Part.BRAIN, Part.RECOGNIZER}),
        ({"cores": {"compute": 1}}, {Part.CORE}),
        ({"mqtt": {"host": "broker"}, "privacy": {"publish_text": True}}, {Part.LINK}),
    ],
)
def test_a_change_concerns_few(change: dict[str, Any], parts: set[Part]) -> None:
    """From the defaults to that change and back the same parts restart."""
    before, after = Config(), Config.model_validate(change)
    assert affected(changed_keys(before, after)) == parts
    assert affected(changed_keys(after, before)) == parts


def test_a_pin_that_moves_leaves_the_words_alone() -> None:
    """The intents know an output by its name; another name or another alias has to be understood."""
    lamp = {"pin": 5, "aliases": ["light"]}
    config = Config.model_validate({"gpio": {"outputs": {"lamp": lamp}}})

    def after(**values: object) -> frozenset[Part]:
        changed = Config.model_validate({"gpio": {"outputs": {"lamp": {**lamp, **values}}}})
        return affected(changed_keys(config, changed))

    assert after(pin=6) == after(active_high=False) == {Part.OUTPUTS}
    assert after(aliases=["light", "bulb"]) == {Part.BRAIN, Part.RECOGNIZER}


def test_parts_are_named_in_one_order() -> None:
    """A log line reads the same each time."""
    assert describe({Part.VOICE, Part.LOG, Part.BRAIN}) == "log, brain, voice"


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]
