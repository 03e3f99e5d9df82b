"""Intent templates as one automaton over words, searched for the sentence nearest to what was said.

    templates ─▶ states joined by words and lists ─▶ cheapest path through (word position, state)

A path may leave out words that were said and put in small words that were not, each at a price; the words of a list
value must all have been said, in order.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hassil.expression import Alternative, Group, ListReference, Permutation, TextChunk
from hassil.intents import RangeSlotList, TextSlotList

from edge_agent.reason.ask import ASKED
from edge_agent.reason.sampling import Template, templates_of
from edge_agent.reason.wordforms import number_words, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hassil.expression import Expression
    from hassil.intents import IntentData, Intents, SlotList

SMALL_WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset(
        (
            *("a", "an", "the", "of", "and", "with", "for", "in", "at", "by", "to", "is", "it", "some", "please"),
            *("i", "i'd", "i'll", "me", "my", "you", "can", "could", "would", "like", "have", "get"),
        )
    )
}
"""Words that carry no command: a recognizer adds and loses them, and their number does not change what is meant."""
NEGATIONS: Mapping[str, frozenset[str]] = {
    "en": frozenset(("not", "no", "don't", "never", "without", "isn't", "won't", "didn't"))
}
"""Words that must never be left out: the rest would mean the opposite."""
SMALL_COST = 1
CONTENT_COST = 2
SLOT_WORD_COST = 3
"""Leaving out a word that lists hold loses something that was asked for."""
_MAX_STATES = 100_000
_MAX_STEPS = 100_000
_MAX_VALUES = 20_000
_MAX_PERMUTED = 6


class Cost(NamedTuple):
    """How far a path is from what was said."""

    price: int
    edits: int


@dataclass(frozen=True, slots=True)
class Path:
    """The nearest sentence that the templates allow."""

    intent: str
    slots: dict[str, str | int | float]
    text: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class _List:
    """A list as an arc: the ways to say its values."""

    slot: str
    values: Mapping[tuple[str, ...], str | int | float]
    lengths: tuple[int, ...]


class _Start(NamedTuple):
    """Where a template begins, what it stands for, and what must have been asked for it to count."""

    intent: str
    slots: Mapping[str, Any]
    asked: str | None


@dataclass(slots=True)
class _State:
    words: list[tuple[str, int]] = field(default_factory=list)
    lists: list[tuple[_List, int]] = field(default_factory=list)
    final: bool = False


class _Step(NamedTuple):
    """How a node of the search was reached: for reading the path back."""

    before: tuple[int, int] | None
    words: tuple[str, ...]
    slot: tuple[str, str | int | float] | None
    edits: int


class Automaton:
    """All templates of `intents`, but for parts that hold wildcards."""

    def __init__(self, intents: Intents, language: str) -> None:
        self._small = SMALL_WORDS.get(language, frozenset())
        self._negations = NEGATIONS.get(language, frozenset())
        self._states: list[_State] = []
        self._starts: dict[int, _Start] = {}
        self._tables: dict[tuple[int, str], Mapping[tuple[str, ...], str | int | float]] = {}
        for name, intent in intents.intents.items():
            for data in intent.data:
                self._add(intents, name, data, language)
        self._skipped = tuple(tuple(spoken(phrase, language).split()) for phrase in intents.skip_words)
        self._slot_words = frozenset(word for table in self._tables.values() for key in table for word in key)

    def nearest(self, words: Sequence[str], most: int, asked: str | None = None) -> Path | None:
        """Return the cheapest path for `words` that costs at most `most`; the first template's where several do.

        Templates that are only answers count where that was `asked`.
        """
        queue: list[tuple[int, int, int, int]] = []  # price, words left, state, position
        steps: dict[tuple[int, int], _Step] = {}
        best: dict[tuple[int, int], int] = {}
        for state, start in self._starts.items():
            if start.asked not in (None, asked):
                continue
            node = (0, state)
            best[node] = 0
            steps[node] = _Step(None, (), None, 0)
            queue.append((0, len(words), state, 0))
        heapq.heapify(queue)
        for _ in range(_MAX_STEPS):
            if not queue:
                return None
            price, _left, state, position = heapq.heappop(queue)
            node = (position, state)
            if price > best[node]:
                continue
            if position == len(words) and self._states[state].final:
                return self._path(node, price, steps)
            for cost, target, step in self._arcs(words, position, state):
                total = price + cost
                if total <= most and total < best.get(target, most + 1):
                    best[target] = total
                    steps[target] = step
                    heapq.heappush(queue, (total, len(words) - target[0], target[1], target[0]))
        return None

    def _arcs(self, words: Sequence[str], position: int, state: int) -> Iterator[tuple[int, tuple[int, int], _Step]]:
        here = (position, state)
        said = words[position] if position < len(words) else None
        for word, target in self._states[state].words:
            if word == said:
                yield 0, (position + 1, target), _Step(here, (word,), None, 0)
            if word in self._small:
                yield SMALL_COST, (position, target), _Step(here, (word,), None, 1)
        for slot_list, target in self._states[state].lists:
            for length in slot_list.lengths:
                key = tuple(words[position : position + length])
                if len(key) == length and key in slot_list.values:
                    filled = (slot_list.slot, slot_list.values[key])
                    yield 0, (position + length, target), _Step(here, key, filled, 0)
        for phrase in self._skipped:
            if phrase and tuple(words[position : position + len(phrase)]) == phrase:
                yield 0, (position + len(phrase), state), _Step(here, (), None, 0)
        if said is not None and said not in self._negations:
            yield self._price_of_leaving_out(said), (position + 1, state), _Step(here, (), None, 1)

    def _price_of_leaving_out(self, word: str) -> int:
        if word in self._small:
            return SMALL_COST
        return SLOT_WORD_COST if word in self._slot_words else CONTENT_COST

    def _path(self, node: tuple[int, int], price: int, steps: Mapping[tuple[int, int], _Step]) -> Path:
        text: list[str] = []
        slots: dict[str, str | int | float] = {}
        edits = 0
        step = steps[node]
        while True:
            text[:0] = step.words
            edits += step.edits
            if step.slot is not None:
                slots = {step.slot[0]: step.slot[1], **slots}
            if step.before is None:
                break
            node = step.before
            step = steps[node]
        start = self._starts[node[1]]
        return Path(start.intent, {**start.slots, **slots}, " ".join(text), Cost(price, edits))

    def _add(self, intents: Intents, name: str, data: IntentData, language: str) -> None:
        for template in templates_of(intents, data, language):
            if not template.size:
                continue
            start = _Spelling(template).into(self._states, self._table)
            self._starts[start] = _Start(name, data.slots, (data.requires_context or {}).get(ASKED))

    def _table(self, template: Template, reference: ListReference) -> Mapping[tuple[str, ...], str | int | float]:
        slot_list = template.lists.get(reference.list_name)
        key = (id(slot_list), reference.list_name)
        if key not in self._tables:
            self._tables[key] = dict(_values(template, reference, slot_list))
        return self._tables[key]


def _values(
    template: Template, reference: ListReference, slot_list: SlotList | None
) -> Iterator[tuple[tuple[str, ...], str | int | float]]:
    """Yield every way to say a value of the list, and the value."""
    if inline := reference.get_inline_range():
        start, stop, step = inline
        slot_list = RangeSlotList(name=None, start=start, stop=stop, step=step)
    if isinstance(slot_list, RangeSlotList):
        for number in range(slot_list.start, slot_list.stop + 1, slot_list.step):
            value = number * slot_list.multiplier if slot_list.multiplier else number
            yield tuple(number_words(number, template.language).split()), value
    elif isinstance(slot_list, TextSlotList):
        for entry in slot_list.values:
            part = Template(entry.text_in, template.lists, template.rules, template.language)
            if 0 < part.size <= _MAX_VALUES:
                for text in part.expansions():
                    yield tuple(text.split()), text if entry.value_out is None else entry.value_out


_SPACE = object()


class _Spelling:
    """A template as an automaton over pieces of words and spaces, from which the one over words is made.

    Templates may join parts of a word ("light[s]"), so words only show once pieces are followed to the next space.
    """

    def __init__(self, template: Template) -> None:
        self._template = template
        self._arcs: list[list[tuple[Any, int]]] = [[]]
        self._end = self._build(template.root, 0)

    def into(self, states: list[_State], table: Any) -> int:  # noqa: ANN401 - the automaton's bound method
        """Add the words' automaton to `states`; return its start."""
        known: dict[int, int] = {}

        def state_of(spelled: int) -> int:
            if spelled not in known:
                known[spelled] = len(states)
                states.append(_State())
                pending.append(spelled)
            return known[spelled]

        pending: list[int] = []
        start = state_of(0)
        while pending:
            spelled = pending.pop()
            here = states[known[spelled]]
            for label, after in self._words_from(spelled):
                if label is None:
                    here.final = True
                elif isinstance(label, ListReference):
                    values = table(self._template, label)
                    lengths = tuple(sorted({len(key) for key in values}, reverse=True))
                    here.lists.append((_List(label.slot_name, values, lengths), state_of(after)))
                else:
                    words = spoken(label, self._template.language).split()
                    chain = here
                    for word in words[:-1]:
                        states.append(_State())
                        chain.words.append((word, len(states) - 1))
                        chain = states[-1]
                    if words:
                        chain.words.append((words[-1], state_of(after)))
        return start

    def _words_from(self, state: int) -> list[tuple[Any, int]]:
        """Return (word, list reference, or None for the end; where it leads) for all that may come next."""
        found: dict[tuple[Any, int], None] = {}
        seen = {(state, "")}
        stack = [(state, "")]
        references: list[tuple[Any, int]] = []
        while stack:
            here, piece = stack.pop()
            if here == self._end:
                found[(piece or None, here)] = None
            for label, target in self._arcs[here]:
                if isinstance(label, ListReference):
                    if piece:
                        found[(piece, here)] = None
                    else:
                        references.append((label, target))
                    continue
                if label is _SPACE and piece:
                    found[(piece, target)] = None
                    continue
                node = (target, piece + label if isinstance(label, str) else piece)
                if node not in seen:
                    seen.add(node)
                    stack.append(node)
        return [*found, *references]

    def _build(self, node: Expression, start: int) -> int:
        if isinstance(node, TextChunk):
            for piece in re.findall(r"\s+|\S+", node.original_text):
                start = self._arc(start, _SPACE if piece.isspace() else piece)
            return start
        if isinstance(node, ListReference):
            return self._arc(start, node) if self._template.can_be_said(node) else self._state()
        if isinstance(node, Alternative):
            end = self._state()
            for item in node.items:
                self._join(self._build(item, start), end)
            return end
        if isinstance(node, Permutation):
            return self._permutation(node.items, start)
        for item in node.items if isinstance(node, Group) else self._template.children(node):
            start = self._build(item, start)
        return start

    def _permutation(self, items: list[Expression], start: int) -> int:
        """Build a lattice of which items have been said."""
        items = items[:_MAX_PERMUTED]
        by_said = {0: start}
        for said in range(1, 1 << len(items)):
            by_said[said] = self._state()
        for said in range(1 << len(items)):
            for n, item in enumerate(items):
                if not said & (1 << n):
                    self._join(self._build(item, by_said[said]), by_said[said | (1 << n)])
        return by_said[(1 << len(items)) - 1]

    def _state(self) -> int:
        if len(self._arcs) >= _MAX_STATES:
            raise ValueError(f"a template has more than {_MAX_STATES} states")
        self._arcs.append([])
        return len(self._arcs) - 1

    def _arc(self, start: int, label: object) -> int:
        end = self._state()
        self._arcs[start].append((label, end))
        return end

    def _join(self, start: int, end: int) -> None:
        self._arcs[start].append((None, end))
