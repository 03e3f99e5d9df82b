"""Grammars sampled from templates."""

from __future__ import annotations

import time
from functools import partial
from itertools import count

import pytest
from hassil.intents import Intents

from edge_agent.reason.sampling import sample_grammar
from edge_agent.reason.wordforms import number_words, spoken


def intents_of(sentences: list[str], *, language: str = "en", **more: object) -> Intents:
    """One intent `Test` with these sentences."""
    return Intents.from_dict({"language": language, "intents": {"Test": {"data": [{"sentences": sentences}]}}, **more})


def test_small_templates_are_given_complete() -> None:
    """A template with few expansions yields every one of them, as phrases and as sentences."""
    grammar = sample_grammar(intents_of(["(turn|switch) on [the] lamp[s]"]), "en")
    expected = {f"{verb} on{the} lamp{s}" for verb in ("turn", "switch") for the in ("", " the") for s in ("", "s")}
    assert set(grammar.phrases) == expected
    assert set(grammar.sentences) == expected


def test_same_arguments_give_the_same_grammar() -> None:
    """Sampling is deterministic, and another seed gives another sample."""
    words = " ".join(f"[w{n}]" for n in range(20))
    intents = intents_of([f"go {words}"])
    assert sample_grammar(intents, "en", limit=500) == sample_grammar(intents, "en", limit=500)
    assert sample_grammar(intents, "en", limit=500, seed=1) != sample_grammar(intents, "en", limit=500)


def test_astronomic_templates_are_bounded_in_number_and_time() -> None:
    """Forty optional words and three long lists take no longer for being 2^60 sentences."""
    words = " ".join(f"[{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}]" for n in range(40))
    lists = {"thing": {"values": [f"thing {number_words(n, 'en')}" for n in range(90)]}}
    began = time.process_time()
    grammar = sample_grammar(intents_of([f"{words} {{thing}} {{thing:b}} {{thing:c}}"], lists=lists), "en", limit=2000)
    assert len(grammar.sentences) <= 2000
    assert grammar.phrases == ()
    assert time.process_time() - began < 20


def test_every_word_of_every_list_occurs() -> None:
    """A list value is in the grammar however small its share."""
    names = [f"{first} {last}" for first in ("north", "south", "old") for last in ("kitchen", "attic", "porch")]
    lists = {"room": {"values": [*names, {"in": "[big ]hall[way]", "out": "hall"}]}}
    sentences = ["(light|heat|cool|dim) [up] [the] {room} [now] [please] [again] [today]"]
    grammar = sample_grammar(intents_of(sentences, lists=lists), "en", limit=200)
    for name in (*names, "hall", "hallway", "big hall"):
        assert any(f" {name} " in f" {text} " for text in grammar.sentences), name


def test_ranges_are_spoken() -> None:
    """Numbers are words, every number word of the range occurs, and small numbers occur most."""
    lists = {"minutes": {"range": {"from": 1, "to": 300}}}
    grammar = sample_grammar(intents_of(["wait {minutes} minute[s]", "wait {1..5:short} hours"], lists=lists), "en")
    assert not any(character.isdigit() for text in grammar.sentences for character in text)
    assert {"one", "nineteen", "ninety", "three", "hundred", "twenty"} <= grammar.words
    assert grammar.sentences.count("wait ten minutes") > grammar.sentences.count("wait two hundred seven minutes")
    assert any("twenty five" in text for text in grammar.sentences)


def test_numbers_that_are_only_typed_are_not_spoken() -> None:
    """A range without words takes its template out of the language."""
    lists = {"minute": {"range": {"from": 0, "to": 59, "words": False}}, "hour": {"range": {"from": 1, "to": 12}}}
    grammar = sample_grammar(intents_of(["at {hour}[:{minute}]"], lists=lists), "en")
    assert {len(text.split()) for text in grammar.sentences} == {2}


def test_permutations_come_in_every_order() -> None:
    """`(a;b;c)` is sampled in its six orders."""
    grammar = sample_grammar(intents_of(["(red;green;blue)"]), "en")
    assert len(set(grammar.phrases)) == 6


def test_wildcards_are_left_out() -> None:
    """Templates that need a wildcard are left out; an optional wildcard is only not taken."""
    intents = intents_of(["add {item}", "play [{item}] music"], lists={"item": {"wildcard": True}})
    assert set(sample_grammar(intents, "en").sentences) == {"play music"}


def test_a_two_word_intent_is_not_starved() -> None:
    """Beside an intent of millions, a short one keeps a share that a language model notices."""
    words = " ".join(f"[{letter}{letter}]" for letter in "abcdefghijklmnopqrstuvw")
    intents = Intents.from_dict(
        {
            "language": "en",
            "intents": {
                "Huge": {"data": [{"sentences": [f"go {words}"]}]},
                "Tiny": {"data": [{"sentences": ["never mind"]}]},
            },
        }
    )
    sentences = sample_grammar(intents, "en", limit=1000).sentences
    assert sentences.count("never mind") > 100


def test_skip_words_may_be_said() -> None:
    """Words that matching skips are in the language now and then."""
    grammar = sample_grammar(intents_of(["turn on the lamp"], skip_words=["please"]), "en")
    assert {"please turn on the lamp", "turn on the lamp please"} <= set(grammar.sentences)
    assert grammar.sentences.count("turn on the lamp") > len(grammar.sentences) * 0.8


def comes_before(looks: count[int], end: int) -> bool:
    """Tell whether this look is one of the first `end`."""
    return next(looks) < end


def test_it_ends_soon_once_nobody_wants_it() -> None:
    """No sentence is drawn after that, neither in the first round nor beyond."""
    lists: dict[str, object] = {"thing": {"values": [f"word {number}" for number in range(300)]}}
    intents = intents_of(["take {thing} and {thing:b}", "give {thing} or {thing:b}"], lists=lists)
    whole = sample_grammar(intents, "en", limit=2000).sentences
    for at in (0, 100, 1500):
        part = sample_grammar(intents, "en", limit=2000, is_wanted=partial(comes_before, count(), at))
        assert part.sentences == whole[:at]
    assert len(whole) == 2000


def test_a_rule_that_holds_itself_is_refused() -> None:
    """Endless expansion is an error, not an endless loop."""
    intents = intents_of(["say <a>"], expansion_rules={"a": "x [<b>]", "b": "y [<a>]"})
    with pytest.raises(ValueError, match="refer to themselves"):
        sample_grammar(intents, "en")


@pytest.mark.parametrize("sentence", ["say <nothing>", "say {nothing}"])
def test_unknown_names_are_refused(sentence: str) -> None:
    """A template that refers to nothing is an error that names what is missing."""
    with pytest.raises(ValueError, match="nothing"):
        sample_grammar(intents_of([sentence]), "en")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Set it to 25%, please!", "set it to twenty five percent please"),
        ("what's up-to-date?", "what's up to date"),
        ("rock 'n' roll", "rock n roll"),
        ("", ""),
    ],
)
def test_spoken(text: str, expected: str) -> None:
    """Text becomes lower-case words without digits or punctuation."""
    assert spoken(text, "en") == expected


def test_chinese_numbers_are_spoken() -> None:
    """Number words follow the language."""
    lists = {"n": {"range": {"from": 1, "to": 12}}}
    grammar = sample_grammar(intents_of(["{n}分钟"], language="zh", lists=lists), "zh")
    assert any("十" in text for text in grammar.sentences)
