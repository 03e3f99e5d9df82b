"""eSpeak NG as a child process: skipped where the Debian package is not installed."""

from __future__ import annotations

import shutil

import psutil
import pytest

from edge_agent.config.engines import EspeakConfig
from edge_agent.engines.espeak import EspeakSynthesizer
from edge_agent.errors import ConfigError

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed (apt install espeak-ng)"
)


def voice(language: str = "en", **settings: object) -> EspeakSynthesizer:
    """Return a loaded voice."""
    synthesizer = EspeakSynthesizer(EspeakConfig.model_validate(settings), language)
    synthesizer.load()
    return synthesizer


def duration_s(synthesizer: EspeakSynthesizer, text: str) -> float:
    """Return the length of what is said."""
    return sum(chunk.duration_s for chunk in synthesizer.synthesize(text))


@pytest.mark.parametrize(("language", "text"), [("en", "The lamp is on now."), ("zh", "灯现在开着。")])
def test_a_sentence_comes_in_short_chunks(language: str, text: str) -> None:
    """Speech at 22,050 Hz in pieces of 100 ms, loud enough to be heard; the bogus size in the header is no matter."""
    chunks = list(voice(language).synthesize(text))
    assert {chunk.rate_hz for chunk in chunks} == {22_050}
    assert {chunk.samples for chunk in chunks[:-1]} == {2205}
    assert 0.8 < sum(chunk.duration_s for chunk in chunks) < 4.0
    samples = memoryview(b"".join(chunk.pcm for chunk in chunks)).cast("h")
    assert max(samples) > 5000


def test_the_speed_is_the_configured_one() -> None:
    """Twice the words a minute takes clearly less time."""
    text = "This is a sentence of several words."
    assert duration_s(voice(words_per_minute=300), text) < 0.8 * duration_s(voice(words_per_minute=120), text)


@pytest.mark.parametrize(
    "text",
    [
        "-v",
        "--help",
        'it\'s "quoted" $(true)',
        "one\ntwo",
        "nul\0byte",
        "[[h@l'oU]] there",
        "<speak>hi</speak>",
        "\ud800a",
    ],
)
def test_text_is_never_an_option_or_markup(text: str) -> None:
    """Whatever it looks like, it is spoken."""
    assert duration_s(voice(), text) > 0.2


def test_ten_kilobytes_can_be_abandoned() -> None:
    """The first chunk comes, and closing leaves no child."""
    before = {child.pid for child in psutil.Process().children()}
    job = voice().synthesize("hello there " * 850)
    assert next(job).samples == 2205
    job.close()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_text_without_words_is_silent() -> None:
    """No chunk, no error."""
    assert [list(voice().synthesize(text)) for text in ("", "...", "🎉")] == [[], [], []]


@pytest.mark.parametrize("name", ["zz", "-x", "../../etc/passwd"])
def test_an_unknown_voice_is_refused(name: str) -> None:
    """One line, at load."""
    with pytest.raises(ConfigError, match=r"tts\.espeak\.voice.*espeak-ng --voices") as caught:
        voice(voice=name)
    assert "\n" not in str(caught.value)
