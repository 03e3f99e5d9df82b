"""What became of a command."""

from __future__ import annotations

import shutil
import wave
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.bench.soak_commands import COMMANDS, Asked, assign, prepare
from edge_agent.config.schema import Config

if TYPE_CHECKING:
    from pathlib import Path

    from commands import CommandLine


needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed (apt install flite)")


def turn(**other: object) -> dict[str, Any]:
    """A right answer to the first command, but for what is said otherwise."""
    timings = {"speech_end_s": 1.0, "first_audio_s": 1.35}
    right = {"heard": "what time is it", "intent": "GetTime", "reply": "It's noon.", "interrupted": False}
    return {**right, "timings": timings, **other}


def test_an_answer_is_right_where_all_of_it_is() -> None:
    """Intent, reply, spoken to its end, and no second answer."""
    assert Asked(COMMANDS[0], 0.0, [turn()]).is_right
    assert Asked(COMMANDS[0], 0.0, [turn()]).delay_s == pytest.approx(0.35)
    for wrong in ({"intent": "GetDate"}, {"reply": "Okay."}, {"reply": None}, {"interrupted": True}):
        asked = Asked(COMMANDS[0], 0.0, [turn(**wrong)])
        assert not asked.is_right
        assert asked.delay_s is None
    assert not Asked(COMMANDS[0], 0.0, [turn(), turn()]).is_right


def test_a_command_is_answered_where_anything_was_replied() -> None:
    """A wrong answer is one; a turn without a word is none, and spoils no right one."""
    assert Asked(COMMANDS[0], 0.0, []).is_unanswered
    assert Asked(COMMANDS[0], 0.0, [turn(heard="", reply=None)]).is_unanswered
    assert not Asked(COMMANDS[0], 0.0, [turn(intent="GetDate")]).is_unanswered
    assert Asked(COMMANDS[0], 0.0, [turn(heard="", reply=None), turn()]).is_right


def test_turns_go_to_the_command_before_them() -> None:
    """One that came before all commands is counted."""
    asked = [Asked(COMMANDS[0], 10.0), Asked(COMMANDS[1], 30.0)]
    turns = [(5.0, turn()), (13.0, turn()), (29.9, turn(reply="x")), (33.0, turn(reply="y"))]
    assert assign(asked, turns) == 1
    assert [[one["reply"] for one in part.turns] for part in asked] == [["It's noon.", "x"], ["y"]]


@needs_flite
def test_recordings_stand_in_for_the_voice(tmp_path: Path) -> None:
    """Where they are there; the rest is rendered, 16 kHz mono."""
    (tmp_path / "home").mkdir()
    recording = tmp_path / COMMANDS[0].recording
    recording.write_bytes(b"")
    prepared = prepare(Config(), tmp_path, tmp_path)
    assert [command for command, _ in prepared] == list(COMMANDS)
    assert prepared[0][1] == recording
    with wave.open(str(prepared[1][1])) as file:
        assert file.getparams()[:3] == (1, 2, 16_000)
        assert file.getnframes() > 16_000


@needs_flite
@pytest.mark.slow
def test_every_command_has_the_answer_that_is_expected(command_line: CommandLine, tmp_path: Path) -> None:
    """From the agent as it is, in the order of the soak."""
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    config = command_line.write("config.toml", '[gpio]\ndriver = "simulated"\n[gpio.outputs.lamp]\npin = 17\n')
    prepared = prepare(Config(), None, tmp_path)
    turns = command_line.turns("--fast", "--config", config, *(path for _, path in prepared))
    assert len(turns) == len(prepared)
    for (command, _), answer in zip(prepared, turns, strict=True):
        assert command.is_answered_by(answer), (command.text, answer)
