"""What is here: models of the catalogue, one's own, and whether they are what they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import an_entry

from edge_agent.models.catalog import Catalog
from edge_agent.models.errors import ModelBusyError, PlaceError, UnknownModelError
from edge_agent.models.inventory import Verdict, survey, verify_steps
from edge_agent.models.layout import ModelsHome
from edge_agent.models.pins import Contained, Contents, Pin, Pins
from edge_agent.models.proving import find_fault
from edge_agent.models.removing import kept_bytes, remove_model, remove_parts
from edge_agent.models.sources import SourceAddressError, WebSource, check_mirror, directory_from

ADDRESS = "https://example.org"
LLM = an_entry("llm", "a-model", {"a-model.gguf": b"weights"}, ADDRESS)
VOICE = an_entry("piper", "en_US-a-low", {"en_US-a-low.onnx": b"voice", "en_US-a-low.onnx.json": b"{}"}, ADDRESS)
VOSK = an_entry("vosk", "vosk-a", {"vosk-a.zip": b"zip"}, ADDRESS)
CATALOG = Catalog(models=(LLM, VOICE, VOSK))


def test_a_voice_without_its_settings_is_told_which_file_it_lacks(tmp_path: Path) -> None:
    """The reader has only named the .onnx file."""
    (tmp_path / "a.onnx").write_bytes(b"voice")
    fault = find_fault("piper", tmp_path / "a.onnx")
    assert fault == "a.onnx.json, which belongs beside it, can't be read: No such file or directory"


def test_a_name_is_guessed_in_the_catalogue_s_spelling() -> None:
    """So that it can be copied."""
    with pytest.raises(UnknownModelError, match='did you mean "en_US-a-low"'):
        CATALOG.find("EN_us-a-lo")


@pytest.fixture
def home(tmp_path: Path) -> ModelsHome:
    """A models directory with one of each, and some that nobody knows."""
    for name, content in {
        "llm/a-model.gguf": b"weights",
        "llm/mine.gguf": b"mine",
        "piper/en_US-a-low/en_US-a-low.onnx": b"voice",
        "piper/en_US-a-low/en_US-a-low.onnx.json": b"{}",
        "piper/en_US-mine.onnx": b"mine",
        "piper/en_US-mine.onnx.json": b"{}",
        "vosk/vosk-a/am/final.mdl": b"model",
        "vosk/mine/am/final.mdl": b"mine",
        "README.md": b"",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return ModelsHome(tmp_path)


def verify(home: ModelsHome, name: str) -> Verdict:
    """Verify one by name."""
    verdict = Verdict()
    (found,) = [entry for entry in survey(CATALOG, home) if entry.name == name]
    for _ in verify_steps(found, home, verdict):
        pass
    return verdict


def test_all_models_are_found(home: ModelsHome) -> None:
    """Those of the catalogue first; what is on its way is none."""
    (home.root / ".pull" / "a-model").mkdir(parents=True)
    (home.root / ".pull" / "a-model" / "a-model.gguf").write_bytes(b"half")
    found = [(entry.name, entry.kind, entry.model is not None) for entry in survey(CATALOG, home)]
    assert found == [
        ("a-model", "llm", True),
        ("en_US-a-low", "piper", True),
        ("vosk-a", "vosk", True),
        ("mine", "vosk", False),
        ("en_US-mine", "piper", False),
        ("mine", "llm", False),
    ]
    assert survey(CATALOG, ModelsHome(home.root / "absent")) == ()


def test_files_are_compared_with_the_catalogue_or_their_pins(home: ModelsHome) -> None:
    """What nothing is known of is not held to anything."""
    assert verify(home, "a-model") == Verdict("", "published")
    assert verify(home, "en_US-a-low") == Verdict("", "published")
    assert verify(home, "vosk-a") == Verdict("", "")
    assert verify(home, "en_US-mine") == Verdict("", "")
    (home.root / "piper/en_US-a-low/en_US-a-low.onnx.json").write_bytes(b"[]")
    assert verify(home, "en_US-a-low").fault.startswith("en_US-a-low.onnx.json is not what was downloaded")
    (home.root / "llm/a-model.gguf").unlink()
    assert "a-model" not in [entry.name for entry in survey(CATALOG, home)]


def test_a_directory_says_what_it_holds(home: ModelsHome) -> None:
    """A file that is missing or another one is found; a list that can't be read is none."""
    directory = home.root / "vosk" / "vosk-a"
    Contents(files={"am/final.mdl": Contained(sha256="0" * 64, size_bytes=5)}).write(directory)
    assert verify(home, "vosk-a").fault.startswith("final.mdl is not what was downloaded")
    Contents(files={"conf/mfcc.conf": Contained(sha256="0" * 64, size_bytes=5)}).write(directory)
    assert verify(home, "vosk-a").fault == "mfcc.conf can't be read: No such file or directory"
    (directory / ".edge-agent.json").write_text("{")
    assert verify(home, "vosk-a") == Verdict("", "")


def test_pins_are_kept_and_dropped(home: ModelsHome) -> None:
    """One file for all; damage is told, not guessed at."""
    pins = Pins(home)
    assert pins.read() == {}
    pins.add({"a": Pin(sha256="1" * 64, size_bytes=1)})
    pins.add({"b": Pin(sha256="2" * 64, size_bytes=2, is_published=True)})
    assert sorted(pins.read()) == ["a", "b"]
    pins.drop(["a"])
    assert list(pins.read()) == ["b"]
    home.pins.write_text('{"files": {"b": {}}}')
    with pytest.raises(PlaceError, match="is damaged; remove it"):
        pins.read()


def test_models_are_removed_whole(home: ModelsHome) -> None:
    """A directory, both files of a voice, one's own too; nobody pulls it meanwhile."""
    entries = {(entry.name, entry.kind): entry for entry in survey(CATALOG, home)}
    with home.locked("a-model"), pytest.raises(ModelBusyError):
        remove_model(entries["a-model", "llm"], home)
    assert remove_model(entries["a-model", "llm"], home) == 7
    assert remove_model(entries["en_US-a-low", "piper"], home) == 7
    assert remove_model(entries["en_US-mine", "piper"], home) == 6
    assert remove_model(entries["vosk-a", "vosk"], home) == 5
    left = sorted(str(path.relative_to(home.root)) for path in home.root.rglob("*") if path.is_file())
    assert left == ["README.md", "llm/mine.gguf", "vosk/mine/am/final.mdl"]


def test_a_directory_that_can_t_be_written_is_told(home: ModelsHome) -> None:
    """With the path."""
    (home.root / ".pull").write_text("in the way")
    with pytest.raises(PlaceError, match=r"\.pull"), home.locked("a-model"):
        pass


def test_what_is_kept_of_a_pull_is_told_and_removed(home: ModelsHome) -> None:
    """It would lie on a small card for ever."""
    work = home.work(LLM)
    assert (kept_bytes(LLM, home), remove_parts(LLM, home)) == (0, 0)
    work.mkdir(parents=True)
    (work / "a-model.gguf").write_bytes(b"half")
    assert (kept_bytes(LLM, home), remove_parts(LLM, home)) == (4, 4)
    assert not work.exists()


@pytest.mark.parametrize("address", ["ftp://example.org", "example.org", "file:///no/such/place", "https://"])
def test_a_mirror_is_an_address(address: str) -> None:
    """Of a server, or of a directory that is there."""
    with pytest.raises(SourceAddressError, match=address):
        check_mirror(address)


def test_a_directory_is_a_path_or_a_file_address(tmp_path: Path) -> None:
    """Spaces are written as anybody would, or as addresses have them."""
    place = tmp_path / "usb stick"
    place.mkdir()
    assert directory_from(str(place)) == place
    assert directory_from(f"file://{str(place).replace(' ', '%20')}") == place
    assert check_mirror(f"file://{tmp_path}") == f"file://{tmp_path}"
    for wrong, message in (
        ("file://nas/share", "names another machine"),
        ("https://example.org", "for an address use --mirror"),
        (str(tmp_path / "absent"), "no such directory"),
    ):
        with pytest.raises(SourceAddressError, match=message):
            directory_from(wrong)


@pytest.mark.parametrize(
    ("url", "is_trustworthy"),
    [
        ("https://example.org/a", True),
        ("http://example.org/a", False),
        ("http://127.0.0.1:80/a", True),
        ("http://localhost/a", True),
        ("http://[::1]/a", True),
        ("http://127.0.0.1.example.org/a", False),
    ],
)
def test_what_comes_by_plain_http_is_not_trusted(url: str, *, is_trustworthy: bool) -> None:
    """Unless it comes from this very machine."""
    assert WebSource(url).is_trustworthy is is_trustworthy
