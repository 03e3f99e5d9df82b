"""Checks of sentence templates that hassil leaves to the moment of matching, or answers with an assertion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_agent.config.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hassil import Sentence
    from hassil.expression import Expression, ListReference, RuleReference

_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_LIST_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(:@?[A-Za-z][A-Za-z0-9_]*)?|@[A-Za-z][A-Za-z0-9_]*")
_RULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class TemplateError(ValueError):
    """A sentence template is wrong; the message says how and repeats none of the template."""


def parse_template(text: str) -> Sentence:
    """Parse a template.

    Raises:
        TemplateError: Its syntax is wrong.
    """
    from hassil import parse_sentence
    from hassil.expression import Sequence
    from hassil.parser import ParseError

    _check_brackets(text)
    if not text.strip():
        raise TemplateError("is empty")
    try:
        sentence = parse_sentence(text, keep_text=True)
    except ParseError as error:
        raise TemplateError("is not a valid sentence template") from error
    # hassil would never match such an alternative.
    if any(isinstance(part, Sequence) and not part.items for part in parts(sentence.expression)):
        raise TemplateError("an alternative is empty; write [this] for what may be left out")
    return sentence


def _check_brackets(text: str) -> None:
    """Refuse brackets that don't match and names that can't be ones."""
    opened: list[tuple[str, int]] = []
    escaped = False
    for index, char in enumerate(text):
        if escaped or char == "\\":
            escaped = not escaped
        elif char in _PAIRS:
            if opened and opened[-1][0] in "{<":
                raise TemplateError(f"{char!r} inside '{opened[-1][0]}...'")
            opened.append((char, index))
        elif char in _PAIRS.values():
            if not opened or _PAIRS[opened[-1][0]] != char:
                raise TemplateError(f"{char!r} closes nothing")
            start, at = opened.pop()
            _check_inside(start, text[at + 1 : index])
    if escaped:
        raise TemplateError("ends with a lone backslash")
    if opened:
        char, at = opened[-1]
        raise TemplateError(f"{char!r} at character {at + 1} is not closed")


def _check_inside(start: str, inside: str) -> None:
    if not inside:
        raise TemplateError(f"'{start}{_PAIRS[start]}' is empty")
    if start == "{" and not _LIST_NAME.fullmatch(inside):
        raise TemplateError(f"{{{inside}}} is no list name; write {{list}} or {{list:slot}}")
    if start == "<" and not _RULE_NAME.fullmatch(inside):
        raise TemplateError(f"<{inside}> is no rule name")


def parts(expression: Expression) -> Iterator[Expression]:
    """An expression and everything in it; references are not followed."""
    from hassil.expression import Group

    yield expression
    if isinstance(expression, Group):
        for item in expression.items:
            yield from parts(item)


def list_references(expression: Expression) -> Iterator[ListReference]:
    """References to lists; rules are not followed."""
    from hassil.expression import ListReference

    return (part for part in parts(expression) if isinstance(part, ListReference))


def rule_references(expression: Expression) -> Iterator[RuleReference]:
    """References to rules; rules are not followed."""
    from hassil.expression import RuleReference

    return (part for part in parts(expression) if isinstance(part, RuleReference))


def check_references(expression: Expression, lists: Iterable[str], rules: Iterable[str]) -> None:
    """See that every list and rule in an expression exists.

    Raises:
        TemplateError: One does not.
    """
    lists, rules = list(lists), list(rules)
    for reference in list_references(expression):
        if (name := reference.list_name) not in lists:
            raise TemplateError(f"there is no list {{{name}}}{suggest(name, lists)}")
    for rule in rule_references(expression):
        if (name := rule.rule_name) not in rules:
            raise TemplateError(f"there is no rule <{name}>{suggest(name, rules)}")


def find_cycle(rules: Mapping[str, Sentence]) -> tuple[str, ...]:
    """Rules that refer to each other for ever, in order, the first one repeated at the end; empty if there are none."""
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> tuple[str, ...]:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        if name in finished or name not in rules:
            return ()
        for reference in rule_references(rules[name].expression):
            if cycle := visit(reference.rule_name, (*trail, name)):
                return cycle
        finished.add(name)
        return ()

    return next((cycle for name in rules if (cycle := visit(name, ()))), ())


class RuleBook:
    """Rules with what is known about each, worked out once. They must be free of cycles."""

    def __init__(self, rules: Mapping[str, Sentence]) -> None:
        self.rules = rules
        self._silent: dict[str, bool] = {}
        self._references: dict[str, frozenset[tuple[str, str]]] = {}

    def matches_silence(self, expression: Expression) -> bool:
        """True if every part of the expression is optional."""
        from hassil.expression import Alternative, Group, RuleReference, TextChunk

        if isinstance(expression, TextChunk):
            return not expression.text.strip()
        if isinstance(expression, Alternative):
            return any(self.matches_silence(item) for item in expression.items)
        if isinstance(expression, Group):
            return all(self.matches_silence(item) for item in expression.items)
        if isinstance(expression, RuleReference):
            name = expression.rule_name
            if name not in self._silent:
                self._silent[name] = self.matches_silence(self.rules[name].expression)
            return self._silent[name]
        return False

    def slots(self, expression: Expression) -> frozenset[str]:
        """Slots that a match may fill."""
        return frozenset(slot for _, slot in self._lists_and_slots(expression) if slot)

    def lists(self, expression: Expression) -> frozenset[str]:
        """Lists that a match may take a value from."""
        return frozenset(name for name, _ in self._lists_and_slots(expression))

    def _lists_and_slots(self, expression: Expression) -> frozenset[tuple[str, str]]:
        found = {(ref.list_name, "" if ref.is_capture else ref.slot_name) for ref in list_references(expression)}
        for rule in rule_references(expression):
            name = rule.rule_name
            if name not in self._references:
                self._references[name] = self._lists_and_slots(self.rules[name].expression)
            found |= self._references[name]
        return frozenset(found)
