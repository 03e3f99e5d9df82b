"""A listener's sounds."""

from __future__ import annotations

import pytest

from edge_agent.reason.backchannel import BACKCHANNELS, is_backchannel


@pytest.mark.parametrize(
    "text", ["", "...", "mhm", "Mm-hm.", "uh huh", "yeah yeah", "okay, right", "hm i see", "uh-huh"]
)
def test_english_sounds(text: str) -> None:
    """However they are spelled, also several."""
    assert is_backchannel(text, "en")


@pytest.mark.parametrize("text", ["stop", "no", "okay stop", "yeah but", "see", "i", "right now", "the okay"])
def test_words_are_no_sounds(text: str) -> None:
    """One word that means something is enough."""
    assert not is_backchannel(text, "en")


@pytest.mark.parametrize(
    ("text", "expected"), [("嗯", True), ("嗯 好的", True), ("对 对 对", True), ("好的停", False), ("停", False)]
)
def test_chinese_sounds(text: str, *, expected: bool) -> None:
    """With white space between them or without."""
    assert is_backchannel(text, "zh") is expected


def test_own_sounds_take_the_place_of_the_languages() -> None:
    """As configured; none at all is possible."""
    assert is_backchannel("genau genau", "de", ignored=("genau",))
    assert not is_backchannel("mhm", "en", ignored=("genau",))
    assert not is_backchannel("mhm", "en", ignored=())
    assert not is_backchannel("mhm", "de")


@pytest.mark.parametrize("language", sorted(BACKCHANNELS))
def test_every_listed_sound_counts(language: str) -> None:
    """As it is listed."""
    assert all(is_backchannel(sound, language) for sound in BACKCHANNELS[language])
