"""Joins intents files into one set of templates and checks that everything they name exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from pydantic import ValidationError

from edge_agent.config.suggest import suggest
from edge_agent.errors import ConfigError, ConfigProblem, IntentsFileError
from edge_agent.reason.intents_schema import BlockPart, FileContent, ListPart, plain_problem
from edge_agent.reason.sentence_check import (
    TemplateError,
    check_references,
    find_cycle,
    lists_of,
    matches_nothing_said,
    parse_template,
    parts,
    slots_of,
)
from edge_agent.reason.wording import Wording, WordingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hassil import Intents, Sentence
    from hassil.intents import SlotList

    from edge_agent.reason.intents_schema import ActionPart, IntentPart
    from edge_agent.reason.yaml_text import Key, YamlText

OUTPUT_LIST = "output"
"""The list that is made of the configuration's GPIO outputs."""


@dataclass(frozen=True, slots=True)
class GpioSwitch:
    """An output, by its name in the configuration, and what becomes of it."""

    output: str
    switch: Literal["on", "off", "toggle"]


@dataclass(frozen=True, slots=True)
class Action:
    """What one of the user's intents does.

    Attributes:
        replies: What is said; of several, the next one each time.
        gpio: An output to switch.
        event: Name of an event to publish with the slots.
        hint: Given, the language model answers, with this hint; the reply is for when there is no model.
    """

    replies: tuple[Wording, ...] = ()
    gpio: GpioSwitch | None = None
    event: str | None = None
    hint: Wording | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose shape is right."""

    path: Path
    content: FileContent
    text: YamlText

    @classmethod
    def check(cls, path: Path, text: YamlText) -> SourceFile:
        """Check the shape of a file.

        Raises:
            IntentsFileError: It is wrong; the first problem is named.
        """
        try:
            return cls(path, FileContent.model_validate(text.value), text)
        except ValidationError as error:
            problems = [plain_problem(entry) for entry in error.errors(include_url=False)]
            key, message = min(problems, key=lambda problem: text.line(problem[0]))
            where = f"line {text.line(key)}: {_dotted(key)}: "
            raise IntentsFileError(path, where + message) from error

    def refuse(self, key: Key, message: str) -> NoReturn:
        """Raise IntentsFileError for a key."""
        raise IntentsFileError(self.path, f"line {self.text.line(key)}: {_dotted(key)}: {message}")


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of sentences and where it stands."""

    source: SourceFile
    key: Key
    sentences: tuple[str, ...]
    slots: Mapping[str, str | int | float]

    def sentence_key(self, index: int) -> Key:
        """Where a sentence stands."""
        return (*self.key, "sentences", index)


@dataclass(slots=True)
class _Intent:
    """An intent as it is put together."""

    owner: SourceFile
    blocks: list[_Block]
    action: ActionPart | None = None


@dataclass(slots=True)
class _Rules:
    """Rules, and where each stands."""

    parsed: dict[str, Sentence] = field(default_factory=dict)
    owners: dict[str, SourceFile] = field(default_factory=dict)


class Merger:
    """Takes files in, one after the other, and gives hassil's intents and the actions."""

    def __init__(self, language: str, outputs: Mapping[str, Sequence[str]]) -> None:
        self._language = language
        self._outputs = outputs
        self._shipped: SourceFile | None = None
        self._sources: list[SourceFile] = []
        self._intents: dict[str, _Intent] = {}
        self._rules = _Rules()
        self._lists: dict[str, SlotList] = {}
        self._list_owners: dict[str, SourceFile] = {}

    def add_shipped(self, source: SourceFile) -> None:
        """Take the shipped intents in; those that need an output are left out where there is none."""
        self._shipped = source
        self.add(source)

    def add(self, source: SourceFile) -> None:
        """Take a file in.

        Raises:
            IntentsFileError: It contradicts itself or a file before it.
        """
        for name in source.content.expansion_rules:
            self._add_rule(source, name)
        for name, part in source.content.lists.items():
            self._add_list(source, name, part)
        for name, intent in source.content.intents.items():
            self._add_intent(source, name, intent)
        self._sources.append(source)

    def finish(self) -> tuple[Intents, dict[str, Action]]:
        """Check how everything hangs together and build it.

        Raises:
            IntentsFileError: A name that is used does not exist, or a template could never or would always match.
            ConfigError: Two outputs share a name.
        """
        from hassil import Intents
        from hassil.intents import Intent, IntentsSettings

        self._check_rules()
        self._lists[OUTPUT_LIST] = _output_list(self._outputs)
        self._check_lists()
        intents: dict[str, Intent] = {}
        actions: dict[str, Action] = {}
        for name, entry in self._intents.items():
            blocks, slots = self._check_sentences(entry)
            if not blocks:
                continue
            intents[name] = Intent(name, [self._data(block) for block in blocks])
            if entry.action:
                actions[name] = self._action(entry, name, slots)
        contents = [source.content for source in self._sources]
        return Intents(
            language=self._language,
            intents=intents,
            slot_lists=self._lists,
            expansion_rules=self._rules.parsed,
            skip_words=list(dict.fromkeys(word for content in contents for word in content.skip_words)),
            settings=IntentsSettings(ignore_whitespace=any(part.settings.ignore_whitespace for part in contents)),
        ), actions

    def responses(self, shipped: SourceFile, allowed: Mapping[str, frozenset[str]]) -> dict[str, tuple[Wording, ...]]:
        """The shipped responses, with those of the user's files in their place.

        Raises:
            IntentsFileError: A response's name or slot does not exist, or the shipped file lacks one.
        """
        parsed: dict[str, tuple[Wording, ...]] = {}
        users = [source for source in self._sources if source is not shipped]
        for source in (shipped, *users):
            for name, texts in source.content.responses.items():
                if name not in allowed:
                    source.refuse(("responses", name), f"there is no such response{suggest(name, allowed)}")
                parsed[name] = _wordings(source, ("responses", name), texts, allowed[name], "this response")
        if missing := allowed.keys() - parsed.keys():
            shipped.refuse(("responses",), f"lacks {', '.join(sorted(missing))}")
        return parsed

    def _add_rule(self, source: SourceFile, name: str) -> None:
        key = ("expansion_rules", name)
        text = source.content.expansion_rules[name]
        if owner := self._rules.owners.get(name):
            source.refuse(key, f"the rule <{name}> is already defined in {owner.path}; choose another name")
        try:
            self._rules.parsed[name] = parse_template(text)
        except TemplateError as error:
            source.refuse(key, f"{text!r}: {error}")
        self._rules.owners[name] = source

    def _add_list(self, source: SourceFile, name: str, part: ListPart) -> None:
        from hassil.intents import RangeSlotList, TextSlotList, WildcardSlotList

        key = ("lists", name)
        if name == OUTPUT_LIST:
            source.refuse(key, "{output} is made of the configuration's gpio.outputs; choose another name")
        known = self._lists.get(name)
        if known and not (isinstance(known, TextSlotList) and part.values is not None):
            source.refuse(
                key,
                f"{{{name}}} is already defined in {self._list_owners[name].path}, and only a list of values can be "
                "added to; choose another name",
            )
        if part.values is not None:
            values = [*_list_values(source, (*key, "values"), part)]
            self._lists[name] = TextSlotList(
                name, [*(known.values if isinstance(known, TextSlotList) else ()), *values]
            )
        elif part.range is not None:
            span = part.range
            self._lists[name] = RangeSlotList(
                name, span.start, span.stop, span.step, digits=span.digits, words=span.words
            )
        else:
            self._lists[name] = WildcardSlotList(name)
        self._list_owners.setdefault(name, source)

    def _add_intent(self, source: SourceFile, name: str, part: IntentPart) -> None:
        key = ("intents", name)
        blocks = [_Block(source, (*key, "data", index), *_fields(block)) for index, block in enumerate(part.data)]
        if part.sentences:
            blocks.insert(0, _Block(source, key, part.sentences, part.slots))
        elif part.slots:
            source.refuse((*key, "slots"), "belongs to `sentences:`; put it into the block under `data:`")
        known = self._intents.get(name)
        if known and known.owner is not self._shipped:
            source.refuse(key, f"the intent is already defined in {known.owner.path}; choose another name")
        if known and not part.action:
            known.blocks += blocks
            return
        if not part.action and source is not self._shipped:
            builtin = [shipped for shipped, intent in self._intents.items() if intent.owner is self._shipped]
            hint = suggest(name, builtin) if builtin else " (intents.builtin is false)"
            source.refuse(key, f"has no `action:`, and there is no built-in intent of that name to add to{hint}")
        self._intents[name] = _Intent(source, blocks, part.action)

    def _check_rules(self) -> None:
        rules, owners = self._rules.parsed, self._rules.owners
        for name, sentence in rules.items():
            key = ("expansion_rules", name)
            try:
                check_references(sentence.expression, [*self._lists, OUTPUT_LIST], rules)
            except TemplateError as error:
                owners[name].refuse(key, f"{sentence.text!r}: {error}")
        if cycle := find_cycle(rules):
            trail = " -> ".join(f"<{name}>" for name in cycle)
            owners[cycle[0]].refuse(("expansion_rules", cycle[0]), f"the rules refer to each other for ever: {trail}")

    def _check_lists(self) -> None:
        from hassil.intents import TextSlotList

        for name, entry in self._lists.items():
            if not isinstance(entry, TextSlotList) or name == OUTPUT_LIST:
                continue
            owner = self._list_owners[name]
            for value in entry.values:
                try:
                    check_references(value.text_in, (), self._rules.parsed)
                    if lists_of(value.text_in, self._rules.parsed):
                        raise TemplateError("a value can't refer to a list")
                except TemplateError as error:
                    owner.refuse(("lists", name), f"a value is wrong: {error}")
                if matches_nothing_said(value.text_in, self._rules.parsed):
                    owner.refuse(("lists", name), "a value is empty or has only optional parts")

    def _check_sentences(self, intent: _Intent) -> tuple[list[_Block], frozenset[str]]:
        """Return the blocks that can be said, and the slots they may fill."""
        blocks: list[_Block] = []
        slots: set[str] = set()
        rules = self._rules.parsed
        for block in intent.blocks:
            usable: list[str] = []
            for index, text in enumerate(block.sentences):
                key = block.sentence_key(index)
                try:
                    sentence = parse_template(text)
                    check_references(sentence.expression, self._lists, rules)
                    if matches_nothing_said(sentence.expression, rules):
                        raise TemplateError("every part is optional, so it would match silence")
                except TemplateError as error:
                    block.source.refuse(key, f"{text!r}: {error}")
                if not self._outputs and OUTPUT_LIST in lists_of(sentence.expression, rules):
                    if block.source is not self._shipped:
                        block.source.refuse(key, f"{text!r}: uses {{output}}, but gpio.outputs in the config is empty")
                    continue
                slots |= slots_of(sentence.expression, rules)
                usable.append(text)
            if usable:
                slots |= block.slots.keys()
                blocks.append(_Block(block.source, block.key, tuple(usable), block.slots))
        return blocks, frozenset(slots)

    def _data(self, block: _Block) -> object:
        from hassil.intents import IntentData, WildcardSlotList

        return IntentData(
            sentence_texts=list(block.sentences),
            slots=dict(block.slots),
            wildcard_list_names={name for name, part in self._lists.items() if isinstance(part, WildcardSlotList)},
        )

    def _action(self, intent: _Intent, name: str, slots: frozenset[str]) -> Action:
        part, source = intent.action, intent.owner
        key: Key = ("intents", name, "action")
        assert part is not None
        hints = _wordings(source, (*key, "llm"), [part.llm] if part.llm else (), slots, "the sentences")
        return Action(
            replies=_wordings(source, (*key, "reply"), part.reply, slots, "the sentences"),
            gpio=self._gpio(source, key, part),
            event=part.publish.event if part.publish else None,
            hint=hints[0] if hints else None,
        )

    def _gpio(self, source: SourceFile, key: Key, part: ActionPart) -> GpioSwitch | None:
        if part.gpio is None:
            return None
        called = {alias: name for name, aliases in self._outputs.items() for alias in (name, *aliases)}
        wanted = part.gpio.output
        if wanted not in called:
            there_are = ", ".join(self._outputs) or "none"
            source.refuse(
                (*key, "gpio", "output"),
                f"there is no output {wanted!r} in gpio.outputs of the config (there are: {there_are})"
                f"{suggest(wanted, called)}",
            )
        return GpioSwitch(called[wanted], part.gpio.switch)


def _fields(block: BlockPart) -> tuple[tuple[str, ...], Mapping[str, str | int | float]]:
    return block.sentences, block.slots


def _wordings(
    source: SourceFile, key: Key, texts: Iterable[str], slots: frozenset[str], owner: str
) -> tuple[Wording, ...]:
    parsed: list[Wording] = []
    for text in texts:
        try:
            wording = Wording.parse(text)
        except WordingError as error:
            source.refuse(key, f"{text!r}: {error}")
        for slot in sorted(wording.slots - slots):
            there_are = ", ".join(sorted(slots)) or "none"
            source.refuse(
                key, f"{text!r}: {owner} can't fill {{{slot}}} (there are: {there_are}){suggest(slot, slots)}"
            )
        parsed.append(wording)
    return tuple(parsed)


def _list_values(source: SourceFile, key: Key, part: ListPart) -> Iterator[object]:
    from hassil.intents import TextSlotValue
    from hassil.util import is_template

    for index, value in enumerate(part.values or ()):
        where = (*key, index)
        if not value.spoken.strip():
            source.refuse(where, "is empty")
        if not is_template(value.spoken):
            yield TextSlotValue.from_tuple((value.spoken, value.spoken if value.out is None else value.out))
            continue
        try:
            expression = parse_template(value.spoken).expression
        except TemplateError as error:
            source.refuse(where, f"{value.spoken!r}: {error}")
        # Without `out`, the slot gets what was said.
        out = None if value.out == value.spoken else value.out
        yield TextSlotValue(expression, out)


def _output_list(outputs: Mapping[str, Sequence[str]]) -> SlotList:
    from hassil.expression import TextChunk
    from hassil.intents import TextSlotList, TextSlotValue
    from hassil.util import normalize_text

    values: list[TextSlotValue] = []
    taken: dict[str, str] = {}
    for name, aliases in outputs.items():
        for called in dict.fromkeys((name, *aliases)):
            spoken = normalize_text(called.replace("_", " ")).strip().lower()
            if not spoken or taken.get(spoken, name) != name:
                problem = f"{called!r} is also a name of {taken[spoken]!r}" if spoken else "a name is empty"
                raise ConfigError([ConfigProblem(f"gpio.outputs.{name}", f"{problem}; choose another", "config")])
            if spoken not in taken:
                values.append(TextSlotValue(TextChunk(spoken), name))
            taken[spoken] = name
    return TextSlotList(OUTPUT_LIST, values)
