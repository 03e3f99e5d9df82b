"""`edge-agent doctor` as a command."""

from __future__ import annotations

import io
import json

import pytest
from commands import CommandLine, assert_one_complaint
from pulse_rig import PulseRig
from rich.console import Console

from edge_agent.app.doctor import CheckResult
from edge_agent.app.doctor.levels import Level
from edge_agent.cli.doctor_view import DoctorView, level_bar


@pytest.mark.live
def test_it_prints_a_table_or_json_and_tells_by_its_status(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """0 without a fault, 1 with one; JSON alone on standard output, in the table the remedies as lines to copy."""
    env = {**pulse_rig.sound_env, "HOME": str(command_line.home)}
    done = command_line.run("doctor", "--json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert {"board", "clock", "unit", "broker", "microphone", "echo_cancellation"} <= {entry["name"] for entry in found}
    assert all(set(entry) == {"name", "verdict", "message", "remedy", "figures"} for entry in found)
    assert done.stderr == ""

    table = command_line.run("doctor", "--only", "speaker,echo cancellation", env=env)
    assert table.returncode == 0
    assert "✓ speaker" in table.stdout
    assert "board" not in table.stdout
    module = "load-module module-echo-cancel aec_method=webrtc source_name=echo_cancelled sink_name=echo_cancelled_out"
    assert f"    {module}\n" in table.stdout

    file = command_line.write("config.toml", '[audio]\ninput_device = "gramophone"\n')
    faulty = command_line.run("doctor", "--config", file, "--only", "microphone", env=env)
    assert faulty.returncode == 1
    assert "✗ microphone" in faulty.stdout


@pytest.mark.live
def test_a_sound_server_that_hangs_ends_nothing(pulse_rig: PulseRig, command_line: CommandLine) -> None:
    """Each device is a fault within its bound, the next check is made, and the command ends."""
    file = command_line.write("config.toml", f'[audio]\ninput_device = "{PulseRig.microphone}"\n')
    pulse_rig.freeze_microphone()
    pulse_rig.freeze_speaker()
    try:
        done = command_line.run(
            *("doctor", "--json", "--only", "microphone,clock,echo_cancellation", "--config", file),
            env=pulse_rig.sound_env,
        )
    finally:
        pulse_rig.thaw_microphone()
        pulse_rig.thaw_speaker()
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert list(found) == ["clock", "microphone", "echo_cancellation"]
    assert found["microphone"]["verdict"] == "fault"
    assert "does not answer" in found["microphone"]["message"]
    assert done.returncode == 1


def test_without_sound(command_line: CommandLine) -> None:
    """No device is opened, and all else is told."""
    done = command_line.run("doctor", "--no-sound", "--json")
    names = [entry["name"] for entry in json.loads(done.stdout)]
    assert "board" in names
    assert not {"microphone", "speaker", "echo_path", "sample_rates"} & set(names)


def test_a_configuration_that_is_wrong_is_a_fault_and_no_end(command_line: CommandLine) -> None:
    """What follows is of the defaults; a file that was named is refused as everywhere."""
    directory = command_line.home / ".config/edge-agent"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text("[audio]\nvolume = 900\n")
    done = command_line.run("doctor", "--no-sound", "--only", "python", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [entry["name"] for entry in found] == ["configuration", "python"]
    assert "audio.volume" in found[0]["message"]
    assert_one_complaint(command_line.run("doctor", "--config", directory / "config.toml"), "audio.volume")


def test_a_check_that_is_not_known(command_line: CommandLine) -> None:
    """Those there are are named."""
    assert_one_complaint(command_line.run("doctor", "--only", "weather"), "'weather' is none of", "broker")
    assert_one_complaint(command_line.run("doctor", "--only", ""), "--only", "broker")


def test_checks_that_are_chosen_add_up(command_line: CommandLine) -> None:
    """By commas and by the option again; a dash is as good as an underscore."""
    done = command_line.run("doctor", "--json", "--only", "python,desktop-audio", "--only", "system")
    assert {entry["name"] for entry in json.loads(done.stdout)} == {"python", "desktop_audio", "system"}


def test_the_table_in_eighty_columns() -> None:
    """Long messages go on below themselves; a remedy is never broken; the end is counted."""
    out = io.StringIO()
    view = DoctorView(console=Console(file=out, width=80, highlight=False))
    results = [
        CheckResult("echo_path", "warning", "a long message " * 10, "one very long command " * 8),
        CheckResult("clock", "fault", "wrong"),
    ]
    with view:
        view.expect(["echo_path", "clock"])
        for result in results:
            view.result(result)
        view.summary(results)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("! echo path a long message")
    assert lines[1].startswith("            ")
    assert any(line.startswith("    one very long command") and len(line) > 100 for line in lines)
    assert "0 ok, 1 warning, 1 fault" in out.getvalue()


@pytest.mark.parametrize(
    ("level", "filled", "style"),
    [
        (Level(-60, -60), 0, "green"),
        (Level(-30, -20), 15, "green"),
        (Level(-6, -3), 27, "yellow"),
        (Level(0, 0), 30, "red"),
    ],
    ids=["silence", "speech", "loud", "clipped"],
)
def test_the_meter(level: Level, filled: int, style: str) -> None:
    """Filled as far as it is loud; the colour says whether that is too loud."""
    bar = level_bar(level)
    assert bar.plain.count("█") == pytest.approx(filled, abs=1)
    assert len(bar.plain) == 39
    assert any(span.style == style for span in bar.spans)
