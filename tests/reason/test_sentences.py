"""Cutting a stream of text into sentences that can be spoken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reason.sentences import LIMIT, ClauseCutter, SentenceCutter, speakable


def cut(text: str) -> list[str]:
    """Return all sentences of `text`."""
    cutter = SentenceCutter()
    return cutter.feed(text) + cutter.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The lamp is on. The fan is off.", ["The lamp is on.", "The fan is off."]),
        ("Mr. Smith met Dr. Jones.", ["Mr. Smith met Dr. Jones."]),
        ("I like fruit, e.g. Apples. Do you?", ["I like fruit, e.g. Apples.", "Do you?"]),
        ("Meet me at 5 p.m. in Rome.", ["Meet me at 5 p.m. in Rome."]),
        ("It is 5 p.m. Come in.", ["It is 5 p.m.", "Come in."]),
        ("J. R. Smith wrote it.", ["J. R. Smith wrote it."]),
        ("So am I. And you?", ["So am I.", "And you?"]),
        ("No. 5 is alive.", ["No. 5 is alive."]),
        ("No. That is wrong.", ["No.", "That is wrong."]),
        ("It weighs 3.5 kilos. Really.", ["It weighs 3.5 kilos.", "Really."]),
        ("See example.com for it.", ["See example.com for it."]),
        ("Well... maybe. Or not...", ["Well... maybe.", "Or not..."]),
        ("Wait… What?! No!!! Yes", ["Wait…", "What?!", "No!!!", "Yes"]),
        ('"Stop!" he said. "Why?" She left.', ['"Stop!" he said.', '"Why?"', "She left."]),
        ("(It rains.) Stay in.", ["(It rains.)", "Stay in."]),
        ("今天天气很好。你想出去吗？好！", ["今天天气很好。", "你想出去吗？", "好！"]),
        ("他说：“走吧！”然后走了。", ["他说：“走吧！”", "然后走了。"]),
        ("Buy:\n- milk\n- two eggs\n\n1. Stir.\n2. Bake.", ["Buy:", "milk", "two eggs", "1. Stir.", "2. Bake."]),
        ("# Title\n**Bold.** Then *soft* and `code`.", ["Title", "Bold.", "Then soft and code."]),
        ("I know [a place](https://a.org/b?c=d). Come!", ["I know a place.", "Come!"]),
        ("Done 🎉! Next 👩‍💻 one.", ["Done !", "Next one."]),
        ("🎉\n---\n...", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_pause(text: str, sentences: list[str]) -> None:
    """Stops within abbreviations, figures and quotations end nothing."""
    assert cut(text) == sentences


def test_a_sentence_comes_out_as_soon_as_its_end_is_certain() -> None:
    """A plain sentence needs the space behind it, no more."""
    cutter = SentenceCutter()
    assert cutter.feed("The lamp is on.") == []
    assert cutter.feed(" ") == ["The lamp is on."]
    assert cutter.feed('"Really?" ') == []
    assert cutter.feed("S") == ['"Really?"']
    assert cutter.feed("he left") == []
    assert cutter.flush() == ["She left"]


def test_flush_leaves_the_cutter_ready_for_another_text() -> None:
    """Nothing of the first text shows up in the second."""
    cutter = SentenceCutter()
    cutter.feed("Half a sent")
    assert cutter.flush() == ["Half a sent"]
    assert cutter.flush() == []
    assert cutter.feed("Whole. ") == ["Whole."]


def test_a_sentence_that_is_too_long_is_cut_after_a_clause() -> None:
    """The last comma is better than the last space."""
    text = "this clause goes on and on, " * 10
    assert all(part.endswith("on,") and len(part) <= LIMIT for part in cut(text))
    assert all(len(part) <= LIMIT for part in cut("word " * 200))
    assert [len(part) for part in cut("字" * (2 * LIMIT + 50))] == [LIMIT, LIMIT, 50]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("snake_case stays, _soft_ does not", "snake_case stays, soft does not"),
        ("2 * 3 is 6", "2 * 3 is 6"),
        ("C# is at 20°C", "C# is at 20°C"),
        ("> quoted ~~gone~~ text", "quoted gone text"),
        ("well - known - dashes", "well - known - dashes"),
    ],
)
def test_marks_go_and_text_stays(text: str, spoken: str) -> None:
    """Only what marks something up is taken out."""
    assert speakable(text) == spoken


_WORDS = st.sampled_from(
    "the a I Mr Dr e.g no etc p.m J B 3.5 12 5 U.S hello World x_y 你好 天气 état don't Jan st".split()  # noqa: SIM905
)
_MARKS = st.sampled_from(
    [" ", " ", " ", ". ", ".", "... ", "…", "! ", "?! ", '" ', ' "', "' ", ") ", " (", ", ", "。", "！", "？”", "\n",
     "\n- ", "\n1. ", " **", "** ", " `", "` ", "# ", " - ", " 🎉 ", "; ", ": ", "  ", "\t", " * ", "_ ", " _", "|",
     "---"]
)  # fmt: skip
_TEXTS = st.lists(st.tuples(_WORDS, _MARKS), max_size=80).map(lambda pairs: "".join(w + m for w, m in pairs))


@given(_TEXTS)
def test_no_word_is_lost_doubled_or_moved(text: str) -> None:
    """Joined, the sentences hold the same letters and figures in the same order."""
    joined = " ".join(cut(text))
    assert re.findall(r"[^\W_]", joined) == re.findall(r"[^\W_]", text)


@given(st.lists(st.tuples(_WORDS, st.sampled_from([" ", ". ", "! ", ", ", "... ", '" ', "\n"])), max_size=80))
def test_words_stay_whole(pairs: list[tuple[str, str]]) -> None:
    """No cut runs through a word, however long the text."""
    text = "".join(word + mark for word, mark in pairs)
    assert re.findall(r"\w+", " ".join(cut(text))) == re.findall(r"\w+", text)


@given(_TEXTS, st.data())
def test_how_the_stream_is_split_makes_no_difference(text: str, data: st.DataObject) -> None:
    """Any deltas give the same sentences."""
    cutter = SentenceCutter()
    found: list[str] = []
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, 12))
        found += cutter.feed(text[at : at + size])
        at += size
    assert found + cutter.flush() == cut(text)


@given(st.text(max_size=400))
def test_any_text_is_taken(text: str) -> None:
    """Nothing breaks the cutter, and no sentence is empty or has a line break."""
    for sentence in cut(text):
        assert sentence.strip() == sentence != ""
        assert "\n" not in sentence


def test_the_very_first_piece_ends_at_its_first_clause() -> None:
    """The answer sounds sooner; what follows is cut into sentences as ever, and a word by itself is no clause."""
    cutter = ClauseCutter()
    text = "The kitchen light is on, and the timer has ten minutes, more or less. Well, that is all, I think."
    assert [*cutter.feed(text), *cutter.flush()] == [
        "The kitchen light is on,",
        "and the timer has ten minutes, more or less.",
        "Well, that is all, I think.",
    ]
    assert [*cutter.feed("Well, I do not know."), *cutter.flush()] == ["Well, I do not know."]
    assert [*cutter.feed("厨房的灯开着，定时器还有十分钟。"), *cutter.flush()] == [
        "厨房的灯开着，",
        "定时器还有十分钟。",
    ]


def test_two_words_can_be_a_clause() -> None:
    """Of a text that is known whole."""
    cutter = ClauseCutter(words=2)
    text = "It's Saturday, the twenty-eighth of November."
    assert [*cutter.feed(text), *cutter.flush()] == ["It's Saturday,", "the twenty-eighth of November."]
    assert [*cutter.feed("Well, I do not know."), *cutter.flush()] == ["Well, I do not know."]


@given(st.text(st.sampled_from("ab ,;.!?—，。 "), max_size=80), st.integers(1, 5))
def test_clauses_hold_the_words_of_the_text(text: str, size: int) -> None:
    """Each once and in order, however the text was split into deltas."""
    cutter = ClauseCutter()
    pieces: list[str] = []
    for at in range(0, len(text), size):
        pieces += cutter.feed(text[at : at + size])
    pieces += cutter.flush()
    letters = [character for character in "".join(pieces) if character in "ab"]
    assert letters == [character for character in text if character in "ab"]
    whole = ClauseCutter()
    assert pieces == [*whole.feed(text), *whole.flush()]
