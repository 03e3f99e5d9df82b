"""Loading the configuration: order of sources, and every error at once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edge_agent.config.load import SYSTEM_FILE, default_file, load_config
from edge_agent.config.schema import Config
from edge_agent.config.show import as_toml
from edge_agent.errors import ConfigError


def problems_of(path: Path | None, environ: dict[str, str] | None = None) -> dict[str, str]:
    """Return the problems' messages by key."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return {problem.key: problem.message for problem in caught.value.problems}


def written(tmp_path: Path, text: str) -> Path:
    """Write a configuration file."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    """Defaults < file < environment."""
    path = written(tmp_path, 'language = "zh"\n[audio]\nvolume = 30\n')
    config = load_config(path, {"EDGE_AGENT_AUDIO__VOLUME": "40", "HOME": "/nowhere"})
    assert (config.language, config.audio.volume, config.log_level) == ("zh", 40, "info")


def test_ten_errors_are_reported_at_once_a_line_each(tmp_path: Path) -> None:
    """Each wrong key has its own line with key path, file and remedy; none hides another."""
    path = written(
        tmp_path,
        """
        languag = "en"
        log_level = "loud"
        [audio]
        volume = 300
        [asr]
        engin = "vosk"
        [asr.pocketsphinx]
        min_confidence = "high"
        [endpoint]
        pre_roll_s = -1
        [gpio.outputs.lamp]
        pin = 99
        colour = "red"
        [activation]
        words = []
        sensitivity = "x"
        """,
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    lines = str(caught.value).splitlines()
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {
        "languag",
        "log_level",
        "audio.volume",
        "asr.engin",
        "asr.pocketsphinx.min_confidence",
        "endpoint.pre_roll_s",
        "gpio.outputs.lamp.pin",
        "gpio.outputs.lamp.colour",
        "activation.words",
        "activation.sensitivity",
    }
    assert len(lines) == 10
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert 'did you mean "language"?' in str(caught.value)
    assert 'did you mean "engine"?' in str(caught.value)


def test_an_error_in_the_environment_names_the_variable() -> None:
    """The source of a wrong value is the variable, not the file."""
    with pytest.raises(ConfigError, match=r"^EDGE_AGENT_AUDIO__VOLUM: audio.volum: unknown key; did you mean"):
        load_config(None, {"EDGE_AGENT_AUDIO__VOLUM": "3"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("a = ", "not valid TOML"), ("a = 1\na = 2", "not valid TOML"), ("x" * 1_000_001, "larger than")],
)
def test_a_file_that_is_no_toml_is_one_error(tmp_path: Path, text: str, complaint: str) -> None:
    """The file is named and the line said."""
    assert complaint in problems_of(written(tmp_path, text))[""]


def test_missing_files_directories_and_binary_ones_are_refused(tmp_path: Path) -> None:
    """Whatever is not a readable text file gives one clear error."""
    assert "No such file" in problems_of(tmp_path / "absent.toml")[""]
    assert "directory" in problems_of(tmp_path)[""]
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in problems_of(binary)[""]


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    """A path in the file means the same wherever the command is run."""
    path = written(tmp_path, '[intents]\npaths = ["mine.yaml", "/etc/theirs.yaml"]\n')
    assert load_config(path, {}).intents.paths == (tmp_path / "mine.yaml", Path("/etc/theirs.yaml"))


def test_a_section_given_as_a_value_is_one_error(tmp_path: Path) -> None:
    """`audio = 3` beside a variable below `audio` is reported, not crashed on."""
    assert "audio.volume" in problems_of(written(tmp_path, "audio = 3"), {"EDGE_AGENT_AUDIO__VOLUME": "5"})


def test_what_is_shown_loads_again(tmp_path: Path) -> None:
    """`config show` prints TOML that gives the same configuration."""
    path = written(tmp_path, '[gpio.outputs."desk lamp"]\npin = 17\n[activation]\nsensitivity = {alexa = 0.4}\n')
    config = load_config(path, {})
    text = as_toml(config)
    assert tomllib.loads(text)
    again = tmp_path / "again.toml"
    again.write_text(text, encoding="utf-8")
    assert load_config(again, {}) == config


def test_the_configuration_is_frozen_and_its_defaults_are_valid() -> None:
    """Nobody changes a loaded configuration in place."""
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.language = "de"  # type: ignore[misc]


def test_a_wrong_item_is_one_error_and_not_its_list_too(tmp_path: Path) -> None:
    """The innermost key is named; what follows from it is left out."""
    path = written(tmp_path, '[activation]\nwords = ["foo"]\nsensitivity = {okay_nabuu = 0.5}\n')
    assert set(problems_of(path)) == {"activation.words.0", "activation.sensitivity.okay_nabuu"}


def test_button_mode_needs_a_button(tmp_path: Path) -> None:
    """A device that nothing can activate is not started in silence."""
    path = written(tmp_path, '[activation]\nmode = "button"\n')
    assert "gpio.button.pin" in problems_of(path)["activation.mode"]
    path.write_text('[activation]\nmode = "button"\n[gpio.button]\npin = 23\n')
    assert load_config(path, {}).activation.mode == "button"


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"EDGE_AGENT_ENDPOINT__SHORTEST_S": "2"}, "shortest_s (2.0) must not be more than longest_s (1.0)"),
        ({"EDGE_AGENT_ENDPOINT__COMPLETE_S": "2"}, "complete_s (2.0) must not be more than unfinished_s (1.2)"),
        ({"EDGE_AGENT_RECORDER__TURNS": "0", "EDGE_AGENT_RECORDER__AUDIO_TURNS": "5"}, "raise turns"),
        ({"EDGE_AGENT_TIMERS__REPEAT_S": "100"}, "repeat_s must not be longer"),
        ({"EDGE_AGENT_INTERRUPTION__IGNORED": '["mhm", " "]'}, "leave the empty one out"),
    ],
)
def test_values_that_contradict_each_other_are_one_error(variables: dict[str, str], part: str) -> None:
    """It names the keys, and nothing starts with half of what was meant."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, variables)
    (problem,) = caught.value.problems
    assert part in problem.message


def test_an_installed_file_that_is_kept_from_this_user_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory is closed to others: they get one clear error, and no other configuration."""

    def refuse(path: Path, *_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    assert default_file({"HOME": "/nowhere"}) == SYSTEM_FILE
    assert "usermod -aG edge-agent" in problems_of(None, {"HOME": "/nowhere"})[""]
