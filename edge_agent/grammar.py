"""The closed language a recognizer is asked to listen for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grammar:
    """What can be said, in the forms that recognizers take. Made from the intent templates.

    Attributes:
        sentences: Sampled sentences, lower case, spoken words only (numbers spelled out); a sentence may occur
            several times, which is its weight. For n-gram models and Vosk's run-time grammar.
        phrases: The short closed phrases, complete and without slots or long optional parts, each once: what a
            finite-state decoding (JSGF) is exact on. Empty where there are none.
    """

    sentences: tuple[str, ...]
    phrases: tuple[str, ...] = ()

    @property
    def words(self) -> frozenset[str]:
        """The vocabulary."""
        return frozenset(word for text in (*self.sentences, *self.phrases) for word in text.split())
