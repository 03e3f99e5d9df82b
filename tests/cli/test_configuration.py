"""`edge-agent config` with remote documents on the disk."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from commands import CommandLine, assert_one_complaint

from edge_agent.app.remote_verdicts import accepted
from edge_agent.mqtt.desired import Desired, digest_of
from edge_agent.store.revisions import RemoteState, RevisionStore

FILE = """
device_id = "pi-1"
groups = ["kitchen"]
[audio]
volume = 30
[gpio.outputs."desk 1.5"]
pin = 4
"""


@pytest.fixture
def device(command_line: CommandLine) -> CommandLine:
    """A device that accepted documents of the fleet, its group and one that it has left."""
    directory = command_line.home / "state"
    command_line.write("config.toml", f'{FILE}\n[directories]\nstate = "{directory}"\n')
    state = RemoteState()
    documents: list[tuple[str, int, dict[str, Any]]] = [
        ("fleet", 3, {"audio": {"volume": 40, "earcons": False}}),
        ("group/kitchen", 8, {"audio": {"volume": 50}, "vad": {"aggressiveness": None}}),
        ("group/hall", 2, {"audio": {"volume": 99}}),
    ]
    for name, revision, patch in documents:
        desired = Desired(revision, patch, None, is_signed=False, digest=digest_of(patch))
        state = accepted(state, name, desired, "", "2027-03-01T00:00:00Z")
    RevisionStore(directory / "remote.json").save(state)
    return command_line


def show(device: CommandLine, *options: str) -> str:
    """Return what `config show` prints."""
    done = device.run("config", "show", "--config", "config.toml", *options, env={"EDGE_AGENT_LLM__SEED": "5"})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_show_has_what_the_device_accepted(device: CommandLine) -> None:
    """As TOML that loads again, with the revisions as comments; as JSON; and without them on demand."""
    text = show(device)
    assert tomllib.loads(text)["audio"]["volume"] == 50
    assert text.splitlines()[-2:] == ["# remote: fleet revision 3", "# remote: group kitchen revision 8"]
    assert json.loads(show(device, "--json"))["audio"] == {
        **json.loads(show(device, "--json"))["audio"],
        "earcons": False,
    }
    local = tomllib.loads(show(device, "--local"))["audio"]
    assert (local["volume"], local["earcons"]) == (30, True)


def test_show_says_where_each_value_is_from(device: CommandLine) -> None:
    """File, variable or layer, one line a key that is not a default."""
    lines = show(device, "--sources").splitlines()
    assert "audio.volume = 50  # group kitchen revision 8" in lines
    assert "audio.earcons = false  # fleet revision 3" in lines
    assert "llm.seed = 5  # EDGE_AGENT_LLM__SEED" in lines
    assert 'device_id = "pi-1"  # config.toml' in lines
    assert "gpio.outputs.desk 1.5.pin = 4  # config.toml" in lines
    shown: dict[str, Any] = json.loads(show(device, "--sources", "--json"))
    assert shown["remote"] == {"fleet": 3, "group/kitchen": 8}
    assert shown["sources"]["audio.volume"] == "group kitchen revision 8"
    assert shown["config"]["audio"]["volume"] == 50


def test_reset_remote_throws_them_away_for_good(device: CommandLine) -> None:
    """The revisions are remembered as refused, so that what is still retained does not come back."""
    done = device.run("config", "reset-remote", "--config", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "fleet revision 3: thrown away" in done.stdout
    assert tomllib.loads(show(device))["audio"]["volume"] == 30
    state = RevisionStore(device.home / "state" / "remote.json").load().state
    record = state.record("fleet")
    assert record.accepted is None
    assert record.refused is not None
    assert (record.refused.revision, record.seen) == (3, 3)
    again = device.run("config", "reset-remote", "--config", "config.toml", "--forget")
    assert "forgotten" in again.stdout
    assert RevisionStore(device.home / "state" / "remote.json").load().state == RemoteState()
    assert "nothing" in device.run("config", "reset-remote", "--config", "config.toml").stdout


def test_damaged_files_are_told_and_the_rest_is_shown(device: CommandLine) -> None:
    """The configuration is printed all the same."""
    (device.home / "state" / "remote.json").write_text("{")
    done = device.run("config", "show", "--config", "config.toml")
    assert done.returncode == 0
    assert "remote.json: is damaged" in done.stderr
    assert tomllib.loads(done.stdout)["audio"]["volume"] == 30


def test_a_state_directory_that_can_not_be_written_is_one_complaint(device: CommandLine) -> None:
    """It names the file."""
    directory = device.home / "state"
    (directory / "remote.json.new").mkdir()
    done = device.run("config", "reset-remote", "--config", "config.toml")
    assert_one_complaint(done, "remote.json", "can't be kept", status=1)


@pytest.mark.parametrize("command", [("run",), ("ask", "hallo")], ids=["run", "ask"])
def test_a_language_without_intents_is_told_with_the_file_that_chose_it(
    command: tuple[str, ...], command_line: CommandLine
) -> None:
    """And not with a file that nobody has."""
    file = command_line.write("my.toml", 'log_level = "error"\nlanguage = "de"\n[mqtt]\nhost = ""\n')
    done = command_line.run(*command, "--config", file)
    assert_one_complaint(done, f"{file}: language: no intents in 'de' come with edge_agent, only in en, zh;")
    assert "intents.builtin = false" in done.stderr
    checked = command_line.run("config", "check", file)
    assert_one_complaint(checked, f"{file}: language: no intents in 'de'")
    by_variable = command_line.run(*command, env={"EDGE_AGENT_LANGUAGE": "de", "EDGE_AGENT_LOG_LEVEL": "error"})
    assert_one_complaint(by_variable, "edge-agent: EDGE_AGENT_LANGUAGE: language: no intents in 'de'")
