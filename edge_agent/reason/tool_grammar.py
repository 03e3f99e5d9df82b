"""Writes the tool calls that exist as a GBNF grammar, the form that llama.cpp holds a model's output to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.reason.tool_forms import FREE_TEXT_CHARACTERS, FREE_TEXT_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.reason.tool_forms import Form, Values


def write_grammar(tools: Mapping[str, tuple[Sequence[str], Sequence[Form]]]) -> str:
    """Return a grammar whose root is exactly one call, as compact JSON: `{"tool":"SetTimer","minutes":10}`.

    Args:
        tools: By name: the order of the slots, and the sets of calls that there are.
    """
    return _Writer().write(tools)


class _Writer:
    """Collects rules; equal ones are written once."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}
        """Names by right-hand side."""

    def write(self, tools: Mapping[str, tuple[Sequence[str], Sequence[Form]]]) -> str:
        calls = [
            f"{_literal(name + chr(34))} {self._alternatives(self._form(order, form) for form in forms)}".rstrip()
            for name, (order, forms) in tools.items()
        ]
        opening = _literal('{"tool":"')
        root = f"{opening} ({' | '.join(calls)}) {_literal('}')}"
        lines = [f"root ::= {root}", *(f"{name} ::= {rule}" for rule, name in self._rules.items())]
        return "\n".join(lines) + "\n"

    def _form(self, order: Sequence[str], form: Form) -> str:
        parts = []
        for slot in order:
            if slot not in form:
                continue
            values = form[slot]
            part = f"{_literal(f',{json.dumps(slot)}:')} {self._values(values)}"
            parts.append(f"({part})?" if values.may_lack else part)
        return " ".join(parts)

    def _values(self, values: Values) -> str:
        """Return the name of the rule for the JSON of any of the values."""
        values = replace(values, may_lack=False)
        written = [json.dumps(value, ensure_ascii=False) for value in (*values.numbers, *values.listed_texts)]
        choices = [self._any_of(frozenset(written))] if written else []
        if values.is_free:
            choices.append(_FREE_TEXT)
        return self._named(" | ".join(choices))

    def _any_of(self, texts: frozenset[str]) -> str:
        """Return an expression for exactly these texts.

        Texts that go on alike after different characters share a rule, so that a range of numbers becomes a few rules
        about digits: 1 to 300 is `[1-2] (d d?)? | "3" ([0] "0"? | [1-9])? | [4-9] d?`, with `d ::= [0-9]`.
        """
        by_rest: dict[frozenset[str], list[str]] = {}
        by_first: dict[str, set[str]] = {}
        for text in texts:
            if text:
                by_first.setdefault(text[0], set()).add(text[1:])
        for first, rests in sorted(by_first.items()):
            by_rest.setdefault(frozenset(rests), []).append(first)
        expression = " | ".join(self._branch(firsts, rests) for rests, firsts in by_rest.items())
        if "" in texts and expression:
            return f"({expression})?"
        return expression

    def _branch(self, firsts: Sequence[str], rests: frozenset[str]) -> str:
        if len(rests) == 1:
            (rest,) = rests
            if len(firsts) == 1:
                return _literal(firsts[0] + rest)
            return f"{_one_of(firsts)} {_literal(rest)}".removesuffix(' ""')
        if len(firsts) > 1:
            return f"{_one_of(firsts)} {self._named(self._any_of(rests))}"
        common = _common_beginning(min(rests), max(rests))
        after = self._any_of(frozenset(rest.removeprefix(common) for rest in rests))
        return f"{_literal(firsts[0] + common)} {self._named(after)}"

    def _alternatives(self, choices: Iterable[str]) -> str:
        """Return an expression for one of the forms; an empty one says that there may be no slot at all."""
        written = list(dict.fromkeys(choices))
        some = [choice for choice in written if choice]
        if not some:
            return ""
        return f"({' | '.join(some)})" + ("?" if len(some) < len(written) else "")

    def _named(self, rule: str) -> str:
        return self._rules.setdefault(rule, f"r{len(self._rules)}")


def _common_beginning(one: str, other: str) -> str:
    """Return what both begin with; of the first and the last of sorted texts, what all of them begin with."""
    shorter = min(len(one), len(other))
    return one[: next((at for at in range(shorter) if one[at] != other[at]), shorter)]


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_of(characters: Sequence[str]) -> str:
    """Return an expression for one of the characters, which are sorted; digits as a class."""
    if not all(character.isascii() and character.isdigit() for character in characters):
        return "(" + " | ".join(_literal(character) for character in characters) + ")"
    is_run = ord(characters[-1]) - ord(characters[0]) == len(characters) - 1
    return f"[{characters[0]}-{characters[-1]}]" if is_run else f"[{''.join(characters)}]"


def _escaped_class(ranges: str) -> str:
    """Return ranges of characters as GBNF has them: what is not ASCII by its number."""
    return "".join(character if character.isascii() else f"\\u{ord(character):04X}" for character in ranges)


_CLASS = f"[{_escaped_class(FREE_TEXT_RANGES)}]"
_FREE_TEXT = f'"\\"" {_CLASS} ([ ]? {_CLASS}){{0,{FREE_TEXT_CHARACTERS - 1}}} "\\""'
