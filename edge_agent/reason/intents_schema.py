"""The shape of an intents file. What its parts mean to each other is checked in `templates`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.suggest import suggest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MAX_NUMBERS = 10_000


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _slot_value(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise PydanticCustomError("slot_value", "must be text or a number", {})
    return value


SlotValue = Annotated[str | int | float, PlainValidator(_slot_value)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]
Sentences = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]


class FilePart(BaseModel):
    """Frozen; refuses unknown keys with a guess at what was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: object) -> object:
        if isinstance(data, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in known:
                    hint = suggest(key, known) or f"; there are: {', '.join(known)}"
                    raise PydanticCustomError("unknown_key", "unknown key{hint}", {"key": key, "hint": hint})
        return data


class GpioAction(FilePart):
    """Switch an output of the configuration."""

    output: str
    switch: Literal["on", "off", "toggle"]


class PublishAction(FilePart):
    """Publish an event with the slots."""

    event: str = Field(pattern=r"^[a-z0-9_]{1,64}$")


def _event(value: object) -> object:
    return {"event": value} if isinstance(value, str) else value


class ActionPart(FilePart):
    """What happens when an intent was understood."""

    reply: Texts = ()
    gpio: GpioAction | None = None
    publish: Annotated[PublishAction | None, BeforeValidator(_event)] = None
    llm: str | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.reply or self.gpio or self.publish or self.llm):
            raise PydanticCustomError("empty_action", "does nothing; give it reply, gpio, publish or llm", {})
        return self


class BlockPart(FilePart):
    """Sentences that share fixed slots, and may only count as the answer to a question."""

    sentences: Sentences
    slots: dict[Name, SlotValue] = {}
    asked: Literal["duration", "time"] | None = None


class IntentPart(FilePart):
    """One intent: its sentences, in one block or several, and its action."""

    sentences: Texts = ()
    slots: dict[Name, SlotValue] = {}
    data: tuple[BlockPart, ...] = ()
    action: ActionPart | None = None

    @model_validator(mode="after")
    def _has_sentences(self) -> Self:
        if not self.sentences and not self.data:
            raise PydanticCustomError("no_sentences", "has no sentences; add `sentences:`", {})
        return self


class ValuePart(FilePart):
    """A list's value whose slot value is not the text itself."""

    spoken: str = Field(alias="in", min_length=1)
    out: SlotValue | None = None


def _listed_value(value: object) -> object:
    return value if isinstance(value, dict) else {"in": str(value), "out": _slot_value(value)}


class RangePart(FilePart):
    """Whole numbers, said as words or typed as digits."""

    start: int = Field(alias="from")
    stop: int = Field(alias="to")
    step: int = Field(1, ge=1)
    digits: bool = True
    words: bool = True

    @model_validator(mode="after")
    def _in_bounds(self) -> Self:
        if self.start > self.stop:
            raise PydanticCustomError("range_order", "`from` is greater than `to`", {})
        if (self.stop - self.start) // self.step >= _MAX_NUMBERS:
            raise PydanticCustomError("range_size", f"holds more than {_MAX_NUMBERS} numbers", {})
        if not (self.digits or self.words):
            raise PydanticCustomError("range_empty", "digits and words can't both be false", {})
        return self


class ListPart(FilePart):
    """Values for a slot: exactly one of a list of texts, a range of numbers, or anything at all."""

    values: tuple[Annotated[ValuePart, BeforeValidator(_listed_value)], ...] | None = None
    range: RangePart | None = None
    wildcard: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.values, self.range, self.wildcard)) != 1:
            raise PydanticCustomError("list_kind", "needs exactly one of values, range or `wildcard: true`", {})
        return self


class SettingsPart(FilePart):
    """Properties of the language."""

    ignore_whitespace: bool = False


class FileContent(FilePart):
    """A whole intents file."""

    language: str | None = None
    settings: SettingsPart = SettingsPart()
    intents: dict[Name, IntentPart] = {}
    lists: dict[Name, ListPart] = {}
    expansion_rules: dict[Name, str] = {}
    skip_words: Texts = ()
    responses: dict[str, Sentences] = {}


_PYDANTIC_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def plain_problem(error: ErrorDetails) -> tuple[tuple[str | int, ...], str]:
    """The key and the words for one of pydantic's error entries."""
    kind, key = error["type"], error["loc"]
    if key[-1:] == ("[key]",):
        return key[:-1], "a name is made of letters, digits and _, and begins with a letter"
    if kind == "unknown_key":
        return (*key, error["ctx"]["key"]), error["msg"]
    if kind == "string_pattern_mismatch":
        return key, f"{error['input']!r} must be made of a-z, 0-9 and _ (at most 64)"
    if kind == "literal_error":
        return key, f"must be {error['ctx']['expected']}"
    return key, _PYDANTIC_WORDS.get(kind, error["msg"])
