"""Joins intents files into one set of templates and checks that everything they name exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.config.suggest import suggest
from edge_agent.reason.action import Action, GpioSwitch
from edge_agent.reason.ask import ASKED
from edge_agent.reason.intent_lists import OUTPUT_LIST, list_values, output_list
from edge_agent.reason.responses import BUILTIN_SLOTS
from edge_agent.reason.sentence_check import RuleBook, TemplateError, check_references, find_cycle, parse_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hassil import Intents, Sentence
    from hassil.expression import Expression
    from hassil.intents import IntentData, SlotList

    from edge_agent.reason.intents_schema import ActionPart, IntentPart, ListPart
    from edge_agent.reason.intents_source import SourceFile
    from edge_agent.reason.wording import Wording
    from edge_agent.reason.yaml_text import Key


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of sentences and where it stands."""

    source: SourceFile
    key: Key
    sentences: tuple[str, ...]
    slots: Mapping[str, str | int | float]
    asked: str | None = None


@dataclass(slots=True)
class _Intent:
    """An intent as it is put together."""

    owner: SourceFile
    blocks: list[_Block]
    action: ActionPart | None = None


class Merger:
    """Takes files in, one after the other, and gives hassil's intents and the actions."""

    def __init__(self, language: str, outputs: Mapping[str, Sequence[str]]) -> None:
        self._language = language
        self._outputs = outputs
        self._shipped: SourceFile | None = None
        self._sources: list[SourceFile] = []
        self._intents: dict[str, _Intent] = {}
        self._rules: dict[str, Sentence] = {}
        self._rule_owners: dict[str, SourceFile] = {}
        self._lists: dict[str, SlotList] = {}
        self._list_owners: dict[str, SourceFile] = {}
        self._values: list[tuple[SourceFile, Key, Expression]] = []

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

        self._lists[OUTPUT_LIST] = output_list(self._outputs)
        self._check_rules()
        book = RuleBook(self._rules)
        self._check_values(book)
        intents: dict[str, Intent] = {}
        actions: dict[str, Action] = {}
        for name, entry in self._intents.items():
            blocks, slots = self._check_sentences(entry, book)
            if not blocks:
                continue
            intents[name] = Intent(name, [self._data(block) for block in blocks])
            if entry.action:
                actions[name] = self._action(entry.owner, name, entry.action, slots)
        contents = [source.content for source in self._sources]
        return Intents(
            language=self._language,
            intents=intents,
            slot_lists=self._lists,
            expansion_rules=self._rules,
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
                parsed[name] = source.wordings(("responses", name), texts, allowed[name], "this response")
        if missing := allowed.keys() - parsed.keys():
            shipped.refuse(("responses",), f"lacks {', '.join(sorted(missing))}")
        return parsed

    def _add_rule(self, source: SourceFile, name: str) -> None:
        key = ("expansion_rules", name)
        text = source.content.expansion_rules[name]
        if owner := self._rule_owners.get(name):
            source.refuse(key, f"the rule <{name}> is already defined in {owner.path}; choose another name")
        try:
            self._rules[name] = parse_template(text)
        except TemplateError as error:
            source.refuse(key, f"{text!r}: {error}")
        self._rule_owners[name] = source

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
            values = list(known.values) if isinstance(known, TextSlotList) else []
            for where, value in list_values(source, (*key, "values"), part):
                values.append(value)
                self._values.append((source, where, value.text_in))
            self._lists[name] = TextSlotList(name, values)
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
        blocks = [
            _Block(source, (*key, "data", index), block.sentences, block.slots, block.asked)
            for index, block in enumerate(part.data)
        ]
        if part.sentences:
            blocks.insert(0, _Block(source, key, part.sentences, part.slots))
        elif part.slots:
            source.refuse((*key, "slots"), "belongs to `sentences:`; put it into the block under `data:`")
        known = self._intents.get(name)
        if known and known.owner is not self._shipped:
            source.refuse(key, f"the intent is already defined in {known.owner.path}; choose another name")
        if known and not part.action:
            for block in blocks:
                _check_fixed_slots(block)
            known.blocks += blocks
            return
        if known and (adding := [block.source for block in known.blocks if block.source is not self._shipped]):
            source.refuse(key, f"has an action that would replace the sentences added in {adding[0].path}")
        if not part.action and source is not self._shipped:
            builtin = [shipped for shipped, intent in self._intents.items() if intent.owner is self._shipped]
            hint = suggest(name, builtin) if builtin else " (intents.builtin is false)"
            source.refuse(key, f"has no `action:`, and there is no built-in intent of that name to add to{hint}")
        self._intents[name] = _Intent(source, blocks, part.action)

    def _check_rules(self) -> None:
        rules, owners = self._rules, self._rule_owners
        for name, sentence in rules.items():
            try:
                check_references(sentence.expression, self._lists, rules)
            except TemplateError as error:
                owners[name].refuse(("expansion_rules", name), f"{sentence.text!r}: {error}")
        if cycle := find_cycle(rules):
            trail = " -> ".join(f"<{name}>" for name in cycle)
            owners[cycle[0]].refuse(("expansion_rules", cycle[0]), f"the rules refer to each other for ever: {trail}")

    def _check_values(self, book: RuleBook) -> None:
        for source, key, expression in self._values:
            try:
                check_references(expression, self._lists, self._rules)
            except TemplateError as error:
                source.refuse(key, str(error))
            if book.lists(expression):
                source.refuse(key, "a list's value can't refer to a list")
            if book.matches_silence(expression):
                source.refuse(key, "is empty or has only optional parts, so it would match silence")

    def _check_sentences(self, intent: _Intent, book: RuleBook) -> tuple[list[_Block], frozenset[str]]:
        """Return the blocks that can be said, and the slots they may fill."""
        blocks: list[_Block] = []
        slots: frozenset[str] = frozenset()
        for block in intent.blocks:
            expressions = [(text, self._checked(block, index, book)) for index, text in enumerate(block.sentences)]
            usable = [
                (text, part) for text, part in expressions if self._outputs or OUTPUT_LIST not in book.lists(part)
            ]
            if usable:
                slots = slots.union(block.slots, *(book.slots(part) for _, part in usable))
                blocks.append(replace(block, sentences=tuple(text for text, _ in usable)))
        return blocks, slots

    def _checked(self, block: _Block, index: int, book: RuleBook) -> Expression:
        text = block.sentences[index]
        key = (*block.key, "sentences", index)
        try:
            expression = parse_template(text).expression
            check_references(expression, self._lists, self._rules)
        except TemplateError as error:
            block.source.refuse(key, f"{text!r}: {error}")
        if book.matches_silence(expression):
            block.source.refuse(key, f"{text!r}: every part is optional, so it would match silence")
        if not self._outputs and block.source is not self._shipped and OUTPUT_LIST in book.lists(expression):
            block.source.refuse(key, f"{text!r}: there is no {{output}}, as gpio.outputs in the config is empty")
        return expression

    def _data(self, block: _Block) -> IntentData:
        from hassil.intents import IntentData, WildcardSlotList

        return IntentData(
            sentence_texts=list(block.sentences),
            slots=dict(block.slots),
            requires_context={ASKED: block.asked} if block.asked else {},
            wildcard_list_names={name for name, part in self._lists.items() if isinstance(part, WildcardSlotList)},
        )

    def _action(self, source: SourceFile, name: str, part: ActionPart, slots: frozenset[str]) -> Action:
        key = ("intents", name, "action")
        hints = source.wordings((*key, "llm"), [part.llm] if part.llm else (), slots, "the sentences")
        return Action(
            replies=source.wordings((*key, "reply"), part.reply, slots, "the sentences"),
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


def _check_fixed_slots(block: _Block) -> None:
    """Refuse a value that a built-in intent can't understand."""
    for slot, value in block.slots.items():
        key = (*block.key, "slots", slot)
        allowed = BUILTIN_SLOTS.get(slot)
        if allowed is not None and value not in allowed:
            block.source.refuse(key, f"must be {' or '.join(sorted(allowed))}, not {value!r}")
        if allowed is None and slot in BUILTIN_SLOTS and isinstance(value, str):
            block.source.refuse(key, f"must be a number, not {value!r}")
