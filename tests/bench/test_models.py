"""Generated models in the real engines; small ones, the sizes of the large ones by arithmetic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.bench import extras, gguf_model, onnx_voice
from edge_agent.bench.materials import QUESTION, SENTENCES
from edge_agent.config.engines import LlmConfig, PiperConfig
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.errors import EngineError
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny language model."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = tmp_path / "random.gguf"
    gguf_model.write_model(path, gguf_model.TINY)
    return path


def test_an_answer_goes_on_to_its_longest(model: Path) -> None:
    """It never ends by itself, at any temperature; every token is a word or a character."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    for temperature in (0.0, 0.7, 2.0):
        config = LlmConfig(context_tokens=512, max_answer_tokens=120, temperature=temperature)
        engine = LlamaLanguageModel(config, model, FixedGrant(1))
        engine.load()
        pieces = [piece for piece in engine.generate(QUESTION) if piece]
        engine.close()
        # The first space is left out, so that a first token of nothing else is no piece.
        assert 118 <= len(pieces) <= 120
        assert re.fullmatch(r"[ -~]+", "".join(pieces))


def test_the_same_seed_writes_the_same_model(tmp_path: Path, model: Path) -> None:
    """And another seed another one."""
    again, other = tmp_path / "again.gguf", tmp_path / "other.gguf"
    gguf_model.write_model(again, gguf_model.TINY)
    gguf_model.write_model(other, gguf_model.TINY, seed=2)
    assert again.read_bytes() == model.read_bytes() != other.read_bytes()
    assert {path.suffix for path in tmp_path.iterdir()} == {".gguf"}


def test_the_large_model_has_the_size_of_smollm() -> None:
    """134.5 million parameters; the arithmetic is right for what is written."""
    assert gguf_model.ModelShape().parameters == 134_515_008
    assert gguf_model.TINY.parameters == sum(
        rows * columns for _, rows, columns in gguf_model._matrices(gguf_model.TINY)
    ) + 64 * len(list(gguf_model._norms(gguf_model.TINY)))


def test_the_voice_renders_as_much_sound_as_people_speak(tmp_path: Path) -> None:
    """10 to 20 letters a second; not silence; twice as much where it is told to speak slowly."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("piper", reason="piper-tts is not installed")
    path = tmp_path / "en_US-random-medium.onnx"
    onnx_voice.write_voice(path, onnx_voice.TINY)
    lengths_s = []
    for length_scale in (1.0, 2.0):
        voice = PiperSynthesizer(PiperConfig(length_scale=length_scale), path, FixedGrant(1))
        voice.load()
        (chunk,) = voice.synthesize(SENTENCES[0])
        voice.close()
        assert chunk.rate_hz == onnx_voice.RATE_HZ
        assert np.frombuffer(chunk.pcm, "<i2").std() > 100
        lengths_s.append(chunk.duration_s)
    assert 10 < len(SENTENCES[0]) / lengths_s[0] < 20
    assert lengths_s[1] == pytest.approx(2 * lengths_s[0], rel=0.01)


def test_the_large_voice_costs_what_pipers_medium_ones_do() -> None:
    """Multiply-adds for a second of sound, from the sizes that Piper's own training has for them."""
    assert onnx_voice.VoiceShape().multiply_adds_per_s == pytest.approx(2.74e9, rel=0.01)
    assert onnx_voice.TINY.multiply_adds_per_s < 0.01 * onnx_voice.VoiceShape().multiply_adds_per_s


def test_a_missing_package_names_the_extra() -> None:
    """In one line."""
    with pytest.raises(EngineError, match=r"needs no_such_package_here .*pip install edge-agent\[bench\]"):
        extras.need("no_such_package_here")
