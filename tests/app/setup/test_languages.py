"""What is said of a language: who hears it, what is missing, and the command that fetches it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.app.places import Places
from edge_agent.app.setup import languages
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.app.setup.languages import about_language, commands_change, require_hearing
from edge_agent.config.schema import Config
from edge_agent.models.catalog import load_catalog
from edge_agent.reason import intents_source


def places(tmp_path: Path) -> Places:
    """Return directories of the test's own."""
    return Places(tmp_path / "models", tmp_path / "cache", tmp_path / "state")


@pytest.fixture
def _large_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2 << 20}[name])


def test_the_languages_with_intents_are_those_of_the_files() -> None:
    """One file each comes with the package."""
    folder = Path(intents_source.__file__).parent / "intents"
    assert sorted(languages._WITH_INTENTS) == sorted(path.stem for path in folder.glob("*.yaml"))


def test_english_works_with_nothing_downloaded(tmp_path: Path) -> None:
    """There may be better ones."""
    notes = about_language(Config(), "en", places(tmp_path))
    assert "heard by PocketSphinx and spoken by Flite" in notes[0].text
    assert not any(note.needs_doing for note in notes)


@pytest.mark.usefixtures("_large_board")
def test_a_language_that_nothing_hears_names_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that the catalogue has, on a line that can be copied; and that intents are missing."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    notes = about_language(Config(), "de", places(tmp_path))
    assert [note.needs_doing for note in notes] == [True, True]
    command = notes[0].text.splitlines()[1]
    assert command.startswith("    edge-agent models pull ")
    models = [load_catalog().find(name) for name in command.split()[3:]]
    assert [model.kind for model in models] == ["vosk", "piper"]
    assert all("de" in model.languages for model in models)
    assert "docs/intents.md" in notes[1].text


@pytest.mark.usefixtures("_large_board")
def test_the_command_has_sudo_where_the_models_are_another_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service's, on an installed device: without it they would go where the service does not look."""
    monkeypatch.setenv("SUDO_UID", str(os.getuid() + 1))
    notes = about_language(Config(), "de", places(tmp_path))
    assert notes[0].text.splitlines()[1].startswith("    sudo edge-agent models pull ")


@pytest.mark.usefixtures("_large_board")
def test_what_is_installed_is_named_and_not_fetched_again(tmp_path: Path) -> None:
    """Only the voice is missing."""
    where = places(tmp_path)
    (where.models / "vosk" / "vosk-model-small-cn-0.22").mkdir(parents=True)
    notes = about_language(Config(), "zh", where)
    assert "heard by Vosk, vosk-model-small-cn-0.22 and spoken by eSpeak NG" in notes[0].text
    assert "vosk" not in notes[1].text.splitlines()[1]
    assert not any(note.needs_doing for note in notes)


def test_what_hears_english_alone_is_not_given_another_language(tmp_path: Path) -> None:
    """The key that stands in the way is named, whatever models there are."""
    (tmp_path / "models" / "vosk" / "vosk-model-small-de-0.15").mkdir(parents=True)
    config = Config.model_validate({"asr": {"engine": "pocketsphinx"}})
    with pytest.raises(BadAnswerError, match=r"asr\.engine"):
        require_hearing(config, "de", places(tmp_path))
    require_hearing(config, "en", places(tmp_path))
    require_hearing(Config(), "de", places(tmp_path))


@pytest.mark.parametrize(
    ("before", "builtin", "after", "change"),
    [
        ("en", True, "de", {("intents", "builtin"): False}),
        ("de", False, "de", {}),
        ("de", False, "en", {("intents", "builtin"): None}),
        ("en", False, "zh", {}),
        ("en", True, "zh", {}),
    ],
    ids=["away", "again", "back", "the owner's own choice", "both have them"],
)
def test_commands_that_a_language_does_not_have_are_left_out(
    before: str, builtin: bool, after: str, change: dict[tuple[str, str], bool | None]
) -> None:
    """And are there again in one that has them, unless the owner did without them there too."""
    config = Config.model_validate({"language": before, "intents": {"builtin": builtin}})
    assert commands_change(config, after) == change
