"""Pronunciations for PocketSphinx: the wheel's dictionary, and what can be worked out for words that it lacks."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Lexicon = dict[str, list[str]]
"""Word to pronunciations, each a string of ARPAbet phones separated by spaces."""

_ALTERNATIVE = re.compile(r"\(\d+\)$")
_SHORTEST_PART = 3
"""Parts of a compound are at least this long; two-letter entries of the dictionary are mostly abbreviations."""
_VOICELESS = frozenset({"P", "T", "K", "F", "TH"})
_SIBILANT = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
_FLITE_TIMEOUT_S = 10
_FLITE_PHONES = {"ax": "AH", "pau": ""}
"""Flite's phones are ARPAbet in lower case but for its schwa and its pause."""


def lexicon_of(words: Iterable[str], dictionary: Path) -> tuple[Lexicon, list[str]]:
    """Return pronunciations of `words`, and the words for which there is none.

    Looked for in this order: `dictionary`, an ending cut off (lamps, john's), two words written as one
    (goodnight), letter-to-sound rules of Flite where it is installed.
    """
    wanted = frozenset(words)
    known = _read(dictionary)
    found = {word: known[word] for word in sorted(wanted) if word in known}
    missing = []
    for word in sorted(wanted - found.keys()):
        pronunciations = _inflected(word, known) or _compound(word, known) or _letter_to_sound(word)
        if pronunciations:
            found[word] = pronunciations
        else:
            missing.append(word)
    return {word: _with_fast_speech(pronunciations) for word, pronunciations in found.items()}, missing


def dictionary_lines(lexicon: Lexicon) -> Iterator[str]:
    """Yield the lines of a PocketSphinx dictionary file."""
    for word, pronunciations in sorted(lexicon.items()):
        for number, phones in enumerate(pronunciations, start=1):
            yield f"{word} {phones}" if number == 1 else f"{word}({number}) {phones}"


def _read(path: Path) -> Lexicon:
    entries: Lexicon = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.strip().partition(" ")
            if phones:
                entries.setdefault(_ALTERNATIVE.sub("", word), []).append(phones.strip())
    return entries


def _inflected(word: str, known: Mapping[str, list[str]]) -> list[str]:
    for ending in ("'s", "s'", "s"):
        stem = word.removesuffix(ending)
        if stem != word and stem in known:
            return [f"{phones} {_plural(phones.split()[-1])}" for phones in known[stem]]
    return []


def _plural(last: str) -> str:
    if last in _SIBILANT:
        return "IH Z"
    return "S" if last in _VOICELESS else "Z"


def _compound(word: str, known: Mapping[str, list[str]]) -> list[str]:
    """Split into two known words, the most even split first."""
    cuts = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
    for cut in sorted(cuts, key=lambda cut: abs(len(word) - 2 * cut)):
        if word[:cut] in known and word[cut:] in known:
            return [f"{first} {second}" for first in known[word[:cut]] for second in known[word[cut:]]]
    return []


def _letter_to_sound(word: str) -> list[str]:
    flite = shutil.which("flite")
    if flite is None or not re.fullmatch(r"[a-z']+", word):
        return []
    try:
        done = subprocess.run(  # noqa: S603 - one word of letters, no shell
            [flite, "-voice", "slt", "-ps", "-t", word, "-o", "none"],
            capture_output=True,
            text=True,
            timeout=_FLITE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    phones = [_FLITE_PHONES.get(phone, phone.upper()) for phone in done.stdout.split()]
    spoken = " ".join(phone for phone in phones if phone)
    return [spoken] if spoken else []


def _with_fast_speech(pronunciations: list[str]) -> list[str]:
    """Add forms of quick speech: an unstressed `IY AH` inside a word becomes `Y AH` (medium as "meed-yum")."""
    quick = [re.sub(r"(?<= [BDLMNPRSTVZ] )IY AH(?= )", "Y AH", phones) for phones in pronunciations]
    return list(dict.fromkeys([*pronunciations, *quick]))
