"""The configuration under remote layers: who wins, who is named, and where values come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from edge_agent.config.effective import fingerprint, sources
from edge_agent.config.layers import RemoteLayer
from edge_agent.config.load import load_config, read_own
from edge_agent.config.mqtt import Layer
from edge_agent.config.problems import section_at
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigError


def layer(kind: Layer, patch: dict[str, Any], group: str = "", revision: int = 3) -> RemoteLayer:
    """Return a layer."""
    return RemoteLayer(kind, group, revision, patch)


def written(tmp_path: Path, text: str) -> Path:
    """Write a configuration file."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_layers_beat_the_environment_and_each_other_in_order(tmp_path: Path) -> None:
    """Defaults < file < environment < fleet < groups in order < device."""
    path = written(tmp_path, "[audio]\nvolume = 10\n[timers]\nrepeat_s = 3\n")
    environ = {"EDGE_AGENT_AUDIO__VOLUME": "20", "EDGE_AGENT_LLM__SEED": "1"}
    remote = [
        layer("fleet", {"audio": {"volume": 30, "earcons": False}}),
        layer("group", {"audio": {"volume": 40}}, "a"),
        layer("group", {"audio": {"volume": 50, "earcons": None}}, "b"),
        layer("device", {"audio": {"volume": None}, "llm": {"seed": None}}),
    ]
    config = load_config(path, environ, remote)
    assert (config.audio.volume, config.audio.earcons) == (50, False)
    assert (config.llm.seed, config.timers.repeat_s, config.log_level) == (1, 3, "info")


def test_a_problem_names_the_layer_it_is_from_and_all_come_at_once(tmp_path: Path) -> None:
    """File, environment and each layer, with a guess at what was meant."""
    path = written(tmp_path, "languag = 'en'\n")
    remote = [
        layer("fleet", {"audio": {"volume": 101}, "audo": {"volume": 3}}, revision=4),
        layer("group", {"endpoint": {"shortest_s": 4}}, "kitchen"),
        layer("device", {"llm": {"seed": -1}, "gpio": {"outputs": {"lamp": {"aliases": []}}}}, revision=9),
    ]
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"EDGE_AGENT_LOG_LEVEL": "loud"}, remote)
    found = {problem.key: (problem.source, problem.message) for problem in caught.value.problems}
    assert {key: source for key, (source, _) in found.items()} == {
        "languag": str(path),
        "log_level": "EDGE_AGENT_LOG_LEVEL",
        "audio.volume": "fleet revision 4",
        "audo": "fleet revision 4",
        "endpoint": "group kitchen revision 3",
        "llm.seed": "device revision 9",
        "gpio.outputs.lamp.pin": "device revision 9",
    }
    assert found["audo"][1] == 'unknown key; did you mean "audio"?'


def test_the_strongest_that_set_a_key_is_named() -> None:
    """Not the one before it, nor the environment."""
    remote = [layer("device", {"audio": {"volume": 200}})]
    with pytest.raises(ConfigError, match=r"^device revision 3: audio\.volume"):
        load_config(None, {"EDGE_AGENT_AUDIO__VOLUME": "300"}, remote)


def test_relative_paths_of_a_layer_count_from_the_owners_file(tmp_path: Path) -> None:
    """As if they stood in it."""
    path = written(tmp_path, "")
    config = load_config(path, {}, [layer("fleet", {"intents": {"paths": ["more.yaml"]}})])
    assert config.intents.paths == (tmp_path / "more.yaml",)


def test_the_home_of_nobody_is_one_error() -> None:
    """`~name/` of a user that there is not is refused, not crashed on."""
    with pytest.raises(ConfigError, match=r"llm\.model: there is no such user's home directory"):
        load_config(None, {}, [layer("fleet", {"llm": {"model": "~nobody-of-that-name/x.gguf"}})])


def test_where_values_come_from(tmp_path: Path) -> None:
    """Each key that is not a default has its source; the last to set it counts."""
    path = written(tmp_path, "[audio]\nvolume = 10\nearcons = false\n[activation]\nsensitivity = {alexa = 0.4}\n")
    own = read_own(path, {"EDGE_AGENT_AUDIO__VOLUME": "20", "EDGE_AGENT_LLM__SEED": "1"})
    remote = [layer("fleet", {"llm": {"seed": 2}, "vad": {"aggressiveness": None}, "activation": {"sensitivity": 0.5}})]
    assert sources(own, remote) == {
        "activation.sensitivity": "fleet revision 3",
        "audio.earcons": str(path),
        "audio.volume": "EDGE_AGENT_AUDIO__VOLUME",
        "llm.seed": "fleet revision 3",
    }


def test_the_fingerprint_is_the_configurations_and_not_its_sources(tmp_path: Path) -> None:
    """The same values from elsewhere have the same hash, others another; it is SHA-256 of the compact JSON."""
    by_file = load_config(written(tmp_path, "[audio]\nvolume = 30\n"), {})
    by_layer = load_config(written(tmp_path, ""), {}, [layer("fleet", {"audio": {"volume": 30}})])
    assert fingerprint(by_file) == fingerprint(by_layer) != fingerprint(Config())
    text = json.dumps(json.loads(by_file.model_dump_json()), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert fingerprint(by_file) == sha256(text.encode()).hexdigest()


def test_infinity_and_broken_text_do_not_get_as_far_as_the_fingerprint(tmp_path: Path) -> None:
    """TOML has inf and the environment half characters; JSON, and so the fingerprint, has neither."""
    numbers = [(*path, name) for path, name in _keys_of(float)]
    assert len(numbers) > 20
    for keys in numbers:
        lines = f"[{'.'.join(keys[:-1])}]\n{keys[-1]} = inf\n"
        try:
            config = load_config(written(tmp_path, lines), {})
        except ConfigError:
            continue
        assert fingerprint(config), keys
    for variable in ("EDGE_AGENT_LLM__MODEL", "EDGE_AGENT_LLM__SYSTEM_PROMPT", "EDGE_AGENT_INTENTS__PATHS"):
        text = "/x\udc80" if "PATHS" not in variable else '["/x\udc80"]'
        try:
            config = load_config(written(tmp_path, ""), {variable: text})
        except ConfigError:
            continue
        assert fingerprint(config), variable


def _keys_of(
    kind: type, section: type[BaseModel] = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, field in section.model_fields.items():
        inner = section_at((*path, name))
        if inner is not None and getattr(field.annotation, "__origin__", None) is not dict:
            yield from _keys_of(kind, inner, (*path, name))
        elif field.annotation is kind and path:
            yield path, name
