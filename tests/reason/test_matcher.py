"""From readings to intents."""

from __future__ import annotations

import pytest
from hassil.intents import Intents

from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.sampling import sample_grammar

HOME = Intents.from_dict(
    {
        "language": "en",
        "intents": {
            "SetTimer": {
                "data": [{"sentences": ["(set|start) a timer for {minutes} minute[s] [(called|named) {name}]"]}]
            },
            "Switch": {
                "data": [
                    {"sentences": ["(turn|switch) on [the] {output}"], "slots": {"to": "on"}},
                    {"sentences": ["(turn|switch) off [the] {output}"], "slots": {"to": "off"}},
                ]
            },
            "Stop": {"data": [{"sentences": ["stop"]}]},
            "Order": {"data": [{"sentences": ["bring me ([{size}];[{roast}]) coffee"]}]},
            "Note": {"data": [{"sentences": ["note down {anything}"]}]},
        },
        "lists": {
            "minutes": {"range": {"from": 1, "to": 120}},
            "output": {"values": [{"in": "[big ](lamp|light[s])", "out": "lamp"}, "fan"]},
            "name": {"values": ["tea", "egg[s]"]},
            "size": {"values": ["small", "large"]},
            "roast": {"values": ["light roast", "dark roast"]},
            "anything": {"wildcard": True},
        },
        "skip_words": ["please", "could you"],
    }
)


@pytest.fixture(scope="module")
def matcher() -> IntentMatcher:
    """A matcher of a few home intents."""
    return IntentMatcher(HOME, "en")


@pytest.mark.parametrize("text", ["set a timer for ten minutes", "Set a timer for 10 minutes!"])
def test_numbers_match_as_words_and_digits(matcher: IntentMatcher, text: str) -> None:
    """A range gives a number, however it was written."""
    match = matcher.match([text], forgiving=False)
    assert match is not None
    assert (match.intent, match.slots, match.edits) == ("SetTimer", {"minutes": 10}, 0)


def test_an_exact_reading_wins_over_a_better_ranked_forgiven_one(matcher: IntentMatcher) -> None:
    """Every reading is tried exactly before any is forgiven."""
    match = matcher.match(["turn on the fan and", "turn off the lamp"])
    assert match is not None
    assert (match.reading, match.slots, match.edits) == ("turn off the lamp", {"to": "off", "output": "lamp"}, 0)


@pytest.mark.parametrize(
    ("heard", "intent", "slots"),
    [
        ("turn on the lamp and", "Switch", {"to": "on", "output": "lamp"}),
        ("the turn on lamp", "Switch", {"to": "on", "output": "lamp"}),
        ("turn on on the big lamp", "Switch", {"to": "on", "output": "lamp"}),
        ("set timer for twenty five minutes", "SetTimer", {"minutes": 25}),
        ("set a timer for ten minutes called eggs a", "SetTimer", {"minutes": 10, "name": "eggs"}),
        ("could you the turn on the lamp please", "Switch", {"to": "on", "output": "lamp"}),
        ("me bring dark roast large coffee", "Order", {"roast": "dark roast", "size": "large"}),
    ],
)
def test_small_words_are_forgiven(matcher: IntentMatcher, heard: str, intent: str, slots: dict[str, object]) -> None:
    """A stray, doubled or missing small word does not lose the command."""
    match = matcher.match([heard])
    if heard.startswith("me bring"):
        assert match is not None
        assert (match.intent, match.slots, match.edits) == (intent, slots, 2)
        return
    assert match is not None
    assert (match.intent, match.slots) == (intent, slots)
    assert match.edits > 0
    assert matcher.match([heard], forgiving=False) is None


@pytest.mark.parametrize(
    "heard",
    [
        "turn the lamp",
        "turn on the",
        "set a timer for minutes",
        "don't turn on the lamp",
        "never stop",
        "i never turn on the lamp at night because it is too bright",
        "we talked about the lamp and the fan",
        "the the the the",
        "turn on the lamp turn off the lamp",
        "please stop worrying about your sister",
        "",
        "   ",
    ],
)
def test_what_was_not_said_is_not_guessed(matcher: IntentMatcher, heard: str) -> None:
    """No content word or slot value is put in, no negation left out, and chat stays chat."""
    assert matcher.match([heard]) is None


def test_the_reading_that_needs_least_forgiving_wins(matcher: IntentMatcher) -> None:
    """Among several readings the one nearest to a template is taken."""
    match = matcher.match(["a turn on the the fan", "turn on the the lamp"])
    assert match is not None
    assert (match.slots["output"], match.edits) == ("lamp", 1)


def test_wildcards_match_exactly_but_are_never_forgiven(matcher: IntentMatcher) -> None:
    """Free text only follows a template to the letter."""
    match = matcher.match(["note down buy some milk"])
    assert match is not None
    assert match.slots == {"anything": "buy some milk"}
    assert matcher.match(["and note down"]) is None


def test_long_nonsense_is_bounded(matcher: IntentMatcher) -> None:
    """Hundreds of words neither match nor take long."""
    assert matcher.match(["turn on the " * 300]) is None


def test_chinese_without_spaces_matches() -> None:
    """Chinese templates match text as it is written."""
    intents = Intents.from_dict(
        {
            "language": "zh",
            "settings": {"ignore_whitespace": True},
            "intents": {"SetTimer": {"data": [{"sentences": ["(设|设置)[一个]{minutes}分钟[的](计时器|闹钟)"]}]}},
            "lists": {"minutes": {"range": {"from": 1, "to": 60}}},
        }
    )
    matcher = IntentMatcher(intents, "zh")
    for text in ("设一个10分钟的计时器", "设置十分钟计时器"):
        match = matcher.match([text])
        assert match is not None
        assert match.slots == {"minutes": 10}


def test_answers_count_only_where_they_were_asked_for() -> None:
    """A time on its own is no command, exactly or forgiven; and the recognizer listens for it always."""
    blocks = [
        {"sentences": ["[for] {minutes} minutes"], "requires_context": {"asked": "duration"}},
        {"sentences": ["at {minutes}"], "requires_context": {"asked": "time"}},
    ]
    intents = Intents.from_dict(
        {
            "language": "en",
            "intents": {"Answer": {"data": blocks}, "Stop": {"data": [{"sentences": ["stop"]}]}},
            "lists": {"minutes": {"range": {"from": 1, "to": 60}}},
        }
    )
    matcher = IntentMatcher(intents, "en")
    for said in ("ten minutes", "for ten minutes and"):
        assert matcher.match([said]) is None
        assert matcher.match([said], asked="time") is None
        match = matcher.match([said], asked="duration")
        assert match is not None
        assert (match.intent, match.slots) == ("Answer", {"minutes": 10})
    stop = matcher.match(["stop"], asked="duration")
    assert stop is not None
    assert stop.intent == "Stop"
    assert any(text.startswith("for ") for text in sample_grammar(intents, "en").sentences)
