"""Vosk, llama.cpp and Piper through the whole pipeline, on the small real models."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest
from commands import CommandLine

DIGITS = """
language: en
intents:
  Digits:
    data:
      - sentences: ["{digit:a} {digit:b} {digit:c} {digit:d} {digit:e}"]
    action:
      reply: "{a} {b} {c} {d} {e}"
lists:
  digit:
    values: [zero, oh, one, two, three, four, five, six, seven, eight, nine]
"""


def test_vosk_hears_digits_in_three_utterances(command_line: CommandLine, speech_dir: Path, models_dir: Path) -> None:
    """The digit grammar comes from an intents file; our endpointer cuts three utterances, all of them right."""
    command_line.write("digits.yaml", DIGITS)
    config = command_line.write(
        "config.toml",
        f"""
        [asr]
        engine = "vosk"
        vosk.model = "{models_dir / "vosk-sphinx-en"}"
        [intents]
        builtin = false
        paths = ["digits.yaml"]
        """,
    )
    turns = command_line.turns(speech_dir / "digits" / "test.wav", "--fast", "--config", config)
    assert [turn["heard"] for turn in turns] == [
        "one zero zero zero one",
        "nine oh two one oh",
        "zero one eight zero three",
    ]
    assert [turn["intent"] for turn in turns] == ["Digits"] * 3
    assert [turn["endpoint"]["reason"] for turn in turns][:2] == ["grammar_complete", "grammar_complete"]
    assert turns[1]["slots"] == {"a": "nine", "b": "oh", "c": "two", "d": "one", "e": "oh"}


@pytest.mark.parametrize("engine", ["flite", "espeak"])
def test_the_language_model_answers_in_spoken_sentences(
    command_line: CommandLine, speech_dir: Path, models_dir: Path, engine: str
) -> None:
    """An utterance that is no intent goes to the model; its answer streams, is cut into sentences and spoken."""
    config = command_line.write(
        "config.toml",
        f"""
        [asr]
        engine = "vosk"
        closed = false
        vosk.model = "{models_dir / "vosk-sphinx-en"}"
        [llm]
        model = "{models_dir / "llm" / "stories260K.gguf"}"
        temperature = 0
        max_answer_tokens = 60
        context_tokens = 512
        system_prompt = "Once upon a time"
        [tts]
        engine = "{engine}"
        """,
    )
    recording = speech_dir / "home" / "play_the_beatles.wav"
    (turn,) = command_line.turns(recording, "--fast", "--config", config, "--out", command_line.home / "out")
    assert turn["source"] == "llm"
    assert len(turn["reply"].split()) > 10
    timings = turn["timings"]
    assert timings["endpoint_s"] < timings["first_token_s"] < timings["first_audio_s"] < timings["done_s"]
    with wave.open(turn["audio"]) as reply:
        assert reply.getnframes() / reply.getframerate() > 2


def test_piper_speaks_through_its_path(command_line: CommandLine, models_dir: Path) -> None:
    """The stub voice renders one second of silence a sentence, at its own rate."""
    config = command_line.write(
        "config.toml", f'[tts]\nengine = "piper"\npiper.voice = "{models_dir / "piper-stub" / "test_voice.onnx"}"\n'
    )
    out = command_line.home / "spoken.wav"
    done = command_line.run("say", "One sentence.", "And another.", "--out", out, "--config", config)
    assert done.returncode == 0, done.stderr
    with wave.open(str(out)) as spoken:
        assert spoken.getnframes() == 2 * spoken.getframerate()
        assert spoken.getframerate() == 22050
        assert not any(spoken.readframes(spoken.getnframes()))


def test_asking_in_writing(command_line: CommandLine, models_dir: Path) -> None:
    """`ask` answers by intent, in Chinese too, and by the model where no intent matches."""
    asked = json.loads(command_line.run("ask", "set a timer for 90 seconds", "--json").stdout)
    assert (asked["intent"], asked["source"]) == ("SetTimer", "intent")
    asked = json.loads(command_line.run("ask", "现在几点", "--json", env={"EDGE_AGENT_LANGUAGE": "zh"}).stdout)
    assert (asked["intent"], asked["source"]) == ("GetTime", "intent")
    model = {"EDGE_AGENT_LLM__MODEL": str(models_dir / "llm" / "stories260K.gguf")}
    asked = json.loads(command_line.run("ask", "tell me a story", "--json", env=model).stdout)
    assert asked["source"] == "llm"
    assert asked["reply"]


def test_without_a_model_the_agent_says_so(command_line: CommandLine) -> None:
    """No intent and no model: a spoken answer that names the lack."""
    done = command_line.run("ask", "what is the capital of france")
    assert done.returncode == 0
    assert "no language model is installed" in done.stdout
