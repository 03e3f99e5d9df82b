"""Whether more words will follow."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hassil.intents import Intents

from edge_agent.events import Completeness, Transcript
from edge_agent.reason.ask import ANSWERS
from edge_agent.reason.automaton import Automaton
from edge_agent.reason.completeness import WHOLE_ANSWERS, CompletenessJudge
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.sampling import sample_grammar
from edge_agent.reason.templates import load_intents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.reason.ask import Missing

QUESTIONS: tuple[Missing | None, ...] = (None, "duration", "time")
COMPLETE, OPEN, UNFINISHED = Completeness.COMPLETE, Completeness.OPEN, Completeness.UNFINISHED
OUTPUTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {"lamp": (), "light": (), "light strip": ()},
    "zh": {"台灯": (), "灯": ()},
}


def shipped(language: str) -> Intents:
    """The shipped intents of a language, with a few outputs."""
    return load_intents(language, builtin=True, paths=(), outputs=OUTPUTS[language]).intents


@pytest.fixture(scope="module", params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> str:
    """Each language that intents are shipped for."""
    return str(request.param)


@pytest.fixture(scope="module")
def intents(language: str) -> Intents:
    """The shipped intents."""
    return shipped(language)


@pytest.fixture(scope="module")
def judge(intents: Intents, language: str) -> CompletenessJudge:
    """A judge of the shipped intents."""
    return CompletenessJudge(intents, language)


@pytest.fixture(scope="module")
def english() -> CompletenessJudge:
    """A judge of the shipped English intents."""
    return CompletenessJudge(shipped("en"), "en")


@pytest.fixture(scope="module")
def chinese() -> CompletenessJudge:
    """A judge of the shipped Chinese intents."""
    return CompletenessJudge(shipped("zh"), "zh")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", OPEN),
        ("what time is it", COMPLETE),
        ("What time is it?", COMPLETE),
        ("what's the date", COMPLETE),
        ("turn on the lamp", COMPLETE),
        ("turn on the lamp please", COMPLETE),
        ("please turn on the lamp", COMPLETE),
        ("never mind", COMPLETE),
        ("mute", COMPLETE),
        ("help", COMPLETE),
        ("cancel the timer", COMPLETE),
        ("set a timer for ten minutes", COMPLETE),
        ("set a timer for 10 minutes", COMPLETE),
        ("set a timer for one hour", COMPLETE),
        ("set a timer for one hour and thirty minutes", COMPLETE),
        ("set a ten minute timer", COMPLETE),
        ("set the volume to fifty percent", COMPLETE),
        ("set the volume to thirty seven", COMPLETE),
        ("set a timer", OPEN),
        ("set a pasta timer", OPEN),
        ("set an alarm", OPEN),
        ("set an alarm for seven", OPEN),
        ("set a timer for an hour and a half", OPEN),
        ("set the volume to twenty", OPEN),
        ("turn the volume up", OPEN),
        ("turn on the light", OPEN),
        ("switch the lamp", OPEN),
        ("how long is left", OPEN),
        ("stop", OPEN),
        ("cancel", OPEN),
        ("no", OPEN),
        ("tell me a story", OPEN),
        ("what are you looking for", OPEN),
        ("can you turn it up to eleven thousand", OPEN),
        ("set a timer for", UNFINISHED),
        ("set a timer for ten", UNFINISHED),
        ("set a timer for twenty", UNFINISHED),
        ("set a timer for twenty five", UNFINISHED),
        ("set a timer for ten minutes and", UNFINISHED),
        ("set a timer for ten minutes and thirty", UNFINISHED),
        ("set a timer for ten minutes called", UNFINISHED),
        ("turn on the", UNFINISHED),
        ("ten minutes", UNFINISHED),
        ("could you", UNFINISHED),
        ("volume", UNFINISHED),
        ("tell me a story about", UNFINISHED),
        ("i would like to know the", UNFINISHED),
        ("i went home because", UNFINISHED),
        ("i think i'm", UNFINISHED),
        ("tell me about um", UNFINISHED),
    ],
)
def test_english(english: CompletenessJudge, text: str, verdict: Completeness) -> None:
    """Commands, their beginnings, and what no template knows."""
    assert english.judge(Transcript(text, final=False)) is verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("现在几点了", COMPLETE),
        ("现在 几点 了", COMPLETE),
        ("打开台灯", COMPLETE),
        ("设一个计时器", OPEN),
        ("音量调到五十", OPEN),
        ("定时五分钟", OPEN),
        ("打开", UNFINISHED),
        ("定时五", UNFINISHED),
        ("设一个五分钟", UNFINISHED),
        ("我 不 想 去 因为", UNFINISHED),
        ("我不想去因为", UNFINISHED),
        ("给我讲个故事吧", OPEN),
    ],
)
def test_chinese(chinese: CompletenessJudge, text: str, verdict: Completeness) -> None:
    """The same where no white space is between words."""
    assert chinese.judge(Transcript(text, final=False)) is verdict


def test_no_sentence_of_the_grammar_is_unfinished(judge: CompletenessJudge, intents: Intents, language: str) -> None:
    """By the matcher's word for what is one; answers are where they were asked for."""
    matcher = IntentMatcher(intents, language)
    sentences = sorted(set(sample_grammar(intents, language, limit=2_000, seed=1).sentences))
    judged = 0
    for sentence in random.Random(0).sample(sentences, 150):
        for asked in QUESTIONS:
            if matcher.match([sentence], forgiving=False, asked=asked):
                judged += 1
                assert judge.judge(Transcript(sentence), asked) is not UNFINISHED, sentence
    assert judged > 150


def test_every_beginning_that_is_no_sentence_is_unfinished(english: CompletenessJudge) -> None:
    """By the matcher's word for what is a sentence, and no beginning that is one is unfinished."""
    intents = shipped("en")
    matcher = IntentMatcher(intents, "en")
    commands = replace(
        intents,
        intents={name: intent for name, intent in intents.intents.items() if name not in ANSWERS},
    )
    sentences = sorted(set(sample_grammar(commands, "en", limit=3_000, seed=2).sentences))
    beginnings = {
        " ".join(words[:length])
        for words in map(str.split, random.Random(0).sample(sentences, 150))
        for length in range(1, len(words))
    } - WHOLE_ANSWERS["en"]
    found = {True: 0, False: 0}
    for text in sorted(beginnings):
        is_sentence = matcher.match([text], forgiving=False) is not None
        found[is_sentence] += 1
        assert (english.judge(Transcript(text)) is UNFINISHED) is not is_sentence, text
    assert min(found.values()) >= 20


def test_an_answer_is_complete_where_it_was_asked_for(english: CompletenessJudge) -> None:
    """Elsewhere its words only begin a command."""
    answer = Transcript("ten minutes")
    assert english.judge(answer, asked="duration") is COMPLETE
    assert english.judge(answer) is UNFINISHED
    assert english.judge(Transcript("what time is it"), asked="duration") is COMPLETE


def test_in_the_grammar_other_readings_count(english: CompletenessJudge) -> None:
    """Where the best is in no template: it is matched by another then, and its last word proves nothing."""
    assert english.judge(Transcript("turn on the lamp and", in_grammar=True)) is OPEN
    assert english.judge(Transcript("turn on the lamp and")) is UNFINISHED
    heard = Transcript("turn on lamp the", in_grammar=True, alternatives=("on lamp", "turn on the lamp"))
    assert english.judge(heard) is COMPLETE
    assert english.judge(Transcript("turn on lamp the", alternatives=("turn on the lamp",))) is UNFINISHED
    assert english.judge(Transcript("turn on the", in_grammar=True, alternatives=("turn on the lamp",))) is UNFINISHED


CUSTOM = Intents.from_dict(
    {
        "language": "en",
        "intents": {
            "Light": {"data": [{"sentences": ["light on [in the {room}]", "fan on [now]"]}]},
            "Note": {"data": [{"sentences": ["note down {anything}", "make a note [called {anything}]"]}]},
            "Bright": {"data": [{"slots": {"to": 1}, "sentences": ["lamp"]}, {"sentences": ["lamp down"]}]},
        },
        "lists": {"room": {"values": ["kitchen", "living room"]}, "anything": {"wildcard": True}},
    }
)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("light on", OPEN),
        ("light on in the", UNFINISHED),
        ("light on in the living", UNFINISHED),
        ("light on in the kitchen", COMPLETE),
        ("fan on", COMPLETE),
        ("lamp", OPEN),
        ("lamp down", COMPLETE),
        ("note down", OPEN),
        ("note down buy milk", OPEN),
        ("note down buy milk and", UNFINISHED),
        ("make a note called", UNFINISHED),
        ("make a note called milk", OPEN),
    ],
)
def test_own_intents(text: str, verdict: Completeness) -> None:
    """A place or another meaning may follow; a fixed tail changes nothing; wildcards hold anything."""
    assert CompletenessJudge(CUSTOM, "en").judge(Transcript(text)) is verdict


def test_the_matchers_automaton_can_be_shared() -> None:
    """It is only read."""
    judge = CompletenessJudge(CUSTOM, "en", Automaton(CUSTOM, "en"))
    assert judge.judge(Transcript("lamp down")) is COMPLETE


def test_a_language_without_lists_is_judged_by_templates_alone() -> None:
    """And endless text by nothing."""
    judge = CompletenessJudge(CUSTOM, "de")
    assert judge.judge(Transcript("fan on")) is COMPLETE
    assert judge.judge(Transcript("ich möchte die")) is OPEN
    assert judge.judge(Transcript("light " * 10_000)) is OPEN
