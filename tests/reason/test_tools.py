"""Intents as tools: what a language model may call is what can be said, no more and no less."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path

import pytest
from hassil.expression import Alternative, Group, ListReference, RuleReference, TextChunk
from hassil.intents import RangeSlotList, TextSlotList, WildcardSlotList
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ToolCallError
from edge_agent.reason.intents_merge import Merger
from edge_agent.reason.intents_source import SourceFile
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.sampling import Template, sample_grammar, templates_of
from edge_agent.reason.templates import IntentSet, load_intents
from edge_agent.reason.tool_forms import FREE_TEXT_CHARACTERS, Values, forms_of, is_free_text
from edge_agent.reason.tool_prompt import call_text
from edge_agent.reason.tools import ToolBox
from edge_agent.reason.wordforms import number_words, spoken
from edge_agent.reason.yaml_text import parse_yaml

_COFFEE = Path(__file__).parents[1] / "data" / "coffee.yaml"
_OUTPUTS = {"lamp": ["light"], "big fan": []}
_CONVERSATIONAL = {"Stop", "NeverMind", "Repeat", "Help"}
Slots = dict[str, str | int | float]


@cache
def builtin(language: str = "en") -> IntentSet:
    """The shipped intents and those of the coffee bar."""
    return load_intents(language, builtin=True, paths=[_COFFEE], outputs=_OUTPUTS)


@cache
def box(language: str = "en") -> ToolBox:
    """Their tools."""
    return ToolBox(builtin(language))


@cache
def matcher_of(language: str) -> IntentMatcher:
    """What understands their sentences."""
    return IntentMatcher(builtin(language).intents, language)


def own(text: str) -> IntentSet:
    """Intents of one file alone."""
    merger = Merger("en", {})
    merger.add(SourceFile.check(Path("own.yaml"), parse_yaml(text)))
    intents, actions = merger.finish()
    return IntentSet("en", intents, actions, {})


def drawn_calls(language: str, name: str, count: int) -> list[Slots]:
    """Draw calls of a tool: any of its forms, and any of their values."""
    generator = random.Random(f"{language} {name}")
    forms = forms_of(builtin(language).intents, name, language)
    calls: list[Slots] = []
    for _ in range(count):
        slots: Slots = {}
        for slot, values in generator.choice(forms).items():
            if values.may_lack and generator.random() < 0.5:
                continue
            choices = [*sorted(values.numbers), *sorted(values.texts), *(["sourdough"] if values.is_free else [])]
            slots[slot] = generator.choice(choices)
        calls.append(slots)
    return calls


class Witness:
    """Finds a sentence that fills just the given slots, by saying a template's every part; knows nothing of forms."""

    def __init__(self, template: Template, fixed: Slots, wanted: Slots) -> None:
        self._template = template
        self._fixed = fixed
        self._wanted = wanted

    def sentences(self) -> list[str]:
        """Return a sentence for each way that the templates fill the slots."""
        said = self._said(self._template.root).items()
        return [spoken(text, self._template.language) for slots, text in said if self._is_wanted(dict(slots))]

    def _is_wanted(self, slots: Slots) -> bool:
        return {**self._fixed, **slots} == self._wanted

    def _said(self, node: object) -> dict[tuple[tuple[str, str | int | float], ...], str]:
        """Return a text by what it fills, in the order in which it is said."""
        if isinstance(node, TextChunk):
            return {(): node.original_text}
        if isinstance(node, ListReference):
            return self._of_list(node)
        if isinstance(node, Alternative):
            return {slots: text for item in reversed(node.items) for slots, text in self._said(item).items()}
        parts = node.items if isinstance(node, Group) else [self._template.rules[self._rule(node)].expression]
        said: dict[tuple[tuple[str, str | int | float], ...], str] = {(): ""}
        for part in parts:
            said = {
                (*slots, *more): f"{text}{after}"
                for slots, text in said.items()
                for more, after in self._said(part).items()
                if len(slots) + len(more) <= 8
            }
        return said

    def _of_list(self, node: ListReference) -> dict[tuple[tuple[str, str | int | float], ...], str]:
        listed = self._template.lists.get(node.list_name)
        said: dict[tuple[tuple[str, str | int | float], ...], str] = {}
        wanted = self._wanted.get(node.slot_name)
        # A slot that is filled twice keeps the later value, so that the earlier one may be any.
        if isinstance(listed, RangeSlotList) and isinstance(wanted, int):
            if listed.start <= wanted <= listed.stop:
                said[(node.slot_name, wanted),] = f" {number_words(wanted, self._template.language)} "
        elif isinstance(listed, WildcardSlotList) and isinstance(wanted, str):
            said[(node.slot_name, wanted),] = wanted
        elif isinstance(listed, TextSlotList):
            for value in listed.values:
                part = Template(value.text_in, {}, self._template.rules, self._template.language)
                assert part.size
                for text in part.expansions():
                    out = text if value.value_out is None else value.value_out
                    if out == wanted:
                        said[(node.slot_name, out),] = text
        return said

    def _rule(self, node: object) -> str:
        assert isinstance(node, RuleReference)
        return node.rule_name


def witnesses(intents: IntentSet, name: str, slots: Slots) -> list[str]:
    """Return sentences of the intent that fill just `slots`."""
    return [
        sentence
        for data in intents.intents.intents[name].data
        if not data.requires_context
        for template in templates_of(intents.intents, data, intents.language)
        for sentence in Witness(template, dict(data.slots), slots).sentences()
    ]


@pytest.mark.parametrize(
    ("language", "name"), [(language, n) for language in ("en", "zh") for n in box(language).names]
)
def test_what_can_be_called_can_be_said(language: str, name: str) -> None:
    """For each drawn call there is a sentence that the matcher understands as just this call."""
    matcher = matcher_of(language)
    for slots in drawn_calls(language, name, 12):
        parsed = box(language).parse(call_text(name, slots))
        assert (parsed.intent, parsed.slots) == (name, slots)
        found = witnesses(builtin(language), name, slots)
        assert found, slots
        matches = [matcher.match([sentence], forgiving=False) for sentence in found]
        assert any(match is not None and (match.intent, match.slots) == (name, slots) for match in matches), found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_can_be_said_can_be_called(language: str) -> None:
    """Sentences drawn from the templates, as the matcher understands them; but for those between persons."""
    matcher = matcher_of(language)
    called = set()
    sentences = sample_grammar(builtin(language).intents, language, limit=3000).sentences
    for sentence in random.Random(1).sample(sentences, 300):
        match = matcher.match([sentence], forgiving=False)
        if match is None or match.intent not in box(language).names:
            continue
        call = call_text(match.intent, match.slots)
        parsed = box(language).parse(call, reading=sentence)
        assert (parsed.intent, parsed.slots, parsed.reading, parsed.edits) == (match.intent, match.slots, sentence, 0)
        called.add(match.intent)
    assert len(called) > 8


def test_what_belongs_to_a_conversation_is_no_tool() -> None:
    """Nor is what the model would answer itself; all else is."""
    intents = builtin()
    names = set(box().names)
    assert not names & _CONVERSATIONAL
    assert {"GetTime", "SetTimer", "SwitchOutput", "orderDrink"} <= names
    needless = {n for n, i in intents.intents.intents.items() if all(data.requires_context for data in i.data)}
    assert set(intents.intents.intents) == names | _CONVERSATIONAL | needless
    poem = own("intents: {Poem: {sentences: [a poem], action: {llm: Answer with a poem.}}}")
    assert (ToolBox(poem).names, ToolBox(poem).prompt, ToolBox(poem).grammar) == ((), "", "")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("", "no JSON object"),
        ("It is ten.", "no JSON object"),
        ('["GetTime"]', "no JSON object"),
        ('{"tool":"SetTimer","minutes":1', "no complete JSON"),
        ('{"tool":"GetTime"} {"tool":"GetTime"}', "no complete JSON"),
        ("{" * 900, "no complete JSON"),
        ('{"tool":' + "[" * 900, "no complete JSON"),
        ('{"tool":"SetTimer","minutes":' + "1" * 2000, "longer than"),
        ("{}", "no tool None"),
        ('{"tool":7}', "no tool 7"),
        ('{"tool":"Stop"}', "no tool 'Stop'"),
        ('{"tool":"settimer","minutes":5}', "no tool 'settimer'"),
        ('{"tool":"GetTime","minutes":5}', "no argument 'minutes'"),
        ('{"tool":"SetTimer","minutes":5,"minutes":6}', "twice"),
        ('{"tool":"SetTimer","minutes":0}', "minutes can't be 0"),
        ('{"tool":"SetTimer","minutes":301}', "minutes can't be 301"),
        ('{"tool":"SetTimer","minutes":5.5}', "minutes can't be 5.5"),
        ('{"tool":"SetTimer","minutes":true}', "minutes can't be True"),
        ('{"tool":"SetTimer","minutes":null}', "minutes can't be None"),
        ('{"tool":"SetTimer","minutes":NaN}', "minutes can't be nan"),
        ('{"tool":"SetTimer","minutes":"5"}', "minutes can't be '5'"),
        ('{"tool":"SetTimer","minutes":{"a":5}}', "minutes can't be"),
        ('{"tool":"SetTimer","minutes":5,"timer_name":" "}', "timer_name can't be ' '"),
        ('{"tool":"SetTimer","minutes":5,"timer_name":"a{b}"}', "timer_name can't be"),
        ('{"tool":"PauseTimer","timer_name":"sourdough"}', "timer_name can't be 'sourdough'"),
        ('{"tool":"CancelTimer","scope":"all","minutes":5}', "can't be called with scope, minutes"),
        ('{"tool":"SetTimer","hours":1,"minutes":2,"seconds":3}', "not with these values together"),
        ('{"tool":"SetVolume"}', "can't be called with no argument"),
        ('{"tool":"SwitchOutput","switch":"on"}', "can't be called with switch"),
    ],
)
def test_a_wrong_call_is_refused(call: str, reason: str) -> None:
    """With one line that says what is wrong with it."""
    with pytest.raises(ToolCallError) as caught:
        box().parse(call)
    assert reason in caught.value.reason
    assert "\n" not in str(caught.value)
    assert caught.value.call == call


@pytest.mark.parametrize(
    ("call", "slots"),
    [
        ('{"tool":"SetTimer"}', {}),
        ('{"tool":"SetTimer","minutes":10}', {"minutes": 10}),
        (' { "minutes": 10.0, "tool": "SetTimer", "hours": 1 }\n', {"hours": 1, "minutes": 10}),
        (
            '{"tool":"SetTimer","seconds":300,"timer_name":" Bread for Tim "}',
            {"seconds": 300, "timer_name": "Bread for Tim"},
        ),
        ('{"tool":"SwitchOutput","output":"big fan","switch":"off"}', {"switch": "off", "output": "big fan"}),
    ],
)
def test_a_good_call_is_an_intent(call: str, slots: Slots) -> None:
    """Its slots in their order, with the templates' own values, whatever the JSON looks like."""
    match = box().parse(call)
    assert list(match.slots.items()) == list(slots.items())
    assert all(type(value) is type(slots[slot]) for slot, value in match.slots.items())
    assert match.reading == call
    assert json.loads(match.text) == {"tool": match.intent, **slots}


def test_the_calls_in_the_documentation_exist() -> None:
    """Every one that docs/tools.md shows, in the agent's language."""
    text = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
    calls = re.findall(r'\{"tool":.*?\}', text)
    assert len(calls) >= 3
    for call in calls:
        assert box().parse(call).text == call
    [name] = re.findall(r'"timer_name":"(\w+)"', text)
    assert box("zh").parse(call_text("SetTimer", {"timer_name": name})).slots == {"timer_name": name}


@given(st.text(max_size=40))
def test_no_text_ends_the_agent(text: str) -> None:
    """Whatever a model says is a call or refused."""
    for call in (text, '{"tool":' + text, json.dumps({"tool": "SetTimer", "minutes": 5, "timer_name": text})):
        try:
            match = box().parse(call)
        except ToolCallError:
            continue
        assert is_free_text(str(match.slots.get("timer_name", "x")))


def test_slots_that_exclude_each_other_are_never_together() -> None:
    """Alternatives, optional parts, fixed slots and slots that are filled twice."""
    intents = own(
        """
intents:
  Mix:
    action: {reply: ok}
    data:
      - sentences: ["mix ({a}|{b} [{c}])", "stir {a} then {b:a}"]
      - slots: {c: 9}
        sentences: ["blend [{a}]"]
lists:
  a: {range: {from: 1, to: 20, step: 5}}
  b: {values: [x, {in: "y[es]", out: y}]}
  c: {values: ["[very] hot"]}
"""
    )
    mix = ToolBox(intents)
    good: list[Slots] = [{"a": 6}, {"a": "y"}, {"b": "x"}, {"b": "y", "c": "very hot"}, {"c": 9}, {"a": 16, "c": 9}]
    for slots in good:
        assert mix.parse(call_text("Mix", slots)).slots == slots
    bad: list[Slots] = [{}, {"a": 5}, {"a": 1, "b": "x"}, {"c": "hot"}, {"a": "x", "c": 9}, {"b": "x", "c": 9}]
    for slots in bad:
        with pytest.raises(ToolCallError):
            mix.parse(call_text("Mix", slots))


def test_a_list_without_values_takes_its_sentences_with_it() -> None:
    """No output is configured: nothing can be switched."""
    intents = load_intents("en", builtin=True, paths=[], outputs={})
    assert "SwitchOutput" not in ToolBox(intents).names
    assert "SetTimer" in ToolBox(intents).names


def test_too_many_combinations_are_no_tool() -> None:
    """Sixty alternatives of pairs that do not merge, twice over: left out, and the others stay."""
    pairs = "|".join(f"{{a:s{number}}} {{a:t{number}}}" for number in range(300))
    intents = own(
        f"intents: {{Wide: {{sentences: ['go ({pairs})'], action: {{reply: ok}}}},"
        " Small: {sentences: [stay], action: {reply: ok}}}\nlists: {a: {values: [x, y]}}"
    )
    assert ToolBox(intents).names == ("Small",)


def test_the_prompt_names_every_tool_and_argument() -> None:
    """In few words, with calls that exist."""
    toolbox = ToolBox(load_intents("en", builtin=True, paths=[], outputs=_OUTPUTS))
    prompt = toolbox.prompt
    for name in toolbox.names:
        assert name in prompt
    for part in ("minutes seconds=1..300", "=any short text", "switch=off|on|toggle", "output=big fan|lamp"):
        assert part in prompt
    examples = [part for part in prompt.splitlines()[-1].replace("} {", "}\n{").partition(": ")[2].splitlines() if part]
    assert len(examples) == 2
    for example in examples:
        assert toolbox.parse(example).text == example
    assert "工具" in box("zh").prompt
    assert "SetTimer" in box("zh").prompt


def test_long_lists_are_shortened_in_the_prompt_alone() -> None:
    """A hundred values cost the model nothing to know of, and all can be called."""
    values = ", ".join(f"thing{number}" for number in range(100))
    intents = "intents: {Get: {sentences: ['get {t}'], action: {reply: ok}}}"
    things = ToolBox(own(f"{intents}\nlists: {{t: {{values: [{values}]}}}}"))
    assert things.prompt.count("thing") < 15
    assert "…" in things.prompt
    for number in range(100):
        assert things.parse(call_text("Get", {"t": f"thing{number}"})).slots == {"t": f"thing{number}"}


def test_free_text_is_short_and_plain() -> None:
    """No quotes, brackets or control characters, nor white space in front."""
    assert is_free_text("Grandma's café at 5")
    assert is_free_text("面条")
    assert is_free_text("x" * FREE_TEXT_CHARACTERS)
    for text in ("", " a", "a ", "a  b", 'a"b', "a\nb", "<s>", "a{b", "\\", "x" * 100):
        assert not is_free_text(text)


def test_values_join() -> None:
    """The larger holds the smaller; whole numbers are not told apart by how they are written, truth values are none."""
    small, large = Values(frozenset((1, 2.5))), Values(frozenset((1, 2.5, 3)), frozenset(("a",)), is_free=True)
    assert large.holds(small)
    assert not small.holds(large)
    assert (small.find(1.0), small.find(2.5), small.find(True), small.find(3)) == (1, 2.5, None, None)  # noqa: FBT003
    assert (large.find("a"), large.find(" b "), small.find("a")) == ("a", "b", None)
