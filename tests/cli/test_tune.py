"""`edge-agent tune` on the real engines, and what a person sees of it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from edge_agent.app.tune.board import Board
from edge_agent.app.tune.stored import (
    Engine,
    LlmSpeed,
    Measurements,
    Plan,
    Together,
    Tuned,
    VoiceSpeed,
    read_tuned,
    tune_file,
)
from edge_agent.bench import gguf_model, onnx_voice
from edge_agent.cli import tune as command
from edge_agent.cli.tune_view import print_tuned

TUNED = Tuned(
    measured_at=datetime(2026, 11, 30, tzinfo=UTC),
    board=Board(
        model="Raspberry Pi 5 Model B Rev 1.0",
        processor="0x41",
        architecture="aarch64",
        cores=4,
        compute_cores=3,
        reserve=1,
        memory_mib=8062,
    ),
    asr=Engine(name="vosk small"),
    llm=Engine(name="llama.cpp small", version="llama-cpp-python 0.3.16"),
    tts=Engine(name="piper amy"),
    measured=Measurements(
        llm=(
            LlmSpeed(threads=1, prefill_tokens_per_s=10, decode_tokens_per_s=5),
            LlmSpeed(threads=2, prefill_tokens_per_s=20, decode_tokens_per_s=8),
        ),
        tts=(VoiceSpeed(threads=1, real_time_factor=0.8), VoiceSpeed(threads=2, real_time_factor=0.5)),
        asr_real_time_factor=0.2,
        pairs=(Together(tts_threads=1, llm_threads=2, tts_real_time_factor=0.75, decode_tokens_per_s=7.5),),
        everything=Together(tts_threads=2, llm_threads=1, asr_real_time_factor=0.3),
    ),
    plan=Plan(llm=2, tts=2, tts_beside=1),
    tainted=("it was 85 °C hot or hotter: cool the board",),
)


def test_a_person_sees_figures_choice_and_what_comes_of_it() -> None:
    """In 80 columns; what was chosen is marked."""
    out = io.StringIO()
    print_tuned(TUNED, Console(file=out, width=80, highlight=False))
    text = out.getvalue()
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "Raspberry Pi 5 Model B Rev 1.0: 4 cores, 1 of them for hearing, 7.9 GiB" in rows
    assert "2 20.0 tokens/s > 8.0 tokens/s > 0.50 x" in rows
    assert "1 10.0 tokens/s 5.0 tokens/s 0.80 x 0.20 x" in rows
    assert "voice 1, LLM 2 7.5 tokens/s > 0.75 x" in rows
    assert "LLM 3 2" in rows
    assert "TTS + LLM 2 + 1 1 + 2" in rows
    assert "! not to be trusted: it was 85 °C hot or hotter: cool the board" in rows
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.live
@pytest.mark.slow
def test_the_real_engines_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models, a moment each: every figure is there, the plan fits the board, and it is stored."""
    models = tmp_path / "models"
    (models / "llm").mkdir(parents=True)
    (models / "piper").mkdir()
    gguf_model.write_model(models / "llm" / "tiny.gguf", gguf_model.TINY)
    onnx_voice.write_voice(models / "piper" / "en_US-tiny.onnx", onnx_voice.TINY)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[directories]\nmodels = "{models}"\nstate = "{tmp_path}"\ncache = "{tmp_path / "cache"}"\n'
        "[cores]\ncompute = 2\nreserve = 0\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    from edge_agent.app.tune import tuning

    monkeypatch.setattr(tuning, "QUICK", tuning.Size(0.1, 1))
    monkeypatch.setattr(tuning, "check_is_quiet", lambda around=None: None)  # another test's service may answer
    result = CliRunner().invoke(command.tune, ["--quick", "--json", "--config", str(config)], standalone_mode=False)
    assert result.exception is None, result.exception
    tuned = read_tuned(tune_file(tmp_path))
    assert tuned is not None
    assert json.loads(result.stdout) == json.loads(tuned.model_dump_json())
    assert result.return_value == int(bool(tuned.tainted))
    measured = tuned.measured
    assert [speed.threads for speed in measured.llm] == [speed.threads for speed in measured.tts] == [1, 2]
    assert [pair.tts_threads for pair in measured.pairs] == [1, 2]
    assert measured.asr_real_time_factor is not None
    assert measured.everything is not None
    assert measured.everything.asr_real_time_factor is not None
    assert (tuned.plan.llm in {1, 2}, tuned.plan.tts in {1, 2}, tuned.plan.tts_beside in {1, 2}) == (True, True, True)
    assert (tuned.llm, tuned.tts) != (None, None)
    assert not (tmp_path / "cache").exists(), "the service's cache was written to"
