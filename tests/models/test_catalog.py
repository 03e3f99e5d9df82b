"""The catalogue: what comes with edge_agent holds together, and wrong ones are told key by key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from model_files import an_entry, as_toml

from edge_agent.models.catalog import Catalog, catalog_file, load_catalog
from edge_agent.models.errors import CatalogError, UnknownModelError

LANGUAGES = ("en", "zh", "de", "es", "fr")
AGENT_MIB = 400
"""What the agent and a lean system take beside the models, generously."""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The one that comes with edge_agent."""
    return load_catalog()


def test_every_language_has_a_recognizer_and_two_voices(catalog: Catalog) -> None:
    """A quick voice and a better one."""
    for language in LANGUAGES:
        of_language = [model for model in catalog.models if model.languages == (language,)]
        assert [model.kind for model in of_language if model.files] == ["vosk", "piper", "piper"]
        quick, better = (model.id.rpartition("-")[2] for model in of_language if model.kind == "piper")
        assert (quick in {"x_low", "low"}, better) == (True, "medium")


def test_everything_is_asked_by_tls_and_checked(catalog: Catalog) -> None:
    """By a published SHA-256, or else by its length, its MD5 and a pin."""
    files = [file for model in catalog.models for file in model.files]
    assert all(url.startswith("https://") for file in files for url in file.urls)
    assert all(file.sha256 or (file.md5 and not file.size_is_approximate) for file in files)
    names = [file.name for file in files]
    assert len(set(names)) == len(names)  # they lie side by side on a mirror
    sums = [file.sha256 for file in files if file.sha256]
    assert len(set(sums)) == len(sums)


@pytest.mark.parametrize("memory_mib", [900, 1700, 3500, 7000])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_recommended_fits(catalog: Catalog, language: str, memory_mib: int) -> None:
    """All of it together, beside the agent, on the smallest board that it is recommended for."""
    chosen = catalog.recommended(language, memory_mib)
    kinds = [model.kind for model in chosen]
    assert kinds == (["vosk", "piper"] if memory_mib < 1700 else ["vosk", "piper", "llm"])
    assert sum(model.memory_mib or 0 for model in chosen) + AGENT_MIB <= memory_mib
    assert all(language in model.languages for model in chosen)


def test_the_smallest_boards_need_nothing(catalog: Catalog) -> None:
    """With 512 MB the built-in engines serve; and a language without models gets those for all."""
    assert catalog.recommended("en", 430) == ()
    assert [model.kind for model in catalog.recommended("it", 4000)] == ["llm"]


def test_estimates_follow_the_stated_formulas(catalog: Catalog) -> None:
    """The head of the file says how; a voice's is its size and 96 MiB."""
    for model in catalog.models:
        if model.kind == "piper":
            assert model.memory_from == "estimated"
            largest = max(file.size_bytes for file in model.files)
            assert model.memory_mib == (largest + (1 << 20) - 1) // (1 << 20) + 96
        elif model.kind == "llm":
            size_mib = model.size_bytes / (1 << 20)
            assert size_mib + 256 < (model.memory_mib or 0) < size_mib + 256 + 300


def test_names_are_found_in_any_case_or_guessed(catalog: Catalog) -> None:
    """A person typed them."""
    assert catalog.find("EN_us-AMY-low").id == "en_US-amy-low"
    with pytest.raises(UnknownModelError, match=r"did you mean \"vosk-model-small-de-0.15\"\?"):
        catalog.find("vosk-model-small-de")


def test_it_is_found_beside_the_package_or_where_it_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout; else below the environment's share/."""
    assert catalog_file() == Path(__file__).parents[2] / "models" / "catalog.toml"
    monkeypatch.setattr("edge_agent.models.catalog.__file__", "/nowhere/edge_agent/models/catalog.py")
    assert catalog_file() == Path(sys.prefix, "share", "edge-agent", "catalog.toml")


GOOD = as_toml(an_entry("llm", "a-model", {"a-model.gguf": b"x"}, "https://example.org", board_mib=5))

WRONG = {
    "an unknown key": ("board_mib = 5", "bord_mib = 5", "models.a-model.bord_mib: unknown key"),
    "a checksum that is none": ('sha256 = "', 'sha256 = "x', "models.a-model.files.1.sha256: string should match"),
    "another scheme": ("https://example.org/a-model", "file:///a-model", "is not an http or https address"),
    "a secret": ("https://example.org/a-model", "https://me:pw@example.org/a-model", "holds a user, a query"),
    "a name that leads out": ('id = "a-model"', 'id = "../a-model"', "models.../a-model.id: string should match"),
    "a kind of its own": ('kind = "llm"', 'kind = "tts"', "models.a-model.kind: input should be 'vosk'"),
    "another file's name": ("example.org/a-model.gguf", "example.org/b.gguf", "has to have these files: a-model.gguf"),
    "no length": ("size_bytes = 1", "size_bytes = 0", "models.a-model.files.1.size_bytes: input should be greater"),
    "no TOML": ("[[models]]", "[[models]", "is not valid TOML"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_catalogue_is_told_by_key(tmp_path: Path, how: str) -> None:
    """One line, with the file and the model's name."""
    good, wrong, message = WRONG[how]
    path = tmp_path / "catalog.toml"
    path.write_text(GOOD)
    assert load_catalog(path).models[0].id == "a-model"
    path.write_text(GOOD.replace(good, wrong, 1))
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """And models that there are twice, and files that can't be read."""
    path = tmp_path / "catalog.toml"
    path.write_text(GOOD.replace("board_mib = 5", "bord = 5").replace("size_bytes = 1", 'size_bytes = "x"'))
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    assert {problem.key for problem in caught.value.problems} == {
        "models.a-model.bord",
        "models.a-model.files.1.size_bytes",
    }
    path.write_text(f"{GOOD}\n{GOOD.replace('a-model', 'A-model')}")
    with pytest.raises(CatalogError, match="has a-model more than once"):
        load_catalog(path)
    with pytest.raises(CatalogError, match="can't be read: No such file"):
        load_catalog(tmp_path / "absent.toml")
