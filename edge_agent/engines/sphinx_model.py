"""What PocketSphinx listens with: a grammar compiled to an n-gram model and a dictionary.

Phrases go into the n-gram model too. A JSGF of them is no alternative: 599 phrases with the wide beams that accuracy
needs took more than 40 s for 3 s of audio, and at the discount below the n-gram model keeps to the templates.

Compiled once and kept by the hash of its content, where a cache directory is given.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.engines.sphinx_lexicon import dictionary_lines, lexicon_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.grammar import Grammar

FORMAT = 2
"""Counted up when compiled files change, so that old ones are not taken for new ones."""
DISCOUNT_MASS = 0.02
"""Probability that the n-gram model leaves to word sequences that no template has. The builder's own 0.5 suits
free text; on the coffee development clips 0.5 gave 38 of 50, 0.1 gave 42, 0.02 gave 43."""
_KEPT = 8
"""Compiled grammars kept in a cache directory."""


@dataclass(frozen=True, slots=True)
class CompiledGrammar:
    """Files of one grammar.

    Attributes:
        unpronounceable: Words that have no pronunciation; every sentence with one of them was left out.
    """

    language_model: Path
    dictionary: Path
    unpronounceable: tuple[str, ...]


@contextmanager
def compiled(grammar: Grammar, dictionary: Path, cache_dir: Path | None) -> Iterator[CompiledGrammar]:
    """Compile `grammar`, or find it compiled; without `cache_dir` the files live as long as the context."""
    if cache_dir is None:
        with tempfile.TemporaryDirectory(prefix="edge-agent-sphinx-") as directory:
            _compile(grammar, dictionary, Path(directory))
            yield _open(Path(directory))
        return
    place = cache_dir / f"sphinx-{_key(grammar, dictionary)}"
    if not (place / "complete.json").is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="sphinx-new-", dir=cache_dir) as directory:
            fresh = Path(directory, "grammar")
            fresh.mkdir()
            _compile(grammar, dictionary, fresh)
            _put(fresh, place)
        _prune(cache_dir, keep=place)
    else:
        os.utime(place)
    yield _open(place)


def _put(fresh: Path, place: Path) -> None:
    """Move a complete directory to its place in one step; another process may have been quicker."""
    try:
        fresh.rename(place)
    except OSError:
        if not (place / "complete.json").is_file():
            raise


def _prune(cache_dir: Path, keep: Path) -> None:
    old = sorted((path for path in cache_dir.glob("sphinx-????????????????") if path != keep), key=_age)
    for path in old[: max(0, len(old) - _KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _key(grammar: Grammar, dictionary: Path) -> str:
    size = dictionary.stat().st_size
    content = [FORMAT, DISCOUNT_MASS, version("pocketsphinx"), size, grammar.sentences, grammar.phrases]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _compile(grammar: Grammar, dictionary: Path, directory: Path) -> None:
    from pocketsphinx.lm import ArpaBoLM

    lexicon, unpronounceable = lexicon_of(grammar.words, dictionary)
    (directory / "words.dict").write_text("".join(f"{line}\n" for line in dictionary_lines(lexicon)))
    hopeless = frozenset(unpronounceable)
    sentences = [text for text in grammar.sentences if hopeless.isdisjoint(text.split())]
    phrases = [text for text in grammar.phrases if hopeless.isdisjoint(text.split())]
    model = ArpaBoLM(text="\n".join([*sentences, *phrases]) + "\n", add_start=True, discount_mass=DISCOUNT_MASS)
    model.compute()
    with (directory / "sentences.arpa").open("w") as out:
        model.write(out)
    (directory / "complete.json").write_text(json.dumps({"unpronounceable": unpronounceable}))


def _open(directory: Path) -> CompiledGrammar:
    return CompiledGrammar(
        language_model=directory / "sentences.arpa",
        dictionary=directory / "words.dict",
        unpronounceable=tuple(json.loads((directory / "complete.json").read_text())["unpronounceable"]),
    )
