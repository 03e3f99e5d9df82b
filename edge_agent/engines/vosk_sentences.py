"""The sentences that Vosk is closed to, for judging what it read."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_FEWEST_WORDS = 3
"""Shorter readings are never mended: too much is a word away from them."""


class Sentences:
    """A closed grammar's sentences. Pure."""

    def __init__(self, sentences: Collection[str] = ()) -> None:
        self._sentences = frozenset(sentences)
        self._longest = max((len(sentence.split()) for sentence in self._sentences), default=0)
        self._pairs = frozenset(pair for sentence in self._sentences for pair in _pairs(sentence))

    def can_be_said(self, text: str) -> bool:
        """Tell whether each word may follow the one before it, in a sentence no longer than the grammar's.

        Sentences with slots are too many to list.
        """
        pairs = _pairs(text)
        return 1 < len(pairs) <= self._longest + 1 and self._pairs.issuperset(pairs)

    def near(self, text: str) -> str:
        """Return the one sentence that is a word away from `text`; none where several are: that would be a guess."""
        words = text.split()
        if len(words) < _FEWEST_WORDS:
            return ""
        near = [sentence for sentence in self._sentences if _is_one_word_away(words, sentence.split())]
        return near[0] if len(near) == 1 else ""


def _pairs(text: str) -> list[tuple[str, str]]:
    """Pairs of neighbours, the sentence's edges among them."""
    return list(pairwise(["", *text.split(), ""]))


def _is_one_word_away(words: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether one word was exchanged, left out or put in."""
    if abs(len(words) - len(others)) > 1 or words == others:
        return False
    same = 0
    while same < min(len(words), len(others)) and words[same] == others[same]:
        same += 1
    rest, other_rest = words[same:], others[same:]
    shorter = min(len(rest), len(other_rest))
    tail = shorter if len(rest) != len(other_rest) else shorter - 1
    return tail <= 0 or rest[-tail:] == other_rest[-tail:]
