"""Models are found by their place and name."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.app.places import find_llm, find_piper_voice, find_places, find_vosk_model
from edge_agent.config.audio import DirectoriesConfig


@pytest.mark.parametrize(
    ("language", "found"),
    [("en", "vosk-model-small-en-us-0.15"), ("zh", "vosk-model-small-cn-0.22"), ("de", None)],
)
def test_vosk_models_go_by_the_language_in_their_name(tmp_path: Path, language: str, found: str | None) -> None:
    """Also where Vosk writes the country instead of the language."""
    for name in ("vosk-model-small-cn-0.22", "vosk-model-small-en-us-0.15"):
        (tmp_path / "vosk" / name).mkdir(parents=True)
    assert find_vosk_model(tmp_path, language) == (tmp_path / "vosk" / found if found else None)


def test_voices_and_language_models_are_found_at_any_depth(tmp_path: Path) -> None:
    """The first by name; none where there is none."""
    assert find_piper_voice(tmp_path, "en") is None
    assert find_llm(tmp_path) is None
    voice = tmp_path / "piper" / "lessac" / "en_US-lessac-medium.onnx"
    model = tmp_path / "llm" / "small.gguf"
    for path in (voice, model):
        path.parent.mkdir(parents=True)
        path.touch()
    assert find_piper_voice(tmp_path, "en") == voice
    assert find_piper_voice(tmp_path, "de") is None
    assert find_llm(tmp_path) == model


def test_configured_places_win_over_xdg(tmp_path: Path) -> None:
    """Unset ones are below XDG's directories in a checkout."""
    environ = {"XDG_CACHE_HOME": str(tmp_path / "c")}
    places = find_places(DirectoriesConfig(models=tmp_path / "m"), environ)
    assert places.models == tmp_path / "m"
    if not Path("/var/cache/edge-agent").is_dir():
        assert places.cache == tmp_path / "c" / "edge-agent"
