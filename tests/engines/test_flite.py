"""Flite as a child process: skipped where the Debian package is not installed."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.config.engines import FliteConfig
from edge_agent.engines.flite import FliteSynthesizer
from edge_agent.engines.wav_command import WavCommand, pieces
from edge_agent.errors import ConfigError, EngineError, SynthesisError

if TYPE_CHECKING:
    from pathlib import Path

_STEREO = r"RIFF....WAVEfmt \020\0\0\0\01\0\02\0\200\076\0\0\0\0\0\0\04\0\020\0data"
"""The header of a WAV file with two channels, for printf."""

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed (apt install flite)")


def duration_s(synthesizer: FliteSynthesizer, text: str) -> float:
    """Return the length of what is said."""
    return sum(chunk.duration_s for chunk in synthesizer.synthesize(text))


def script(path: Path, body: str) -> str:
    """Write an executable shell script and return its name."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def flite() -> FliteSynthesizer:
    """A loaded voice."""
    synthesizer = FliteSynthesizer(FliteConfig())
    synthesizer.load()
    return synthesizer


@needs_flite
def test_a_sentence_comes_in_short_chunks(flite: FliteSynthesizer) -> None:
    """About two seconds of 16 kHz speech, loud enough to be heard, in pieces of 100 ms."""
    chunks = list(flite.synthesize("The lamp in the kitchen is on now."))
    assert {chunk.rate_hz for chunk in chunks} == {16_000}
    assert {chunk.samples for chunk in chunks[:-1]} == {1600}
    assert 1.0 < sum(chunk.duration_s for chunk in chunks) < 4.0
    samples = memoryview(b"".join(chunk.pcm for chunk in chunks)).cast("h")
    assert max(samples) > 5000


@needs_flite
@pytest.mark.parametrize(
    "text",
    [
        "-v",
        "--help",
        "-o /tmp/x",
        'it\'s "quoted" $(true) `true` ; true',
        "one\ntwo",
        "nul\0byte",
        "a\x1b[31mb",
        "“café”",
    ],
)
def test_text_is_never_an_option_or_a_command(flite: FliteSynthesizer, text: str) -> None:
    """Whatever it looks like, it is spoken."""
    assert duration_s(flite, text) > 0.2


@needs_flite
def test_very_long_words_and_texts_are_spoken_in_pieces(flite: FliteSynthesizer) -> None:
    """10 kB are no harder than 300 characters: the first chunk comes, and the rest can be abandoned."""
    for text in ("x" * 10_000, "hello there " * 850):
        job = flite.synthesize(text)
        assert next(job).samples == 1600
        job.close()


@needs_flite
def test_closing_ends_the_child(flite: FliteSynthesizer) -> None:
    """Nothing is left running or unreaped."""
    before = {child.pid for child in psutil.Process().children()}
    job = flite.synthesize("word " * 50)
    next(job)
    job.close()
    assert {child.pid for child in psutil.Process().children()} <= before


@needs_flite
@pytest.mark.parametrize("text", ["", " ", "...", "🎉"])
def test_text_without_words_is_silent(flite: FliteSynthesizer, text: str) -> None:
    """No chunk, no error."""
    assert list(flite.synthesize(text)) == []


@needs_flite
def test_a_script_it_cannot_read_is_refused(flite: FliteSynthesizer) -> None:
    """Flite itself would say nothing at all."""
    with pytest.raises(SynthesisError, match="Latin"):
        list(flite.synthesize("你好"))


@needs_flite
def test_an_unknown_voice_is_refused_with_the_known_ones() -> None:
    """Flite itself would take another voice."""
    with pytest.raises(ConfigError, match=r'tts\.flite\.voice.*did you mean "slt".*there are: .*slt'):
        FliteSynthesizer(FliteConfig(voice="slr")).load()


def test_a_missing_command_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What to install is said at load; at synthesis it is an error, not a crash."""
    monkeypatch.setenv("PATH", str(tmp_path))
    synthesizer = FliteSynthesizer(FliteConfig())
    with pytest.raises(EngineError, match="apt install flite"):
        synthesizer.load()
    with pytest.raises(SynthesisError, match="did not start"):
        list(synthesizer.synthesize("hello"))


def test_a_command_that_hangs_is_killed_in_time(tmp_path: Path) -> None:
    """The time is bounded and the child is gone."""
    command = WavCommand(script(tmp_path / "hang", f"echo $$ >{tmp_path}/pid; exec sleep 60"), "none", timeout_s=1.0)
    with pytest.raises(SynthesisError, match="not done within 1 s"):
        list(command.render([], "hello"))
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'no such thing' >&2; exit 3", r"exit status 3 \(no such thing\)"),
        ("echo hello, this is text and no WAV at all", "not a WAV file"),
        ("printf 'RIFF\\044\\0\\0\\0WAVEfmt '", "ends within the WAV header"),
        (f"printf '{_STEREO}'; cat /dev/zero", "16-bit mono"),
    ],
)
def test_a_command_that_fails_says_why(tmp_path: Path, body: str, reason: str) -> None:
    """Status, last complaint or what is wrong with its output."""
    command = WavCommand(script(tmp_path / "fail", body), "none", timeout_s=10.0)
    with pytest.raises(SynthesisError, match=reason):
        list(command.render([], "hello"))


def test_pieces_hold_every_word() -> None:
    """Joined, they are the text; none is longer than the limit, no run longer than a long word."""
    text = "alpha beta " * 100 + "y" * 200
    cut = list(pieces(text, 60))
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")
    assert all(len(piece) <= 60 for piece in cut)
    assert os.linesep not in "".join(pieces("a\r\nb\0c\x07d"))
