"""A person's own file keeps all that setup was not asked to change."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.app.setup.errors import NotEditableError
from edge_agent.app.setup.toml_edit import edit
from edge_agent.config.schema import Config

DEFAULTS = Config().model_dump(mode="json")
FILE = Path("config.toml")
OWNERS = """\
# My agent.

log_level = "info"   # quiet

# how it sounds
[audio]
# volume = 80
earcons = false

# the broker
[mqtt]
host = "old.example"  # the old one

[gpio.outputs.lamp]   # the lamp
pin = 17
"""


def changed(text: str, changes: dict[tuple[str, ...], Any]) -> str:
    """Edit, with the schema's defaults."""
    return edit(text, changes, DEFAULTS, FILE)


def test_comments_order_and_other_keys_stay() -> None:
    """New keys join their section's first paragraph, new sections go to the end, and every other line is as it was."""
    text = changed(
        OWNERS,
        {
            ("language",): "de",
            ("groups",): ["floor", "all"],
            ("audio", "volume"): 60,
            ("mqtt", "host"): "new.example",
            ("mqtt", "tls", "enabled"): True,
            ("activation", "mode"): "wake_word",
        },
    )
    assert (
        text
        == OWNERS.replace('"info"   # quiet\n', '"info"   # quiet\nlanguage = "de"\ngroups = ["floor", "all"]\n')
        .replace("earcons = false\n", "earcons = false\nvolume = 60\n")
        .replace("old.example", "new.example")
        + '\n[mqtt.tls]\nenabled = true\n\n[activation]\nmode = "wake_word"\n'
    )


def test_the_same_changes_again_change_nothing() -> None:
    """Byte for byte."""
    changes: dict[tuple[str, ...], Any] = {("audio", "volume"): 60, ("language",): "de", ("mqtt", "port"): None}
    once = changed(OWNERS, changes)
    assert changed(once, changes) == once


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("", ("audio", "volume"), 80),
        ("[audio]\nvolume = 30\n", ("audio", "volume"), 30),
        ("[audio]\n", ("mqtt", "password_file"), None),
    ],
    ids=["a default", "what is there", "what is not there"],
)
def test_what_holds_already_is_not_written(text: str, keys: tuple[str, ...], value: object) -> None:
    """Neither a default, nor what the file says, nor taking out what is absent."""
    assert changed(text, {keys: value}) == text


@pytest.mark.parametrize(
    "text",
    [
        "audio.volume = 10  # loud\nmqtt.host = 'x'\n",
        "audio = { volume = 10, earcons = true }\n",
        "[ audio ]  # here\nvolume=10\n",
        "[mqtt]\nhost = 'x'\n[audio]\nvolume = 10",
        "# nothing but this\n",
        "[audio]\n[audio.extra]\nx = 1\n",
        'text = """\n[audio]\n"""\n',
        "x = [\n  1,\n]\n",
    ],
    ids=["dotted", "inline", "spaces", "no newline", "comment", "subsection", "in a string", "array"],
)
def test_every_way_of_writing_a_section(text: str) -> None:
    """What comes out means what was wanted, whatever the owner's style."""
    tree = tomllib.loads(text)
    tree.setdefault("audio", {})
    tree["audio"] = {**tree["audio"], "volume": 55, "input_device": "hw:CARD=Mic"}
    assert tomllib.loads(changed(text, {("audio", "volume"): 55, ("audio", "input_device"): "hw:CARD=Mic"})) == tree


def test_what_can_not_be_changed_is_named() -> None:
    """A plain value where a section is needed."""
    with pytest.raises(NotEditableError, match=r"mqtt\.host can't be changed"):
        changed("mqtt = 3\n", {("mqtt", "host"): "x"})


@given(st.text(max_size=40), st.lists(st.sampled_from(["a", "b-c", "D_1"]), max_size=3))
def test_any_text_can_be_a_value(device: str, groups: list[str]) -> None:
    """Quotes, backslashes, control characters."""
    text = changed(OWNERS, {("audio", "input_device"): device, ("groups",): groups})
    tree = tomllib.loads(text)
    assert tree["audio"].get("input_device", "") == device
    assert tree.get("groups", []) == groups
