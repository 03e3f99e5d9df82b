"""The commands of a field test, and how it is counted what was understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.app.build import build_intents
from edge_agent.app.field.phrases import Phrase, phrases_for, read_phrases, word_errors, words_of
from edge_agent.config.schema import Config
from edge_agent.errors import AudioFileError
from edge_agent.reason.matcher import IntentMatcher


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_commands_that_the_shipped_intents_know(language: str) -> None:
    """Each is matched, as what it is to be."""
    intents = build_intents(Config(language=language))
    matcher = IntentMatcher(intents.intents, intents.language)
    phrases = phrases_for(language)
    assert len(phrases) == 10
    for phrase in phrases:
        match = matcher.match([phrase.text], forgiving=False)
        assert match is not None, phrase
        assert match.intent == phrase.intent


def test_a_language_that_nobody_wrote_commands_in() -> None:
    """None are invented."""
    assert phrases_for("fi") == ()


@pytest.mark.parametrize(
    ("wanted", "heard", "errors"),
    [
        ("turn on the lamp", "turn on the lamp", (0, 4)),
        ("turn on the lamp", "Turn on the lamp!", (0, 4)),
        ("turn on the lamp", "turn off the lamp", (1, 4)),
        ("turn on the lamp", "turn the lamp", (1, 4)),
        ("turn on the lamp", "please turn on the lamp now", (2, 4)),
        ("turn on the lamp", "", (4, 4)),
        ("what's the time", "what's the time", (0, 3)),
        ("打开灯", "打开大灯", (1, 3)),
    ],
)
def test_words_that_are_wrong_missing_or_too_many(wanted: str, heard: str, errors: tuple[int, int]) -> None:
    """Counted as recognition is: by edits of words, of characters where there are no spaces."""
    assert word_errors(wanted, heard) == errors


def test_words() -> None:
    """Case and punctuation count for nothing."""
    assert words_of("It's  7:30, ok?") == ["it's", "7", "30", "ok"]


def test_recordings_with_their_words(tmp_path: Path) -> None:
    """By name; the second line is the intent, where there is one."""
    for name, text in (("b", "stop\nStop\n"), ("a", "tell me a story\n")):
        (tmp_path / f"{name}.wav").touch()
        (tmp_path / f"{name}.txt").write_text(text)
    assert read_phrases(tmp_path) == (
        Phrase("tell me a story", None, tmp_path / "a.wav"),
        Phrase("stop", "Stop", tmp_path / "b.wav"),
    )


def test_recordings_that_say_nobody_knows_what(tmp_path: Path) -> None:
    """What is missing is named."""
    with pytest.raises(AudioFileError, match=r"holds no \*\.wav"):
        read_phrases(tmp_path)
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioFileError, match=r"write there what a\.wav says"):
        read_phrases(tmp_path)
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(AudioFileError, match="is empty"):
        read_phrases(tmp_path)
