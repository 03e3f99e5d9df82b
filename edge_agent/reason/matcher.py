"""Finds the intent in what was heard or typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.reason.ask import ASKED
from edge_agent.reason.wordforms import spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hassil.intents import Intents
    from hassil.recognize import RecognizeResult

    from edge_agent.reason.ask import Missing
    from edge_agent.reason.automaton import Automaton

_MAX_CHARACTERS = 500
_WORDS_PER_PRICE = 3
"""One small word too many or too few is forgiven for so many words said, and one in any case."""


@dataclass(frozen=True, slots=True)
class IntentMatch:
    """An intent and its slots.

    Attributes:
        intent: Name of the intent.
        slots: Values by slot name; numbers for ranges.
        text: The sentence as the templates have it.
        reading: The one of the given readings that it was found in.
        edits: Words left out or put in to get from `reading` to `text`.
    """

    intent: str
    slots: dict[str, str | int | float]
    text: str
    reading: str
    edits: int


class IntentMatcher:
    """Matches text against intent templates: exactly, or forgiving a word that a recognizer added or lost.

    Matching takes milliseconds and keeps no state.
    """

    def __init__(self, intents: Intents, language: str) -> None:
        from edge_agent.reason.automaton import Automaton

        self._intents = intents
        self._language = language
        self._automaton = Automaton(intents, language)

    @property
    def automaton(self) -> Automaton:
        """The templates as an automaton, for whoever else needs one."""
        return self._automaton

    def match(
        self, readings: Sequence[str], *, forgiving: bool = True, asked: Missing | None = None
    ) -> IntentMatch | None:
        """Return the intent of the first reading that matches exactly, else of the one nearest to a template.

        Args:
            readings: What was heard, best first; or what was typed.
            forgiving: Whether a reading may differ from every template by a few small words. A slot's value is
                never guessed, and no word that carries meaning is ever put in.
            asked: What was asked for just now: its answers (GiveDuration, GiveTime) count as well.
        """
        candidates = [reading for reading in dict.fromkeys(readings) if reading.strip()]
        for reading in candidates:
            if exact := self._exact(reading, asked):
                return exact
        return self._nearest(candidates, asked) if forgiving else None

    def _exact(self, reading: str, asked: Missing | None) -> IntentMatch | None:
        from hassil.recognize import recognize_best

        if len(reading) > _MAX_CHARACTERS:
            return None
        result = recognize_best(
            reading, self._intents, language=self._language, intent_context={ASKED: asked} if asked else None
        )
        if result is None:
            return None
        return IntentMatch(result.intent.name, _slots(result), reading.strip(), reading, 0)

    def _nearest(self, readings: Sequence[str], asked: Missing | None) -> IntentMatch | None:
        found: tuple[int, IntentMatch] | None = None
        for reading in readings:
            words = spoken(reading[:_MAX_CHARACTERS], self._language).split()
            most = max(1, len(words) // _WORDS_PER_PRICE)
            if found is not None:
                most = min(most, found[0] - 1)
            path = self._automaton.nearest(words, most, asked) if most >= 0 else None
            if path is not None:
                match = IntentMatch(path.intent, path.slots, path.text, reading, path.cost.edits)
                found = (path.cost.price, match)
        return found[1] if found else None


def _slots(result: RecognizeResult) -> dict[str, str | int | float]:
    return {
        name: entity.value.strip() if isinstance(entity.value, str) else _plain(entity.value)
        for name, entity in result.entities.items()
    }


def _plain(value: float) -> int | float:
    """Return whole numbers as such, however they were written: 10 as well as ten."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
