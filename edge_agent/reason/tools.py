"""The intents as tools: calls that a language model can make, and nothing but these."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from edge_agent.errors import ToolCallError
from edge_agent.reason.llm import CALL_OPENING
from edge_agent.reason.matcher import IntentMatch
from edge_agent.reason.tool_forms import TooManyFormsError, forms_of
from edge_agent.reason.tool_grammar import write_grammar
from edge_agent.reason.tool_prompt import call_text, write_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.reason.templates import IntentSet
    from edge_agent.reason.tool_forms import Form, SlotValue

_log = logging.getLogger(__name__)

_TOOL = "tool"
_CONVERSATIONAL = frozenset(("Stop", "NeverMind", "Repeat", "Help"))
"""What only makes sense from a person to the agent."""
_LONGEST_CALL = 1_000


class ToolBox:
    """The intents that a language model may call, with the very slots, values and combinations that can be said.

    Built once, in some 0.1 s on a desktop's core, so not on the loop; immutable from then on. Left out are the intents
    that belong to a conversation of persons (stop, repeat, help …), those that the model would answer itself, sentences
    that need a context, and slots named `tool`.

    Attributes:
        prompt: A paragraph for the system prompt; empty where there are no tools.
        grammar: GBNF whose root is one call; empty where there are no tools.
    """

    def __init__(self, intents: IntentSet) -> None:
        forms = dict(_forms(intents))
        # One order for all tools: whoever reads and writes them has less to learn.
        slots = list(dict.fromkeys(slot for sets in forms.values() for form in sets for slot in form))
        self._tools = {
            name: ([slot for slot in slots if any(slot in form for form in sets)], sets) for name, sets in forms.items()
        }
        self.prompt = write_prompt(self._tools, intents.language) if self._tools else ""
        self.grammar = write_grammar(self._tools) if self._tools else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tools, which are those of the intents."""
        return tuple(self._tools)

    def parse(self, text: str, *, reading: str | None = None) -> IntentMatch:
        """Return the intent that a call asks for, as if it had been said.

        The grammar is not relied on: all is checked again.

        Args:
            text: The model's answer, whole.
            reading: What the person said, for the match's `reading`; without it, `text`.

        Raises:
            ToolCallError: It is no call, or incomplete, or names a tool, an argument, a value or a combination that
                there is not.
        """
        named = _arguments(text)
        name = named.pop(_TOOL, None)
        if not isinstance(name, str) or name not in self._tools:
            raise ToolCallError(text, f"there is no tool {name!r}")
        order, forms = self._tools[name]
        if unknown := [slot for slot in named if slot not in order]:
            raise ToolCallError(text, f"{name} has no argument {unknown[0]!r}")
        for slot in order:
            if slot in named and all(slot not in form or form[slot].find(named[slot]) is None for form in forms):
                raise ToolCallError(text, f"{slot} can't be {named[slot]!r}")
        for form in forms:
            slots = _filled(order, form, named)
            if slots is not None:
                return IntentMatch(name, slots, call_text(name, slots), text if reading is None else reading, 0)
        together = ", ".join(named) or "no argument"
        raise ToolCallError(text, f"{name} can't be called with {together}, or not with these values together")


def _forms(intents: IntentSet) -> Iterator[tuple[str, list[Form]]]:
    """Yield the tools, and which calls there are of each."""
    for name in intents.intents.intents:
        action = intents.actions.get(name)
        if (action is None and name in _CONVERSATIONAL) or (action is not None and action.hint is not None):
            continue
        try:
            forms = forms_of(intents.intents, name, intents.language)
        except TooManyFormsError:
            _log.warning("%s combines its slots in too many ways: the language model can't call it", name)
            continue
        if forms and not any(_TOOL in form for form in forms):
            yield name, forms


def _arguments(text: str) -> dict[str, object]:
    """Return a JSON object's members."""
    if len(text) > _LONGEST_CALL:
        raise ToolCallError(text, f"is longer than {_LONGEST_CALL} characters")
    if not text.lstrip().startswith(CALL_OPENING):
        raise ToolCallError(text, "is no JSON object")
    try:
        members = json.loads(text, object_pairs_hook=_Members)
    except (ValueError, RecursionError) as error:
        raise ToolCallError(text, f"is no complete JSON ({error})") from error
    named = dict(members)
    if len(named) < len(members):
        raise ToolCallError(text, "names an argument twice")
    return named


class _Members(list[tuple[str, object]]):
    """The members of one object, doubles included; no value that a slot could take."""


def _filled(order: Sequence[str], form: Form, named: Mapping[str, object]) -> dict[str, SlotValue] | None:
    """Return the slots in their order where the call is one of `form`, else None."""
    if any(slot not in form for slot in named):
        return None
    slots: dict[str, SlotValue] = {}
    for slot in order:
        if slot not in form:
            continue
        if slot not in named:
            if not form[slot].may_lack:
                return None
            continue
        value = form[slot].find(named[slot])
        if value is None:
            return None
        slots[slot] = value
    return slots
