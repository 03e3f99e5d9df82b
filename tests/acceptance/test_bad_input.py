"""Bad input from a user's side: one clear line that names the thing, status 2, never a traceback."""

from __future__ import annotations

import shutil
import struct
import wave
from pathlib import Path

import pytest
from commands import CommandLine, assert_one_complaint


def wav_bytes(rate_hz: int = 16000, samples: int = 16000) -> bytes:
    """Return a 16-bit mono WAV file of silence."""
    data = bytes(2 * samples)
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    body = b"WAVE" + layout + struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


RECORDINGS = {
    "empty": (b"", "is empty"),
    "text": (b"This is no recording at all.", "not a WAV file"),
    "mp3": (b"ID3\x04" + bytes(100), "an MP3 file"),
    "cut header": (wav_bytes()[:20], "truncated"),
    "cut data": (wav_bytes()[:-7000], "truncated"),
    "no samples": (wav_bytes(samples=0), "holds no samples"),
    "zero hertz": (wav_bytes(rate_hz=0), "0 Hz"),
}


@pytest.mark.parametrize("command", ["converse", "transcribe"])
@pytest.mark.parametrize("kind", RECORDINGS)
def test_recordings_that_cannot_be_read(command_line: CommandLine, command: str, kind: str) -> None:
    """The file is named, and what is wrong with it."""
    content, complaint = RECORDINGS[kind]
    path = command_line.home / f"{kind}.wav"
    path.write_bytes(content)
    done = command_line.run(command, path)
    assert_one_complaint(done, str(path), complaint)
    assert done.stdout == ""


def test_a_missing_recording_stops_the_session_before_its_first_turn(command_line: CommandLine) -> None:
    """All headers are checked first: the good recording before it is not played."""
    good = command_line.home / "good.wav"
    good.write_bytes(wav_bytes())
    done = command_line.run("converse", good, command_line.home / "absent.wav", "--json")
    assert_one_complaint(done, "absent.wav", "No such file")
    assert done.stdout == ""


MODELS = {
    "absent": (None, "does not exist"),
    "directory without a model": ("directory", "model"),
    "text": (b"this is no model", ""),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("key", ["asr.vosk.model", "llm.model", "tts.piper.voice"])
def test_models_that_cannot_be_loaded(command_line: CommandLine, key: str, kind: str) -> None:
    """The model is named by its path, for each engine; nothing is fallen back to in silence."""
    content, complaint = MODELS[kind]
    path = command_line.home / "model.onnx"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    recording = command_line.home / "good.wav"
    recording.write_bytes(wav_bytes())
    variable = f"EDGE_AGENT_{key.upper().replace('.', '__')}"
    done = command_line.run("converse", recording, "--fast", env={variable: str(path)})
    assert_one_complaint(done, str(path), complaint)


def test_a_half_copied_vosk_model_is_refused(command_line: CommandLine, models_dir: Path) -> None:
    """Vosk would die of a segmentation fault; we say what is wrong, and live."""
    model = command_line.home / "vosk-half-en"
    shutil.copytree(models_dir / "vosk-sphinx-en", model)
    graph = model / "graph" / "HCLr.fst"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    recording = command_line.home / "good.wav"
    recording.write_bytes(wav_bytes())
    done = command_line.run("converse", recording, "--fast", env={"EDGE_AGENT_ASR__VOSK__MODEL": str(model)})
    assert_one_complaint(done, str(model))


def test_a_corrupt_gguf_is_refused(command_line: CommandLine, models_dir: Path) -> None:
    """Half a GGUF file is named and refused by `ask` too."""
    whole = (models_dir / "llm" / "stories260K.gguf").read_bytes()
    path = command_line.home / "half.gguf"
    path.write_bytes(whole[: len(whole) // 2])
    assert_one_complaint(command_line.run("ask", "hello", env={"EDGE_AGENT_LLM__MODEL": str(path)}), str(path))


def test_an_unknown_speaker_is_refused(command_line: CommandLine) -> None:
    """`say` names the device and where to look."""
    done = command_line.run("say", "hello", env={"EDGE_AGENT_AUDIO__OUTPUT_DEVICE": "no such speaker"})
    assert_one_complaint(done, "no such speaker", "edge-agent devices")


def test_bad_usage_is_one_line(command_line: CommandLine) -> None:
    """Unknown commands and options, missing arguments: status 2 and where the help is."""
    for arguments in (["frobnicate"], ["ask"], ["converse", "--loud", "x.wav"], ["config", "chek"]):
        assert_one_complaint(command_line.run(*arguments), "--help")


def test_intents_that_do_not_load_are_refused(command_line: CommandLine) -> None:
    """The file and what is wrong with it are named; `config check` finds it too."""
    path = command_line.write(
        "mine.yaml", "intents: {Greet: {data: [{sentences: ['hello {nobody}']}], action: {reply: hi}}}\n"
    )
    env = {"EDGE_AGENT_INTENTS__PATHS": f'["{path}"]'}
    assert_one_complaint(command_line.run("ask", "hello", env=env), str(path), "nobody")
    assert_one_complaint(command_line.run("config", "check", env=env), str(path), "nobody")


def test_an_empty_wav_of_the_library_is_refused_too(command_line: CommandLine) -> None:
    """What `wave` itself writes without samples."""
    path = command_line.home / "library.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    assert_one_complaint(command_line.run("converse", path), "holds no samples")
