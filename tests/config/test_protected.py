"""What a remote document may not set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from edge_agent.config.merge import Keys
from edge_agent.config.problems import is_known, section_at
from edge_agent.config.protected import OPEN, PROTECTED, problems_of_patch
from edge_agent.config.schema import Config


def refused(patch: dict[str, Any]) -> dict[str, str]:
    """Return the messages by key."""
    return {problem.key: problem.message for problem in problems_of_patch(patch, "device revision 1")}


def schema_keys(section: type[BaseModel] = Config, path: Keys = ()) -> Iterator[Keys]:
    """Yield every key of the schema, one of a table by the name `x`."""
    for name, field in section.model_fields.items():
        keys = (*path, name)
        yield keys
        inner = section_at(keys)
        if inner is None:
            continue
        if getattr(field.annotation, "__origin__", None) is dict:
            keys = (*keys, "x")
        yield from schema_keys(inner, keys)


def test_every_section_was_decided_about() -> None:
    """Whoever adds a key to the schema says whether it may be set remotely."""
    undecided = [name for name in Config.model_fields if ((name,) in OPEN) == ((name,) in PROTECTED)]
    assert undecided == [], "add them to OPEN or to PROTECTED in config/protected.py"
    gone = [keys for keys in (*OPEN, *PROTECTED) if not is_known(keys)]
    assert gone == []


def test_what_sounds_secret_or_private_is_protected() -> None:
    """A credential or a recording switch that is added to an open section is noticed."""
    suspicious = re.compile(r"password|token$|secret|credential|private|_key|publish|audio_turns")
    found = [keys for keys in schema_keys() if suspicious.search(keys[-1])]
    assert ("mqtt", "password_file") in found
    for keys in found:
        assert any(keys[: len(key)] == key for key in PROTECTED), keys


def nested(keys: Keys, value: object) -> dict[str, Any]:
    """Return a patch that holds `value` at `keys`."""
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"deep": None}, True], ids=str)
def test_a_protected_key_is_refused_whatever_it_is_set_to(value: object) -> None:
    """By any value, a null and an empty object included, and by name."""
    keys = [keys for keys in schema_keys() if any(keys[: len(key)] == key for key in PROTECTED)]
    assert len(keys) > 25
    for key in keys:
        if value == {} and any(len(key) < len(protected) for protected in PROTECTED if protected[: len(key)] == key):
            continue
        found = refused(nested(key, value))
        assert any(name.startswith(".".join(key)) for name in found), key
        assert all("can't be set remotely" in message for message in found.values())


@pytest.mark.parametrize("value", [None, 1, "x", [{"audio_turns": 3}], False], ids=str)
def test_replacing_what_a_protected_key_is_in_is_refused(value: object) -> None:
    """The key is named, though the document does not name it."""
    assert set(refused({"recorder": value})) == {"recorder.audio_turns"}


def test_an_open_section_beside_a_protected_key_stays_open() -> None:
    """And an empty object sets nothing."""
    assert refused({"recorder": {"turns": 3}, "audio": {"volume": None}}) == {}
    assert refused({"recorder": {}}) == {}


def test_every_protected_key_of_a_document_is_named() -> None:
    """All at once, each with its reason."""
    found = refused({"mqtt": {"host": "evil", "tls": {"enabled": False}}, "groups": None, "audio": {"volume": 3}})
    assert set(found) == {"mqtt.host", "mqtt.tls.enabled", "groups"}
    assert "cut the device off" in found["mqtt.host"]


def test_a_null_for_a_key_that_there_is_not_is_told() -> None:
    """The schema would not see it; a slip of the pen is told all the same."""
    found = refused({"audio": {"volum": None}, "gpio": {"outputs": {"lamp": {"colour": None, "pin": None}}}})
    assert set(found) == {"audio.volum", "gpio.outputs.lamp.colour"}
    assert 'did you mean "volume"?' in found["audio.volum"]


def test_dots_and_capitals_are_no_way_around() -> None:
    """A key is compared by its parts; what is no key is unknown to the schema, which refuses it."""
    assert refused({"mqtt.host": "evil", "MQTT": {"host": "evil"}}) == {}
    with pytest.raises(ValueError, match="2 validation errors"):
        Config.model_validate({"mqtt.host": "evil", "MQTT": {"host": "evil"}})
