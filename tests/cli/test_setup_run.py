"""Setup, with a scripted person and without one: what is asked, what is written, and what is not."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from setup_doubles import ENTER, FakeMachine, ScriptedPerson

from edge_agent.app.doctor.levels import LevelSummary
from edge_agent.app.doctor.result import CheckResult
from edge_agent.app.setup.answers import Answers, Broker
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.app.setup.saving import read_target
from edge_agent.app.setup.target import Target
from edge_agent.cli.setup_run import Means, attended, unattended
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigError, DeviceError, UnknownDeviceError

SOUND = (
    ("Which microphone?", ENTER),
    ("Which speaker?", ENTER),
    ("Volume", ENTER),
    ("Did you hear", ENTER),
)
AWAY = CheckResult("broker", "fault", "b:1883: refuses the connection", "check mqtt.host")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A configuration in a directory of its own, like a user's."""
    models = tmp_path / "models"
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'# mine\n[directories]\nmodels = "{models}"\n', encoding="utf-8")
    return Target(file, is_installed=False, password=file.parent / "mqtt-password", password_key="mqtt-password")


def means(target: Target, machine: FakeMachine, *, checks: bool = True, restarts: bool = False) -> Means:
    """Return what the code under test is given."""
    return Means(target, read_target(target)[1], machine.machine, checks=checks, restarts=restarts)


def written(target: Target) -> dict[str, Any]:
    """Return what the file says."""
    return tomllib.loads(target.file.read_text(encoding="utf-8"))


def test_enter_all_the_way_changes_nothing(target: Target) -> None:
    """Every default is what holds already, a name that was made of the board included."""
    before = target.file.read_bytes()
    person = ScriptedPerson(
        *SOUND,
        ("Language", ENTER),
        ("When does it listen?", ENTER),
        ("Broker", ENTER),
        ("Name of this device", ENTER),
        ("Groups", ENTER),
    )
    attended(means(target, FakeMachine()), Answers(), person)
    assert person.is_done
    assert target.file.read_bytes() == before
    assert person.heard[-1] == "Nothing is different from before."


def test_a_whole_conversation(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad answers are asked for again; a silent microphone and an absent broker are told; secrets stay secret."""
    machine = FakeMachine()
    machine.sound.summaries = [LevelSummary("HAT", -120, -120, 0, 1.0, 16_000)]
    machine.check_broker.results = [AWAY]
    person = ScriptedPerson(
        ("Which microphone?", "wm8960"),
        ("What now?", "choose another"),
        ("Which microphone?", "USB Mic"),
        ("Which speaker?", "USB Speaker"),
        ("Volume", "loud"),
        ("Volume", "40"),
        ("Did you hear", False),
        ("What now?", "volume"),
        ("Volume", "65"),
        ("Did you hear", True),
        ("Language", "german"),
        ("Language", "xx"),
        ("Language", "de"),
        ("When does it listen?", "wake word"),
        ("Wake words", "computer"),
        ("Wake words", "hey_jarvis"),
        ("Broker", "mqtt://me:geheim@b"),
        ("Broker", "b"),
        ("TLS?", ENTER),
        ("Port", "x"),
        ("Port", ENTER),
        ("User name", "me"),
        ("Password", "geheim42"),
        ("Name of this device", "küche"),
        ("Name of this device", "kitchen"),
        ("Groups", "floor, all"),
        ("What now?", "keep it"),
        ("Write it", ENTER),
    )
    attended(means(target, machine), Answers(), person)
    assert person.is_done
    assert written(target) == {
        "language": "de",
        "device_id": "kitchen",
        "groups": ["floor", "all"],
        "intents": {"builtin": False},
        "audio": {"input_device": "hw:CARD=Mic", "output_device": "hw:CARD=Spk", "volume": 65},
        "activation": {"mode": "wake_word", "words": ["hey_jarvis"]},
        "mqtt": {"host": "b", "username": "me", "password_file": "mqtt-password"},
        "directories": {"models": str(target.file.parents[1] / "models")},
    }
    assert target.file.read_text(encoding="utf-8").startswith("# mine\n")
    assert target.password.read_text(encoding="utf-8") == "geheim42\n"
    assert stat.S_IMODE(target.password.stat().st_mode) == 0o600
    assert machine.sound.played == [("hw:CARD=Spk", 40), ("hw:CARD=Spk", 65)]
    assert [(config.mqtt.host, password) for config, password in machine.check_broker.asked] == [("b", "geheim42")]
    said = "\n".join([*person.heard, *person.warned, *capsys.readouterr()])
    assert "geheim" not in said
    for part in (
        "nothing but zeros",
        "a volume is a number",
        "a language is its ISO 639 code",
        "nothing hears 'xx'",
        "so intents.builtin = false",
        "edge-agent models pull",
        "is not one of the wake words",
        "a password does not belong in the address",
        "a port is a number",
        "refuses the connection",
        "a name has letters",
    ):
        assert part in said, part


def test_what_no_answer_mends_is_told_before_the_questions(target: Target) -> None:
    """Nobody answers ten of them for nothing."""
    target.file.write_text('[llm]\nmodel = "gone.gguf"\n', encoding="utf-8")
    person = ScriptedPerson()
    with pytest.raises(ConfigError, match=r"llm\.model: .*gone\.gguf does not exist"):
        attended(means(target, FakeMachine()), Answers(), person)
    assert person.heard == []


def test_a_language_that_keeps_the_service_from_starting_is_mended(target: Target) -> None:
    """As an older setup, or a hand, has left it."""
    target.file.write_text('language = "de"\n', encoding="utf-8")
    given = Answers("", "", Config().audio.volume, mode="always", broker=Broker(), device_id="hall", groups=())
    attended(means(target, FakeMachine()), given, ScriptedPerson(("Language", ENTER), ("Write it", ENTER)))
    assert written(target) == {"language": "de", "intents": {"builtin": False}, "device_id": "hall"}


@pytest.mark.parametrize(
    ("setting", "content", "hint"),
    [
        ('password_file = "mqtt-password"', "old\n", "Enter keeps the present one"),
        ('password_file = "mqtt-password"', "", "Enter: none"),
        ("", "old\n", "Enter: none"),
    ],
    ids=["in place", "empty", "not used"],
)
def test_a_password_is_kept_only_where_there_is_one(setting: str, content: str, hint: str, target: Target) -> None:
    """The question says what Enter does."""
    target.file.write_text(f'[mqtt]\nhost = "b"\nusername = "u"\n{setting}\n', encoding="utf-8")
    target.password.write_text(content, encoding="utf-8")
    person = ScriptedPerson(("Broker", "mqtt://u@b:1883"), (f"Password, not shown ({hint})", KeyboardInterrupt))
    given = Answers("", "", 10, "en", "always", device_id="hall", groups=())
    with pytest.raises(click.Abort):
        attended(means(target, FakeMachine(), checks=False), given, person)
    assert person.is_done


def test_what_options_answer_is_not_asked(target: Target) -> None:
    """The rest is."""
    person = ScriptedPerson(("Language", ENTER), ("Name of this device", "hall"), ("Write it", ENTER))
    given = Answers(microphone="", speaker="", volume=10, mode="always", broker=Broker(), groups=())
    attended(means(target, FakeMachine()), given, person)
    assert person.is_done
    assert (written(target)["device_id"], written(target)["audio"]) == ("hall", {"volume": 10})


@pytest.mark.parametrize("after", range(4))
def test_who_has_enough_leaves_everything_as_it_was(after: int, target: Target) -> None:
    """At any question; and a service that was stopped for the microphone runs again."""
    before = sorted((path, path.read_bytes()) for path in target.file.parent.iterdir())
    machine = FakeMachine()
    machine.service.runs = True
    machine.sound.summaries = [DeviceError("Mic", "is busy")]
    script = [
        ("Which microphone?", ENTER),
        ("Stop it until we are done?", ENTER),
        ("What now?", "try again"),
        ("Which speaker?", ENTER),
    ]
    part, _ = script[after]
    person = ScriptedPerson(*script[:after], (part, KeyboardInterrupt))
    with pytest.raises(click.Abort):
        attended(means(target, machine), Answers(), person)
    assert sorted((path, path.read_bytes()) for path in target.file.parent.iterdir()) == before
    assert machine.service.verbs == ([] if after < 2 else ["stop", "start"])
    assert machine.service.runs


def test_a_service_of_somebody_else_is_left_alone(target: Target) -> None:
    """The person is told what to do, and may go on untried; at the end, how the service takes it up."""
    machine = FakeMachine()
    machine.service.runs, machine.service.is_ours = True, False
    machine.sound.summaries = [DeviceError("Mic", "is busy")]
    person = ScriptedPerson(("Which microphone?", "HAT"), ("What now?", "all the same"), ("Write it", ENTER))
    given = Answers(speaker="", volume=10, language="en", mode="always", broker=Broker(), device_id="hall", groups=())
    attended(means(target, machine), given, person)
    assert written(target)["audio"]["input_device"] == "hw:CARD=wm8960"
    assert "sudo systemctl stop edge-agent" in person.warned[0]
    assert "sudo systemctl restart edge-agent" in person.heard[-1]
    assert machine.service.verbs == []


def test_the_service_is_restarted_where_that_is_wished(target: Target) -> None:
    """By a question, or by an option without one."""
    given = Answers("", "", 10, "en", "always", broker=Broker(), device_id="hall", groups=())
    machine = FakeMachine()
    machine.service.runs = True
    person = ScriptedPerson(("Write it", ENTER), ("Restart the service", ENTER))
    attended(means(target, machine), given, person)
    assert machine.service.verbs == ["restart"]
    unattended(means(target, machine, restarts=True), given)
    assert machine.service.verbs == ["restart", "restart"]


def test_a_broker_is_entered_again(target: Target) -> None:
    """With what was entered last as the default, until it answers."""
    machine = FakeMachine()
    machine.check_broker.results = [AWAY]
    person = ScriptedPerson(
        ("Broker", "wrong"),
        ("TLS?", False),
        ("Port", ENTER),
        ("User name", ENTER),
        ("What now?", "enter the broker again"),
        ("Broker", "mqtt://right:1884"),
        ("User name", ENTER),
        ("Write it", ENTER),
    )
    given = Answers("", "", 10, "en", "always", device_id="hall", groups=())
    attended(means(target, machine), given, person)
    assert person.is_done
    assert person.defaults["Broker"] == "mqtt://wrong"
    assert written(target)["mqtt"] == {"host": "right", "port": 1884}


def test_unattended_twice_gives_the_same_bytes(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time nothing is written; an absent broker is told, and kept."""
    machine = FakeMachine()
    machine.check_broker.results = [AWAY, AWAY]
    given = Answers(
        "USB Mic",
        "",
        33,
        "en",
        "wake_word",
        ("alexa",),
        broker=Broker("b", None, tls=True, username="u"),
        password="s3",
    )
    unattended(means(target, machine), given)
    first = {path.name: path.read_bytes() for path in target.file.parent.iterdir()}
    assert set(first) == {"config.toml", "config.toml.bak", "mqtt-password"}
    unattended(means(target, machine), given)
    assert {path.name: path.read_bytes() for path in target.file.parent.iterdir()} == first
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"{target.file} is as it was"
    assert err.count("! b:1883: refuses the connection\n") == 2
    assert "s3" not in out + err


def test_an_installed_service_gets_its_password_from_systemd(target: Target) -> None:
    """In the directory of credentials; the configuration names no file any more."""
    credentials = target.file.parent / "credentials" / "mqtt-password"
    installed = Target(target.file, is_installed=True, password=credentials, password_key=None)
    target.file.write_text('[mqtt]\nhost = "b"\nusername = "u"\npassword_file = "old"\n', encoding="utf-8")
    unattended(means(installed, FakeMachine(), checks=False), Answers(password="geheim"))
    assert written(target) == {"mqtt": {"host": "b", "username": "u"}}
    assert credentials.read_text(encoding="utf-8") == "geheim\n"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.parent.stat().st_mode) == 0o700


def test_who_becomes_anonymous_loses_the_password(target: Target) -> None:
    """A password without a user name would keep the service from connecting."""
    unattended(means(target, FakeMachine()), Answers(broker=Broker("b", username="u"), password="geheim"))
    unattended(means(target, FakeMachine()), Answers(broker=Broker("b")))
    assert "password_file" not in written(target)["mqtt"]
    assert not target.password.exists()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (Answers(mode="button"), ConfigError, "needs gpio.button.pin"),
        (Answers(broker=Broker("b"), password="x"), BadAnswerError, "no user name"),
        (Answers(microphone="Radio"), UnknownDeviceError, "no microphone matches 'Radio'"),
        (Answers(broker=Broker("b", username="u"), password="a\nb"), BadAnswerError, "one line"),
    ],
    ids=["button without pin", "nobody's password", "no such microphone", "two lines"],
)
def test_nothing_is_written_of_what_does_not_fit_together(
    given: Answers, error: type[Exception], words: str, target: Target
) -> None:
    """The error says what is wrong."""
    before = target.file.read_bytes()
    with pytest.raises(error, match=words):
        unattended(means(target, FakeMachine()), given)
    assert [path.name for path in target.file.parent.iterdir()] == ["config.toml"]
    assert target.file.read_bytes() == before
