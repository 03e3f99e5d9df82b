"""`edge-agent field-test` as a command: the whole of it, on null sinks, with nobody there."""

from __future__ import annotations

import errno
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import CommandLine, assert_one_complaint
from doctor_rig import FEED, LOOP, wire
from live_agent import render
from mosquitto_broker import Broker
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pulse_rig import PulseRig
from rich.console import Console
from sounds import save

from edge_agent.app.field.report import FieldReport, ReportFileError
from edge_agent.app.field.run import FieldTest
from edge_agent.app.field.step import Figure, Plan, StepResult
from edge_agent.cli.field_test import _make
from edge_agent.cli.field_view import FieldView
from edge_agent.config.schema import Config

COMMANDS = (
    ("how much time is left", "TimerStatus"),
    ("set a timer for ten minutes", "SetTimer"),
    ("cancel the timer", "CancelTimer"),
)


SERVICE = r"""
import socket
connection, _ = socket.socket(fileno=0).accept()
connection.recv(999)
connection.sendall(b'{"ok": true, "data": {"state": "idle"}}\n')
"""
"""A service that answers once, on the socket that it is given for standard input."""


@contextmanager
def listening(port: int) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Note what is published."""
    heard: list[tuple[str, dict[str, Any]]] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: heard.append((message.topic, json.loads(message.payload)))
    client.connect("127.0.0.1", port)
    client.subscribe("edge-agent/+/event/#", qos=1)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def config_of(home: CommandLine, microphone: str, broker: int | None = None) -> Path:
    """Write a configuration with a light that nobody sees, and maybe a broker."""
    mqtt_section = "" if broker is None else f'[mqtt]\nhost = "127.0.0.1"\nport = {broker}\n'
    return home.write(
        "config.toml",
        f'device_id = "tested"\n[audio]\ninput_device = "{microphone}"\noutput_device = "{PulseRig.speaker}"\n'
        f'[asr.pocketsphinx]\nmin_confidence = 0\n[gpio]\ndriver = "simulated"\n[gpio.light]\npin = 24\n{mqtt_section}',
    )


@pytest.fixture
def hiss(tmp_path: Path) -> Path:
    """A minute and more of a quiet room."""
    noise = np.random.default_rng(1).standard_normal(150 * 16_000) * 30
    return save(tmp_path / "hiss.wav", noise.astype("<i2"), 16_000)


@pytest.mark.live
@pytest.mark.slow
def test_a_whole_field_test(
    pulse_rig: PulseRig, command_line: CommandLine, broker: Broker, tmp_path: Path, hiss: Path
) -> None:
    """Recordings are played to the microphone; what can't be done alone is skipped; report and event say the same."""
    broker.start()
    wire(pulse_rig)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for at, (text, intent) in enumerate(COMMANDS):
        render(recordings / f"{at}.wav", text)
        (recordings / f"{at}.txt").write_text(f"{text}\n{intent}\n")
    config = config_of(command_line, pulse_rig.microphone, broker.port)
    with pulse_rig.playing(hiss), listening(broker.port) as heard:
        done = command_line.run(
            *("field-test", "--unattended", "--json", "--minutes", "0.1", "--out", tmp_path / "out"),
            *("--recordings", recordings, "--play-to", FEED, "--answer", "speaker=yes", "--config", config),
            env=pulse_rig.sound_env,
        )
    found = json.loads(done.stdout)
    steps = {step["name"]: step for step in found["steps"]}
    outcomes = {name: step["outcome"] for name, step in steps.items()}
    right = steps["commands"]["figures"]["right"]
    assert right >= 2, done.stdout  # a machine that is busy with other tests breaks up what is played
    assert outcomes == {
        "microphone": "pass",
        "speaker": "pass",
        "echo": "fail",  # this microphone does not hear this speaker, and that is said
        "button": "skipped",
        "light": "skipped",
        "commands": "pass" if right == 3 else "fail",
        "wake_word": "skipped",
        "load": "pass",
        "tts": "pass",
        "llm": "skipped",
    }, done.stdout
    assert (found["verdict"], done.returncode) == ("failed", 1)
    understood = [part for part in steps["commands"]["parts"] if part["right"]]
    assert all(part["answered_ms"] > 0 and part["intent"] for part in understood)
    assert steps["load"]["figures"]["frames_heard"] > 200
    assert "nobody said whether it was seen" in steps["light"]["message"]
    assert found["report"]["published"] is True
    (report,) = (tmp_path / "out").glob("*.json")
    assert json.loads(report.read_text())["steps"] == found["steps"]
    (event,) = [payload for topic, payload in heard if topic == "edge-agent/tested/event/field_test"]
    assert event["verdict"] == "failed"
    assert event["steps"] == outcomes
    assert event["report"] == str(report)
    assert "timer for ten" not in json.dumps(event)


@pytest.mark.live
def test_a_room_in_which_the_device_hears_itself(
    pulse_rig: PulseRig, command_line: CommandLine, tmp_path: Path
) -> None:
    """With nobody there the microphone says whether the speaker is heard."""
    wire(pulse_rig)
    done = command_line.run(
        *("field-test", "--unattended", "--only", "speaker,echo", "--no-mqtt", "--out", tmp_path / "out"),
        *("--config", config_of(command_line, LOOP)),
        env=pulse_rig.sound_env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"✓ speaker    agent_speaker is heard by {LOOP}" in done.stdout
    assert "incomplete: 2 passed" in done.stdout
    refused = command_line.run(
        *("field-test", "--unattended", "--play-to", "nope", "--out", tmp_path / "new"), env=pulse_rig.sound_env
    )
    assert_one_complaint(refused, "no speaker matches 'nope'")
    assert not (tmp_path / "new").exists()
    strict = command_line.run(
        *("field-test", "--unattended", "--only", "button", "--no-mqtt", "--strict", "--out", tmp_path / "out"),
        env=pulse_rig.sound_env,
    )
    assert strict.returncode == 1
    assert "not done: none is configured" in strict.stdout


def test_a_service_that_runs_is_in_the_way(command_line: CommandLine, tmp_path: Path) -> None:
    """It holds the devices; how to stop it is said, and nothing is done."""
    runtime = tmp_path / "run"
    (runtime / "edge-agent").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(runtime / "edge-agent/edge-agent.sock"))
        server.listen()
        answering = subprocess.Popen([sys.executable, "-c", SERVICE], stdin=server.fileno())
        try:
            done = command_line.run(
                "field-test", "--unattended", "--only", "tts", env={"XDG_RUNTIME_DIR": str(runtime)}
            )
        finally:
            answering.kill()
            answering.wait()
    assert_one_complaint(done, "the service runs and holds microphone, speaker and pins", "edge-agent run")


def test_bad_arguments(command_line: CommandLine, tmp_path: Path) -> None:
    """Each is refused with what there is."""
    run = command_line.run
    assert_one_complaint(run("field-test", "--only", "weather"), "'weather' is none of", "wake_word")
    assert_one_complaint(run("field-test", "--only", ""), "--only", "wake_word")
    assert_one_complaint(run("field-test", "--wake-times", "1.5"), "'1.5' is no whole number")
    assert_one_complaint(run("field-test", "--wake-times", "51"), "must be from 1 to 50, not 51")
    assert_one_complaint(run("field-test", "--answer", "speaker=perhaps"), "speaker=yes")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_one_complaint(run("field-test", "--recordings", empty, "--only", "commands"), "holds no *.wav")
    plain = command_line.write("plain", "")
    refused = run("field-test", "--unattended", "--only", "button", "--no-mqtt", "--out", plain / "below")
    assert_one_complaint(refused, "the report can't be written", "--out")
    assert refused.stdout == ""  # before the first step, not behind the last


def test_a_report_that_can_not_be_written_after_all_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk has filled up during the test: its result is on standard output, and the reason is said."""
    began = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    made = FieldReport("hall", "0.1.0", {}, began, began, True, True, [StepResult("button", "pass", "pressed")])  # noqa: FBT003

    async def run(_: FieldTest) -> FieldReport:
        return made

    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FieldTest, "run", run)
    monkeypatch.setattr(FieldReport, "write", write)
    out = tmp_path / "deep" / "out"
    with pytest.raises(ReportFileError, match="No space left on device"):
        _make(Config(), Plan(minutes=1, out=out), FieldView(is_shown=False, is_there=False, answers={}))
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(made.as_json()))
    assert list(out.iterdir()) == []


def view_of(text: str, *, is_there: bool = True, **answers: bool) -> tuple[FieldView, io.StringIO]:
    """Return a view whose person types `text`."""
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    lines = iter(text.splitlines())

    def read(prompt: object = "") -> str:
        out.write(f"{prompt}\n")
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    console.input = read  # type: ignore[method-assign,assignment]
    return FieldView(is_shown=True, is_there=is_there, answers=answers, console=console), out


@pytest.mark.parametrize(
    ("typed", "answer"), [("y", True), ("NO", False), ("maybe\nyes", True), ("", None), ("what\n" * 9, None)]
)
def test_a_person_is_asked(typed: str, answer: bool | None) -> None:
    """Yes, no, or nothing that counts; never for ever."""
    view, out = view_of(typed)
    assert view.confirm("speaker", "did you hear it") is answer
    assert "did you hear it?" in out.getvalue()


def test_answers_given_beforehand_and_by_nobody() -> None:
    """Neither asks."""
    view, out = view_of("no", is_there=False, speaker=True)
    assert view.confirm("speaker", "did you hear it") is True
    assert view.confirm("light", "did you see it") is None
    assert out.getvalue() == ""


def test_steps_are_shown_as_they_end() -> None:
    """With each command of those that were spoken."""
    view, out = view_of("")
    parts: list[dict[str, Figure]] = [
        {"said": "stop", "heard": "stop", "right": True, "answered_ms": 600},
        {"said": "go", "heard": None, "right": False, "answered_ms": None},
    ]
    with view:
        view.result(StepResult("commands", "fail", "1 of 2 understood", {}, parts))
        view.result(StepResult("button", "skipped", "none is configured"))
    lines = out.getvalue().splitlines()
    assert lines[0].rstrip() == "✗ commands   1 of 2 understood"
    assert lines[1].rstrip() == "     ✓ stop, 600 ms"
    assert lines[2].rstrip() == "     ✗ go   nothing heard"
    assert lines[3].rstrip() == "· button     not done: none is configured"
