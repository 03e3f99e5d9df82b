"""Reads from intent templates which slots an intent can have together, and which values each of them can take."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hassil.expression import Alternative, Group, ListReference, RuleReference
from hassil.intents import RangeSlotList, TextSlotList, WildcardSlotList

from edge_agent.reason.sampling import Template, templates_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hassil.expression import Expression
    from hassil.intents import IntentData, Intents, SlotList

    SlotValue = str | int | float

FREE_TEXT_CHARACTERS = 24
"""The longest text that a wildcard takes, spaces not counted."""
FREE_TEXT_RANGES = "!#-;=?-Z^-z\u00a1-\ud7ff\ue000-\ufffc"
"""What such a text is made of, as ranges of characters, beside single spaces inside. Quotes, brackets and
backslashes are not in it, nor what takes four bytes: llama.cpp lets bytes pass there that are no character."""
_FREE_TEXT = re.compile(f"[{FREE_TEXT_RANGES}\ufffd](?: ?[{FREE_TEXT_RANGES}\ufffd])*")
_BYTES_PER_CHARACTER = 3
"""Bytes that are no character become as many replacement characters."""
_MOST_FORMS = 256
_MOST_EXPANSIONS = 1_000


class TooManyFormsError(ValueError):
    """The templates of an intent combine its slots in too many ways."""


@dataclass(frozen=True, slots=True)
class Values:
    """What one slot can take.

    Attributes:
        is_free: Any short text, too.
        may_lack: The slot may be left out.
    """

    numbers: frozenset[int | float] = frozenset()
    texts: frozenset[str] = frozenset()
    is_free: bool = False
    may_lack: bool = False

    def __or__(self, other: Values) -> Values:
        return Values(
            self.numbers | other.numbers,
            self.texts | other.texts,
            self.is_free or other.is_free,
            self.may_lack or other.may_lack,
        )

    @property
    def listed_texts(self) -> frozenset[str]:
        """The texts that are not free ones anyway."""
        return frozenset(text for text in self.texts if not is_free_text(text)) if self.is_free else self.texts

    def holds(self, other: Values) -> bool:
        """Tell whether all that `other` can take is in it."""
        return self | other == self

    def find(self, value: object) -> SlotValue | None:
        """Return `value` as the templates have it; None where the slot can't take it."""
        if isinstance(value, str):
            text = value.strip()
            if value in self.texts:
                return value
            return text if self.is_free and is_free_text(text) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return next((number for number in self.numbers if number == value), None)


_LACKS = Values(may_lack=True)

Form = dict[str, Values]
"""A set of calls: each slot takes any of its values, whatever the others take; a slot that is not named is lacking."""


def is_free_text(text: str) -> bool:
    """Tell whether a wildcard takes `text`."""
    is_short = len(text.replace(" ", "")) <= _BYTES_PER_CHARACTER * FREE_TEXT_CHARACTERS
    return is_short and _FREE_TEXT.fullmatch(text) is not None


def forms_of(intents: Intents, name: str, language: str) -> list[Form]:
    """Return the calls that the templates of the intent `name` allow, all of them and no others, as few sets.

    Sentences that need a context are left out, and so are those with a list that is empty. Where a sentence fills a
    slot twice, the later value counts, as in matching.

    Raises:
        TooManyFormsError: There are more than 256 sets.
    """
    forms: list[Form] = []
    for data in intents.intents[name].data:
        if not data.requires_context:
            forms = _merged([*forms, *_block(intents, data, language)])
    return forms


def _block(intents: Intents, data: IntentData, language: str) -> Iterator[Form]:
    fixed = {slot: _values([value]) for slot, value in data.slots.items()}
    for template in templates_of(intents, data, language):
        for form in _Reader(template).forms(template.root):
            yield _joined(fixed, form)


class _Reader:
    """Reads one template."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def forms(self, node: Expression) -> list[Form]:
        """Return what can be filled by saying `node`; an empty list where it can't be said."""
        if isinstance(node, ListReference):
            values = self._list(node)
            return [] if values == Values() else [{node.slot_name: values}]
        if isinstance(node, Alternative):
            return _merged(form for item in node.items for form in self.forms(item))
        parts: Iterable[Expression] = ()
        if isinstance(node, Group):
            parts = node.items
        elif isinstance(node, RuleReference):
            parts = self._template.children(node)
        forms: list[Form] = [{}]
        for part in parts:
            after = self.forms(part)
            if after != [{}]:
                forms = _merged(_joined(one, other) for one in forms for other in after)
        return forms

    def _list(self, reference: ListReference) -> Values:
        if inline := reference.get_inline_range():
            start, stop, step = inline
            return _values(range(start, stop + 1, step))
        slot_list: SlotList | None = self._template.lists.get(reference.list_name)
        if isinstance(slot_list, WildcardSlotList):
            return Values(is_free=True)
        if isinstance(slot_list, RangeSlotList):
            numbers = slot_list.get_numbers()
            return _values(number * slot_list.multiplier if slot_list.multiplier else number for number in numbers)
        return _values(self._listed(slot_list)) if isinstance(slot_list, TextSlotList) else Values()

    def _listed(self, slot_list: TextSlotList) -> Iterator[SlotValue]:
        template = self._template
        for entry in slot_list.values:
            if entry.value_out is not None:
                yield entry.value_out
                continue
            # Without `out`, the slot gets what was said.
            part = Template(entry.text_in, template.lists, template.rules, template.language)
            if part.size <= _MOST_EXPANSIONS:
                yield from part.expansions()


def _values(values: Iterable[SlotValue]) -> Values:
    listed = list(values)
    return Values(
        frozenset(value for value in listed if not isinstance(value, str)),
        frozenset(value for value in listed if isinstance(value, str)),
    )


def _joined(one: Mapping[str, Values], other: Mapping[str, Values]) -> Form:
    """Return what saying `one` and then `other` fills."""
    form = dict(one)
    for slot, values in other.items():
        before = one.get(slot, _LACKS)
        form[slot] = replace(values | before, may_lack=before.may_lack) if values.may_lack else values
    return form


def _merged(forms: Iterable[Form]) -> list[Form]:
    """Return the same calls as fewer sets: two that differ in one slot alone are one."""
    merged: list[Form] = []
    for count, new in enumerate(forms):
        if count > _MOST_FORMS**2:
            raise TooManyFormsError
        form: Form | None = new
        while form is not None:
            form = _absorb(merged, form)
        if len(merged) > _MOST_FORMS:
            raise TooManyFormsError
    return merged


def _absorb(forms: list[Form], new: Form) -> Form | None:
    """Add `new` to `forms`; where it became one with another, take that out and return what they are together."""
    for at, form in enumerate(forms):
        slots = {**form, **new}
        different = [slot for slot in slots if form.get(slot, _LACKS) != new.get(slot, _LACKS)]
        if all(form.get(slot, _LACKS).holds(new.get(slot, _LACKS)) for slot in different):
            return None
        if all(new.get(slot, _LACKS).holds(form.get(slot, _LACKS)) for slot in different):
            del forms[at]
            return new
        if len(different) == 1:
            slot = different[0]
            del forms[at]
            return {
                name: slots[name] if name != slot else form.get(slot, _LACKS) | new.get(slot, _LACKS) for name in slots
            }
    forms.append(new)
    return None
