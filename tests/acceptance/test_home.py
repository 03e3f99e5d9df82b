"""The home commands, as people recorded them, through the whole pipeline with nothing installed but the default."""

from __future__ import annotations

import wave
from datetime import datetime
from pathlib import Path

import pytest
from commands import CommandLine

LAMP = '[gpio]\ndriver = "simulated"\n[gpio.outputs.lamp]\npin = 17\n'
CONTRACT = {
    "turn",
    "heard",
    "confidence",
    "intent",
    "slots",
    "reply",
    "source",
    "audio",
    "endpoint",
    "timings",
    "interrupted",
}


def test_home_commands_are_heard_and_answered(command_line: CommandLine, speech_dir: Path) -> None:
    """Time, date, lamp and timer: heard exactly, understood, answered by intent and left as WAV."""
    home = speech_dir / "home"
    clips = ["what_time_is_it", "whats_the_date_today", "turn_on_the_lamp", "set_timer"]
    config = command_line.write("config.toml", LAMP)
    before = datetime.now().astimezone()
    turns = command_line.turns(
        *(home / f"{clip}.wav" for clip in clips), "--fast", "--config", config, "--out", command_line.home / "out"
    )
    after = datetime.now().astimezone()
    assert [turn["heard"] for turn in turns] == [
        "what time is it",
        "what's the date today",
        "turn on the lamp",
        "set a timer for ten minutes",
    ]
    assert [turn["intent"] for turn in turns] == ["GetTime", "GetDate", "SwitchOutput", "SetTimer"]
    assert [turn["source"] for turn in turns] == ["intent"] * 4
    assert turns[2]["slots"] == {"output": "lamp", "switch": "on"}
    assert turns[3]["slots"]["minutes"] == 10
    assert turns[0]["reply"] in {spoken_time(before), spoken_time(after)}
    for turn in turns:
        assert set(turn) == CONTRACT
        assert turn["endpoint"]["reason"] in {"silence", "grammar_complete", "end_of_input"}
        with wave.open(turn["audio"]) as reply:
            assert reply.getnframes() / reply.getframerate() > 0.5
        timings = turn["timings"]
        assert 0 < timings["speech_end_s"] <= timings["endpoint_s"] < timings["first_audio_s"] < timings["done_s"]


def spoken_time(moment: datetime) -> str:
    """Return the agent's answer for a time of day."""
    from edge_agent.reason.spoken import speech

    return f"It's {speech('en').time(moment)}".removesuffix(".") + "."


@pytest.mark.parametrize("clip", ["home/play_the_beatles.wav", "home/porcupine.wav", "home/this_is_a_test.wav"])
def test_what_is_no_command_is_not_made_one(command_line: CommandLine, speech_dir: Path, clip: str) -> None:
    """Speech outside the grammar does nothing: no intent, no reply from one."""
    for turn in command_line.turns(speech_dir / clip, "--fast"):
        assert turn["intent"] is None
        assert turn["source"] == "none"


def test_silence_makes_no_turn(command_line: CommandLine) -> None:
    """No speech: no object, status 0."""
    path = command_line.home / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16000 * 3))
    assert command_line.turns(path, "--fast") == []
