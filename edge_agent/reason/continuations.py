"""How the templates could go on after some words, read from the matcher's automaton.

    set a timer              for ten minutes           and thirty seconds
    ├─ a sentence ───────────┤ its number is missing: it likely goes on
    ├─ a sentence with its number ─────────────────────┤ what may follow is an afterthought

Where no white space is written between words, characters take the place of words.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from edge_agent.reason.wordforms import number_words, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.reason.automaton import Automaton, _List

    Text = tuple[str, ...] | str
    """Words, or the characters of a language without white space: both are sliced and compared alike."""

AFTERTHOUGHTS: Mapping[str, frozenset[str]] = {
    "en": frozenset(("and", "called", "named", "for")),
    "zh": frozenset(("叫", "叫做", "的", "后的")),
}
"""Words with which something is added to a sentence that has its number: a smaller unit, a name."""
_MOST_TOKENS = 200
"""No template is as long."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the templates say about a text.

    Attributes:
        is_sentence: The text is a whole sentence.
        is_prefix: A sentence, or what has to follow a wildcard's name, begins with the text and is longer.
        likely: A sentence that begins with the text means something else, or more than an afterthought.
    """

    is_sentence: bool
    is_prefix: bool
    likely: bool


class _Number(IntEnum):
    """Whether a path has said the value of a list of numbers."""

    NONE = 0
    SAID = 1
    LAST = 2
    """A plain one was the last thing said: its unit, or the rest of a time of day, may follow."""


@dataclass(frozen=True, slots=True)
class _Node:
    position: int
    state: int
    number: _Number


@dataclass(slots=True)
class _Reached:
    """Where a text leads: its whole length, or into the middle of a word, a list's value or a skipped phrase."""

    ends: set[_Node]
    words: set[tuple[_Node, str, int]]
    in_value: bool
    in_skipped: bool


class Continuations:
    """Follows texts through an automaton. Pure; takes some milliseconds a text."""

    def __init__(self, automaton: Automaton, language: str, *, by_character: bool) -> None:
        states, starts, skipped = automaton._states, automaton._starts, automaton._skipped  # noqa: SLF001 - read alike
        self._states, self._starts, self._language = states, starts, language
        self._by_character = by_character
        self._first_states = sorted(starts)
        self._skipped = [text for phrase in skipped if (text := self._text(phrase))]
        self._afterthoughts = AFTERTHOUGHTS.get(language, frozenset())
        self._values: dict[int, tuple[dict[Text, _Number], frozenset[Text], tuple[int, ...]]] = {}
        self._words: dict[int, dict[str, list[tuple[Text, str, int]]]] = {}
        self._finishing = self._leading_to({n for n, state in enumerate(states) if state.final})
        self._before_lists = self._leading_to(
            {n for n, state in enumerate(states) if any(target in self._finishing for _, target in state.lists)}
        )
        self._before_numbers = self._leading_to(
            {
                n
                for n, state in enumerate(states)
                if any(target in self._finishing and _counts(a_list) for a_list, target in state.lists)
            }
        )

    def after(self, text: str, asked: str | None = None) -> Continuation:
        """Return how `text` could go on.

        Args:
            text: As heard or typed.
            asked: What was asked for just now: sentences that only answer it count first.
        """
        tokens = self._text(tuple(spoken(text, self._language).split()))
        if not 0 < len(tokens) <= _MOST_TOKENS:
            return Continuation(is_sentence=False, is_prefix=False, likely=False)
        if asked is not None:
            answer = self._judged(
                self._follow(tokens, {n for n, start in self._starts.items() if start.asked == asked})
            )
            if answer.is_sentence:
                return answer
        return self._judged(self._follow(tokens, {n for n, start in self._starts.items() if start.asked is None}))

    def _judged(self, reached: _Reached) -> Continuation:
        finals = [node for node in reached.ends if self._states[node.state].final]
        return Continuation(
            is_sentence=bool(finals),
            is_prefix=reached.in_value
            or reached.in_skipped
            or bool(reached.words)
            or any(self._has_arcs(node.state) for node in reached.ends)
            or len(finals) < len(reached.ends),
            likely=self._is_likely_to_go_on(reached, {self._meaning(node.state) for node in finals}),
        )

    def _text(self, words: tuple[str, ...]) -> Text:
        return "".join(words) if self._by_character else words

    def _follow(self, tokens: Text, states: set[int]) -> _Reached:
        found = _Reached(set(), set(), in_value=False, in_skipped=False)
        seen = {_Node(0, state, _Number.NONE) for state in states}
        pending = list(seen)
        while pending:
            node = pending.pop()
            if node.position == len(tokens):
                found.ends.add(node)
                continue
            for following in self._steps(tokens, node, found):
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
        return found

    def _steps(self, tokens: Text, node: _Node, found: _Reached) -> Iterator[_Node]:
        rest = tokens[node.position :]
        after_number = min(node.number, _Number.SAID)
        for spelled, word, target in self._words_with(node.state, rest[0]):
            if rest[: len(spelled)] == spelled:
                yield _Node(node.position + len(spelled), target, _Number(after_number))
            elif target in self._finishing and spelled[: len(rest)] == rest:
                found.words.add((node, word, target))
        for a_list, target in self._states[node.state].lists:
            values, beginnings, lengths = self._spelled(a_list)
            for length in lengths:
                value = rest[:length]
                if len(value) == length and value in values:
                    yield _Node(node.position + length, target, _Number(max(after_number, values[value])))
            found.in_value |= target in self._finishing and rest in beginnings
        for phrase in self._skipped:
            if rest[: len(phrase)] == phrase:
                yield _Node(node.position + len(phrase), node.state, node.number)
            elif phrase[: len(rest)] == rest:
                found.in_skipped = True

    def _words_with(self, state: int, first: str) -> Sequence[tuple[Text, str, int]]:
        """Return the words that go on from a state and begin with `first`, spelled and plain, and where they lead."""
        if state not in self._words:
            by_first: dict[str, list[tuple[Text, str, int]]] = {}
            for word, target in self._states[state].words:
                key = word[0] if self._by_character else word
                by_first.setdefault(key, []).append((self._text((word,)), word, target))
            self._words[state] = by_first
        return self._words[state].get(first, ())

    def _spelled(self, a_list: _List) -> tuple[dict[Text, _Number], frozenset[Text], tuple[int, ...]]:
        """Return a list's values, and how far they are numbers; the beginnings of longer ones; the lengths."""
        key = id(a_list.values)
        if key not in self._values:
            values = {self._text(words): self._kind(words, value) for words, value in a_list.values.items()}
            beginnings = frozenset(text[:end] for text in values for end in range(1, len(text)))
            self._values[key] = values, beginnings, tuple({len(text) for text in values if text})
        return self._values[key]

    def _kind(self, words: tuple[str, ...], value: str | float) -> _Number:
        """Tell a plain number ("thirty") from a value that stands for one ("half") and from others."""
        if isinstance(value, str):
            return _Number.NONE
        plain = isinstance(value, int) and number_words(value, self._language) == " ".join(words)
        return _Number.LAST if plain else _Number.SAID

    def _is_likely_to_go_on(self, reached: _Reached, meanings: set[tuple[str, str]]) -> bool:
        if reached.in_value:
            return True
        words = [
            *reached.words,
            *((node, word, target) for node in reached.ends for word, target in self._states[node.state].words),
        ]
        if any(
            target in self._finishing and self._matters(node, word, target, meanings) for node, word, target in words
        ):
            return True
        return any(
            target in self._finishing and not (_counts(a_list) and node.number is _Number.SAID)
            for node in reached.ends
            for a_list, target in self._states[node.state].lists
        )

    def _matters(self, node: _Node, word: str, target: int, meanings: set[tuple[str, str]]) -> bool:
        """Tell whether to expect a tail that begins with `word`."""
        if self._meaning(node.state) in meanings and target not in self._before_lists:
            return False
        if target in self._before_numbers and node.number is _Number.NONE:
            return True
        return not (node.number is _Number.SAID and word in self._afterthoughts)

    def _meaning(self, state: int) -> tuple[str, str]:
        start = self._starts[self._first_states[bisect_right(self._first_states, state) - 1]]
        return start.intent, repr(sorted(start.slots.items()))

    def _has_arcs(self, state: int) -> bool:
        here = self._states[state]
        return any(target in self._finishing for _, target in (*here.words, *here.lists))

    def _leading_to(self, states: set[int]) -> frozenset[int]:
        """Return the states from which one of `states` is reached, themselves among them."""
        sources: dict[int, list[int]] = {}
        for n, state in enumerate(self._states):
            for _, target in (*state.words, *state.lists):
                sources.setdefault(target, []).append(n)
        found, pending = set(states), list(states)
        while pending:
            for source in sources.get(pending.pop(), ()):
                if source not in found:
                    found.add(source)
                    pending.append(source)
        return frozenset(found)


def _counts(a_list: _List) -> bool:
    """Tell whether the list holds numbers."""
    return any(isinstance(value, int | float) for value in a_list.values.values())
