"""Piper with the stub voice, which renders one second of silence a sentence."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.config.engines import PiperConfig
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.errors import ModelError, SynthesisError
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("piper", reason="piper-tts is not installed")


@pytest.fixture
def voice(models_dir: Path, tmp_path: Path) -> Path:
    """A copy of the voice that may be damaged."""
    for name in ("test_voice.onnx", "test_voice.onnx.json"):
        shutil.copy(models_dir / "piper-stub" / name, tmp_path / name)
        (tmp_path / name).chmod(0o644)
    return tmp_path / "test_voice.onnx"


def test_each_sentence_is_a_chunk_of_the_right_length(voice: Path) -> None:
    """Two sentences, two chunks, 22,050 samples each, all zero."""
    piper = PiperSynthesizer(PiperConfig(), voice, FixedGrant(1))
    piper.load()
    chunks = list(piper.synthesize("The lamp is on. The fan is off."))
    assert [(chunk.rate_hz, chunk.samples) for chunk in chunks] == [(22_050, 22_050)] * 2
    assert not any(b"".join(chunk.pcm for chunk in chunks))
    piper.close()
    piper.close()


@pytest.mark.parametrize("text", ["-v", "nul\0byte", "[[ not phonemes ]]", 'it\'s "quoted"', "你好", "word " * 2000])
def test_any_text_is_rendered(voice: Path, text: str) -> None:
    """Something comes, and the rest can be abandoned."""
    piper = PiperSynthesizer(PiperConfig(), voice, FixedGrant(1))
    piper.load()
    job = piper.synthesize(text)
    assert next(job).samples
    job.close()


def test_text_without_sounds_is_silent(voice: Path) -> None:
    """No chunk, no error."""
    piper = PiperSynthesizer(PiperConfig(), voice, FixedGrant(1))
    piper.load()
    assert list(piper.synthesize("")) == []


def test_an_unloaded_voice_says_so(voice: Path) -> None:
    """Not an attribute error."""
    with pytest.raises(SynthesisError, match="not loaded"):
        next(PiperSynthesizer(PiperConfig(), voice, FixedGrant(1)).synthesize("hello"))


def _settings(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(voice: Path) -> None:
        path = voice.with_name(f"{voice.name}.json")
        settings = json.loads(path.read_text())
        change(settings)
        path.write_text(json.dumps(settings))

    return damage


def _cut(share: float) -> Callable[[Path], None]:
    def damage(voice: Path) -> None:
        voice.write_bytes(voice.read_bytes()[: int(voice.stat().st_size * share)])

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda voice: voice.unlink(), "no such file"),
        (lambda voice: voice.with_name(f"{voice.name}.json").unlink(), r"\.json is missing"),
        (lambda voice: voice.with_name(f"{voice.name}.json").write_text("{"), "not valid JSON"),
        (lambda voice: voice.with_name(f"{voice.name}.json").write_bytes(b"\xff\xfe\0"), "not valid JSON"),
        (lambda voice: voice.with_name(f"{voice.name}.json").write_text("[1]"), "not a Piper voice's"),
        (lambda voice: voice.with_name(f"{voice.name}.json").write_text("{}"), "not a Piper voice's"),
        (_settings(lambda settings: settings.pop("phoneme_id_map")), "not a Piper voice's"),
        (_settings(lambda settings: settings.update(phoneme_id_map={})), "no phoneme table"),
        (_settings(lambda settings: settings["audio"].update(sample_rate=0)), "sample rate of 0"),
        (_settings(lambda settings: settings.update(audio=3)), "not a Piper voice's"),
        (_cut(0), "ONNX Runtime can't load it"),
        (_cut(0.1), "ONNX Runtime can't load it"),
        (_cut(0.5), "ONNX Runtime can't load it"),
        (_cut(0.95), "ONNX Runtime can't load it"),
        (lambda voice: voice.write_bytes(bytes(2000)), "ONNX Runtime can't load it"),
    ],
)
def test_a_damaged_voice_is_refused_in_one_line(voice: Path, damage: Callable[[Path], None], reason: str) -> None:
    """The message names the file and what to do."""
    damage(voice)
    with pytest.raises(ModelError, match=reason) as caught:
        PiperSynthesizer(PiperConfig(), voice, FixedGrant(1)).load()
    assert "\n" not in str(caught.value)
    assert str(voice) in str(caught.value)


def test_a_speaker_that_the_voice_does_not_have_is_refused(voice: Path) -> None:
    """The key to mend is named."""
    with pytest.raises(ModelError, match=r"tts\.piper\.speaker"):
        PiperSynthesizer(PiperConfig(speaker=7), voice, FixedGrant(1)).load()
