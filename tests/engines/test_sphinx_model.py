"""Compiling grammars for PocketSphinx, and finding pronunciations."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edge_agent.engines.sphinx_lexicon import dictionary_lines, lexicon_of
from edge_agent.engines.sphinx_model import compiled
from edge_agent.engines.sphinx_wire import Kind, Unpacker, WireError, pack
from edge_agent.grammar import Grammar

DICTIONARY = """\
good G UH D
night N AY T
lamp L AE M P
john JH AA N
glass G L AE S
read R EH D
read(2) R IY D
medium M IY D IY AH M
"""


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    """A small pronunciation dictionary."""
    path = tmp_path / "small.dict"
    path.write_text(DICTIONARY)
    return path


def test_known_words_keep_all_their_pronunciations(dictionary: Path) -> None:
    """Alternatives of the dictionary are kept, numbered as PocketSphinx wants them."""
    lexicon, missing = lexicon_of(["read"], dictionary)
    assert missing == []
    assert list(dictionary_lines(lexicon)) == ["read R EH D", "read(2) R IY D"]


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("goodnight", "G UH D N AY T"),
        ("lamps", "L AE M P S"),
        ("john's", "JH AA N Z"),
        ("glass's", "G L AE S IH Z"),
        ("medium", "M IY D Y AH M"),
    ],
)
def test_pronunciations_are_worked_out(dictionary: Path, word: str, phones: str) -> None:
    """Compounds, endings and quick speech follow from known words."""
    lexicon, missing = lexicon_of([word], dictionary)
    assert missing == []
    assert phones in lexicon[word]


def test_flite_spells_what_is_unknown(dictionary: Path) -> None:
    """Letter-to-sound rules come from Flite."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    lexicon, missing = lexicon_of(["nabucco"], dictionary)
    assert missing == []
    assert lexicon["nabucco"][0].split()[0] == "N"


def test_words_without_pronunciation_are_told(dictionary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Flite an unknown word is missing, and sentences with it are left out."""
    monkeypatch.setenv("PATH", os.devnull)
    with compiled(Grammar(("good lamp", "xyzzy lamp", "good night")), dictionary, None) as grammar:
        assert grammar.unpronounceable == ("xyzzy",)
        model = grammar.language_model.read_text()
    assert "xyzzy" not in model
    assert "good night" in model


def test_files_without_a_cache_are_cleaned_up(dictionary: Path) -> None:
    """The temporary directory goes with the context."""
    with compiled(Grammar(("good night",)), dictionary, None) as grammar:
        assert grammar.dictionary.is_file()
    assert not grammar.dictionary.parent.exists()


def test_a_compiled_grammar_is_found_again(dictionary: Path, tmp_path: Path) -> None:
    """The same content is compiled once, another content besides it, and nothing half-written stays."""
    cache = tmp_path / "cache"
    with compiled(Grammar(("good night",)), dictionary, cache) as first:
        written = first.language_model.stat().st_mtime_ns
    with compiled(Grammar(("good night",)), dictionary, cache) as again:
        assert again.language_model.stat().st_mtime_ns == written
    with compiled(Grammar(("good lamp",)), dictionary, cache) as other:
        assert other.language_model != first.language_model
    assert len(list(cache.iterdir())) == 2


def test_the_cache_does_not_grow_for_ever(dictionary: Path, tmp_path: Path) -> None:
    """Old compiled grammars make room for new ones."""
    for count in range(1, 15):
        with compiled(Grammar(("good night",) * count), dictionary, tmp_path / "cache"):
            pass
    assert len(list((tmp_path / "cache").iterdir())) <= 8


def test_messages_survive_any_cut() -> None:
    """A stream of messages cut anywhere comes out whole."""
    stream = pack(Kind.START) + pack(Kind.AUDIO, b"abc") + pack(Kind.FINISH)
    unpacker = Unpacker()
    found = []
    for byte in stream:
        unpacker.feed(bytes([byte]))
        while (message := unpacker.next()) is not None:
            found.append(message)
    assert found == [(Kind.START, b""), (Kind.AUDIO, b"abc"), (Kind.FINISH, b"")]


def test_nonsense_is_no_message() -> None:
    """Bytes out of step are noticed."""
    unpacker = Unpacker()
    unpacker.feed(b"Traceback (most recent call last)")
    with pytest.raises(WireError):
        unpacker.next()
