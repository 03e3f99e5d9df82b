"""Tells a language model which tools there are, in as few tokens as it takes: a Raspberry Pi reads some 30 a second."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.reason.tool_forms import Form, SlotValue, Values

_LISTED_VALUES = 6
"""Of a longer list only so many are told, and that there are more: the grammar knows the others."""
_HANDY = 10
"""The number in an example, where it is one of the values."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The sentences around the list of tools."""

    opening: str
    values: str
    examples: str
    text: str


_WORDS = {
    "en": _Words(
        opening="You can act with tools. To use one, answer with a single JSON call and nothing else. "
        "Tools and the arguments they may have:",
        values="Values: ",
        examples="For example: ",
        text="any short text",
    ),
    "zh": _Words(
        opening="你可以使用工具。要使用时，只回答一个 JSON 调用，不要写别的。工具和可用的参数：",
        values="取值：",
        examples="例如：",
        text="任意短文本",
    ),
}


def write_prompt(tools: Mapping[str, tuple[Sequence[str], Sequence[Form]]], language: str) -> str:
    """Return a paragraph for the system prompt: the tools with their arguments, the arguments' values, and examples.

    Tools with the same arguments share a line, and so do arguments with the same values, which are told at their
    widest: what a tool takes of them, and what goes together, the grammar sees to. The text is in `language` where
    that is known, else in English; names of tools and arguments are those of the templates.

    Args:
        tools: By name: the order of the slots, and the sets of calls that there are.
        language: ISO 639 code.
    """
    words = _WORDS.get(language, _WORDS["en"])
    values = {name: _all_values(order, forms) for name, (order, forms) in tools.items()}
    shared: dict[str, Values] = {}
    for held_by_tool in values.values():
        for slot, held in held_by_tool.items():
            if slot not in shared or held.holds(shared[slot]):
                shared[slot] = held
    names: dict[str, list[str]] = {}
    for name, held_by_tool in values.items():
        arguments = (
            slot if shared[slot].holds(held) else f"{slot}={_told(held, words)}" for slot, held in held_by_tool.items()
        )
        names.setdefault(" ".join(arguments), []).append(name)
    lines = [words.opening]
    lines += [
        f"{', '.join(alike)}: {arguments}" if arguments else ", ".join(alike) for arguments, alike in names.items()
    ]
    alike_slots: dict[str, list[str]] = {}
    for slot, held in shared.items():
        alike_slots.setdefault(_told(held, words), []).append(slot)
    if shared:
        lines.append(words.values + "; ".join(f"{' '.join(slots)}={told}" for told, slots in alike_slots.items()))
    if examples := _examples(tools):
        lines.append(words.examples + " ".join(examples))
    return "\n".join(lines)


def call_text(tool: str, slots: Mapping[str, SlotValue]) -> str:
    """Return a call as the grammar writes it."""
    return json.dumps({"tool": tool, **slots}, ensure_ascii=False, separators=(",", ":"))


def _all_values(order: Sequence[str], forms: Sequence[Form]) -> dict[str, Values]:
    """Return what each slot can take in any of the forms."""
    found: dict[str, Values] = {}
    for slot in order:
        for form in forms:
            if slot in form:
                held = replace(form[slot], may_lack=False)
                found[slot] = found[slot] | held if slot in found else held
    return found


def _told(values: Values, words: _Words) -> str:
    texts = [words.text] if values.is_free else _shortened(sorted(values.texts))
    return "|".join([*_told_numbers(values), *texts])


def _told_numbers(values: Values) -> list[str]:
    numbers = sorted(values.numbers)
    if not numbers:
        return []
    is_run = all(isinstance(number, int) for number in numbers) and numbers[-1] - numbers[0] == len(numbers) - 1
    if is_run and len(numbers) > 2:  # noqa: PLR2004 - two numbers are told sooner than their range
        return [f"{numbers[0]}..{numbers[-1]}"]
    return _shortened([json.dumps(number) for number in numbers])


def _shortened(choices: list[str]) -> list[str]:
    return choices if len(choices) <= _LISTED_VALUES else [*choices[:_LISTED_VALUES], "…"]


def _examples(tools: Mapping[str, tuple[Sequence[str], Sequence[Form]]]) -> list[str]:
    """Return a call with a number and one with a text, as far as there are such."""
    numeric: list[str] = []
    textual: list[str] = []
    for name, (order, forms) in tools.items():
        needed = [(form, slots) for form in forms if (slots := _needed(order, form))]
        if not needed:
            continue
        # The fewest arguments; of equal ones those with the most values, which people use most.
        form, slots = min(needed, key=lambda one: (len(one[1]), -sum(len(one[0][slot].numbers) for slot in one[1])))
        text = call_text(name, {slot: _handy(form[slot]) for slot in slots})
        (numeric if any(form[slot].numbers for slot in slots) else textual).append(text)
    return [*numeric[:1], *textual[:1]]


def _needed(order: Sequence[str], form: Form) -> list[str]:
    """Return the slots without which a call is none of `form`; where there are none such, one that it may have."""
    possible = [slot for slot in order if slot in form and (form[slot].numbers or form[slot].texts)]
    return [slot for slot in order if slot in form and not form[slot].may_lack] or possible[:1]


def _handy(values: Values) -> SlotValue:
    if values.numbers:
        return _HANDY if _HANDY in values.numbers else min(values.numbers)
    return min(values.texts) if values.texts else "…"
