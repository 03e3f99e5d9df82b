"""Turns intent templates into the closed language that recognizers listen for.

Templates multiply: three optional parts and four lists give millions of sentences. So they are never enumerated;
sentences are drawn by a random walk over the template, after a first round that visits every option once.
"""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

from hassil.expression import Alternative, Group, ListReference, Permutation, RuleReference, TextChunk
from hassil.intents import RangeSlotList, TextSlotList

from edge_agent.grammar import Grammar
from edge_agent.reason.wordforms import number_words, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hassil.expression import Expression, Sentence
    from hassil.intents import IntentData, Intents, SlotList

_log = logging.getLogger(__name__)

DEFAULT_LIMIT = 30_000
PHRASE_TEMPLATE_LIMIT = 64
"""A template with at most so many expansions is also given complete, as phrases."""
PHRASE_LIMIT = 2_000
_COUNT_CAP = 10**9
_MAX_DEPTH = 40
"""Deeper than this, expansion rules refer to themselves."""
_MAX_RANGE = 10_000
_TYPICAL_SHARE = 0.6
"""Of the numbers drawn from a range, those which people say most: up to twelve, and round ones."""
_SKIP_WORD_SHARE = 0.1
_DRAWS_PER_EXPANSION = 4
_MIN_DRAWS = 2_000


def sample_grammar(
    intents: Intents,
    language: str,
    *,
    limit: int = DEFAULT_LIMIT,
    seed: int = 0,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Grammar:
    """Return at most `limit` sentences of `intents`, and all short phrases; the same ones for the same arguments.

    Every option of every template and every value of every list occurs, as far as `limit` allows; beyond that, each
    intent and each template gets a share that grows with the logarithm of what it can say. Parts that hold a
    wildcard are left out: a closed grammar can't listen for them.

    It takes seconds; once it is not wanted any more it returns soon, with what it has.

    Raises:
        ValueError: Expansion rules refer to themselves, or to a list or rule that does not exist.
    """
    skip_words = [spoken(phrase, language) for phrase in intents.skip_words]
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    by_intent = [
        (name, templates)
        for name, intent in intents.intents.items()
        if (templates := [t for data in intent.data for t in templates_of(intents, data, language) if t.size])
    ]
    everything = [template for _, templates in by_intent for template in templates]
    sentences = _first_round(everything, limit, rng, is_wanted)
    expansions = sum(template.size for template in everything)
    wanted = min(limit, max(_MIN_DRAWS, _DRAWS_PER_EXPANSION * expansions)) - len(sentences)
    shares = [_share(sum(t.size for t in templates)) for _, templates in by_intent]
    for (_, templates), share in zip(by_intent, shares, strict=True):
        quota = wanted * share / sum(shares)
        template_shares = [_share(template.size) for template in templates]
        for template, template_share in zip(templates, template_shares, strict=True):
            drawn = _draws(template, int(quota * template_share / sum(template_shares)), rng, is_wanted)
            sentences += [_with_skip_word(text, skip_words, rng) for text in drawn]
    phrases = dict.fromkeys(
        phrase
        for template in everything
        if template.size <= PHRASE_TEMPLATE_LIMIT
        for phrase in template.expansions()
        if phrase
    )
    return Grammar(sentences=tuple(s for s in sentences if s), phrases=tuple(phrases)[:PHRASE_LIMIT])


def _with_skip_word(text: str, skip_words: Sequence[str], rng: random.Random) -> str:
    """Put one of the words that may be skipped ("please") before or after a few of the sentences."""
    if not skip_words or rng.random() > _SKIP_WORD_SHARE:
        return text
    skipped = rng.choice(skip_words)
    return f"{skipped} {text}" if rng.random() < 0.5 else f"{text} {skipped}"  # noqa: PLR2004 - a coin


def _share(size: int) -> float:
    """Weight of something that can be said in `size` ways: never starved, never overwhelming."""
    return 4 + min(math.log2(size), 12)


def _first_round(
    templates: Sequence[Template], limit: int, rng: random.Random, is_wanted: Callable[[], bool]
) -> list[str]:
    visiting = ((template, options) for template in templates for options in template.options())
    sentences = [template.draw(rng, options) for template, options in takewhile(lambda _: is_wanted(), visiting)]
    if len(sentences) > limit:
        _log.warning("templates have %d options, more than the %d sentences allowed", len(sentences), limit)
        rng.shuffle(sentences)
    return sentences[:limit]


def _draws(template: Template, quota: int, rng: random.Random, is_wanted: Callable[[], bool]) -> list[str]:
    if template.size <= PHRASE_TEMPLATE_LIMIT:
        every = list(template.expansions())
        return (every * (quota // len(every) + 1))[:quota]
    return [template.draw(rng) for _ in takewhile(lambda _: is_wanted(), range(quota))]


def templates_of(intents: Intents, data: IntentData, language: str) -> Iterator[Template]:
    """Yield the templates of one block of sentences, with the lists and rules that hold in it."""
    lists = {**intents.slot_lists, **data.slot_lists}
    rules = {**intents.expansion_rules, **data.expansion_rules}
    for sentence in data.sentences:
        yield Template(sentence.expression, lists, rules, language)


Options = dict[int, int]
"""Which option to take at a choice, by the choice's identity."""


@dataclass
class Template:
    """One sentence template with what it refers to."""

    root: Expression
    lists: Mapping[str, SlotList]
    rules: Mapping[str, Sentence]
    language: str
    _sizes: dict[int, int] = field(default_factory=dict)
    _choices: dict[int, list[tuple[int, Expression]]] = field(default_factory=dict)
    _ranges: dict[str, _Range] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """In how many ways it can be said, up to a cap; 0 if only with a wildcard."""
        return self._size(self.root, 0)

    def draw(self, rng: random.Random, options: Options | None = None) -> str:
        """Return a random sentence in which the given `options` are taken."""
        pieces: list[str] = []
        self._draw(self.root, rng, options or {}, pieces)
        return self._clean("".join(pieces))

    def options(self) -> Iterator[Options]:
        """Yield, for every option anywhere in the template, the choices that lead there."""
        yield from self._options(self.root)

    def expansions(self) -> Iterator[str]:
        """Yield every sentence. Only for small templates."""
        for text in self._expand(self.root):
            yield self._clean(text)

    def can_be_said(self, node: Expression) -> bool:
        """Whether there is a way to say `node` without a wildcard."""
        return self._size(node, 0) > 0

    def _clean(self, text: str) -> str:
        return spoken(text, self.language)

    def _size(self, node: Expression, depth: int) -> int:
        if (known := self._sizes.get(id(node))) is not None:
            return known
        if depth > _MAX_DEPTH:
            raise ValueError("expansion rules refer to themselves")
        sizes = [self._size(child, depth + 1) for child in self.children(node)]
        if isinstance(node, TextChunk):
            size = 1
        elif isinstance(node, ListReference) and (numbers := self._range(node)):
            size = len(numbers.all)
        elif isinstance(node, Alternative | ListReference):
            size = sum(sizes)
        else:
            size = math.prod(sizes)
            if isinstance(node, Permutation):
                size *= math.factorial(min(len(sizes), 12))
        self._sizes[id(node)] = size = min(size, _COUNT_CAP)
        return size

    def children(self, node: Expression) -> list[Expression]:
        """Return what `node` is made of; for a list the texts of its values, none for a wildcard."""
        if isinstance(node, Group):
            return node.items
        if isinstance(node, RuleReference):
            if node.rule_name not in self.rules:
                raise ValueError(f"there is no expansion rule <{node.rule_name}>")
            return [self.rules[node.rule_name].expression]
        if isinstance(node, ListReference) and not node.is_inline_range:
            if node.list_name not in self.lists:
                raise ValueError(f"there is no list {{{node.list_name}}}")
            slot_list = self.lists[node.list_name]
            return [value.text_in for value in slot_list.values] if isinstance(slot_list, TextSlotList) else []
        return []

    def _range(self, node: ListReference) -> _Range | None:
        inline = node.get_inline_range()
        slot_list = self.lists.get(node.list_name)
        if node.list_name not in self._ranges:
            if inline:
                start, stop, step = inline
            elif isinstance(slot_list, RangeSlotList) and slot_list.words:
                start, stop, step = slot_list.start, slot_list.stop, slot_list.step
            else:
                return None
            self._ranges[node.list_name] = _Range.of(range(start, stop + 1, step), self.language)
        return self._ranges[node.list_name]

    def _possible(self, node: Expression) -> list[tuple[int, Expression]]:
        if (known := self._choices.get(id(node))) is None:
            known = [(n, child) for n, child in enumerate(self.children(node)) if self._sizes[id(child)]]
            self._choices[id(node)] = known
        return known

    def _draw(self, node: Expression, rng: random.Random, options: Options, pieces: list[str]) -> None:
        """Append the pieces of a sentence; appending is three times as fast as generators at this depth."""
        if isinstance(node, TextChunk):
            pieces.append(node.original_text)
        elif isinstance(node, ListReference) and (numbers := self._range(node)):
            forced = options.get(id(node))
            pieces.append(f" {number_words(numbers.draw(rng) if forced is None else forced, self.language)} ")
        elif isinstance(node, Alternative | ListReference):
            forced = options.get(id(node))
            child = rng.choice(self._possible(node))[1] if forced is None else self.children(node)[forced]
            self._draw(child, rng, options, pieces)
        elif isinstance(node, Permutation):
            for child in rng.sample(node.items, len(node.items)):
                self._draw(child, rng, options, pieces)
                pieces.append(" ")
        else:
            for child in self.children(node):
                self._draw(child, rng, options, pieces)

    def _options(self, node: Expression) -> Iterator[Options]:
        if isinstance(node, ListReference) and (numbers := self._range(node)):
            yield from ({id(node): number} for number in numbers.covering)
        elif isinstance(node, Alternative | ListReference):
            for n, child in self._possible(node):
                for deeper in list(self._options(child)) or [{}]:
                    yield {id(node): n, **deeper}
        else:
            for child in self.children(node):
                yield from self._options(child)

    def _expand(self, node: Expression) -> Iterator[str]:
        if isinstance(node, TextChunk):
            yield node.original_text
        elif isinstance(node, ListReference) and (numbers := self._range(node)):
            yield from (f" {number_words(number, self.language)} " for number in numbers.all)
        elif isinstance(node, Alternative | ListReference):
            for _, child in self._possible(node):
                yield from self._expand(child)
        elif isinstance(node, Permutation):
            for n, child in enumerate(node.items):
                rest = Permutation(items=[*node.items[:n], *node.items[n + 1 :]])
                for head in self._expand(child):
                    yield from (f"{head} {tail}" for tail in (self._expand(rest) if rest.items else [""]))
        else:
            texts = [""]
            for child in self.children(node):
                texts = [f"{text}{more}" for text in texts for more in self._expand(child)]
            yield from texts


@dataclass(frozen=True)
class _Range:
    """Numbers that a range list can take."""

    all: Sequence[int]
    typical: tuple[int, ...]
    covering: tuple[int, ...]
    """Few numbers that hold every number word of the range, one after the other."""

    @classmethod
    def of(cls, numbers: range, language: str) -> _Range:
        if len(numbers) > _MAX_RANGE:
            numbers = numbers[:_MAX_RANGE]
        seen: set[str] = set()
        covering = []
        for number in numbers:
            words = set(number_words(number, language).split())
            if not words <= seen:
                covering.append(number)
                seen |= words
        typical = tuple(n for n in numbers if 0 <= n <= 12 or n in {15, 20, 25, 30, 40, 45, 50, 60, 75, 80, 90, 100})  # noqa: PLR2004
        return cls(numbers, typical, tuple(covering))

    def draw(self, rng: random.Random) -> int:
        if self.typical and rng.random() < _TYPICAL_SHARE:
            return rng.choice(self.typical)
        return rng.choice(self.all)
