"""What doctor says of models and of the measured plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_rig import paper

from edge_agent.app.doctor.installed import check_models, check_plan
from edge_agent.config.audio import DirectoriesConfig
from edge_agent.config.schema import Config


def config_of(models: Path, **fields: object) -> Config:
    """Return a configuration whose models are there."""
    return Config.model_validate(
        {"directories": DirectoriesConfig(models=models, state=models.parent, cache=models.parent), **fields}
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models directory with one of each, as far as their files can be told from outside."""
    root = tmp_path / "models"
    vosk = root / "vosk" / "vosk-model-small-en-us-0.15"
    for part in ("am/final.mdl", "conf/model.conf"):
        (vosk / part).parent.mkdir(parents=True, exist_ok=True)
        (vosk / part).touch()
    (root / "piper").mkdir()
    (root / "piper/en_US-lessac-low.onnx").touch()
    (root / "piper/en_US-lessac-low.onnx.json").touch()
    (root / "llm").mkdir()
    (root / "llm/small.gguf").write_bytes(b"GGUF....")
    return root


def test_what_it_hears_speaks_and_thinks_with(models: Path, tmp_path: Path) -> None:
    """By the same choice as the service's."""
    found = check_models(config_of(models), paper(tmp_path))
    assert found.verdict == "ok", found
    assert found.figures["asr"] == "Vosk vosk-model-small-en-us-0.15"
    assert found.figures["tts"] == "Piper en_US-lessac-low"
    assert found.figures["llm"] == "small"


def test_the_embedded_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, and nothing is wrong, in English; another language has nobody who hears it."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    found = check_models(config_of(tmp_path / "models"), paper(tmp_path))
    assert found.verdict == "ok"
    assert "PocketSphinx" in found.message
    german = check_models(config_of(tmp_path / "models", language="de"), paper(tmp_path))
    assert german.verdict == "fault"
    assert "models pull" in german.remedy


def test_nobody_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package to install is named."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    found = check_models(config_of(tmp_path / "models"), paper(tmp_path))
    assert found.verdict == "fault"
    assert "apt install espeak-ng" in found.message


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("vosk/vosk-model-small-en-us-0.15/am/final.mdl", "no whole Vosk model"),
        ("piper/en_US-lessac-low.onnx.json", "lacks en_US-lessac-low.onnx.json"),
    ],
)
def test_a_model_that_lacks_a_part(models: Path, tmp_path: Path, broken: str, message: str) -> None:
    """Which part is said."""
    (models / broken).unlink()
    found = check_models(config_of(models), paper(tmp_path))
    assert found.verdict == "fault"
    assert message in found.message


def test_a_language_without_models_is_not_sent_to_the_catalogue(tmp_path: Path) -> None:
    """A pull would find nothing; one that the catalogue has is pulled."""
    empty = tmp_path / "models"
    unknown = check_models(config_of(empty, language="xx"), paper(tmp_path))
    assert "there are models for de, en," in unknown.remedy
    assert "pull" not in unknown.remedy
    assert "models pull --recommended" in check_models(config_of(empty, language="de"), paper(tmp_path)).remedy


def test_a_file_that_is_something_else(models: Path, tmp_path: Path) -> None:
    """A page of a web server, saved under a model's name."""
    (models / "llm/small.gguf").write_text("<html>")
    assert "is no GGUF file" in check_models(config_of(models), paper(tmp_path)).message


def test_a_configured_model_that_is_away(models: Path, tmp_path: Path) -> None:
    """The key is named."""
    found = check_models(config_of(models, llm={"model": tmp_path / "absent.gguf"}), paper(tmp_path))
    assert found.verdict == "fault"
    assert "llm.model" in found.message


def test_the_plan(models: Path, tmp_path: Path) -> None:
    """None is no harm, and one that can't be used is said."""
    config = config_of(models)
    assert check_plan(config, paper(tmp_path)).verdict == "ok"
    (tmp_path / "tune.json").write_text("{")
    found = check_plan(config, paper(tmp_path))
    assert found.verdict == "warning"
    assert "edge-agent tune" in found.remedy
