"""Alarms as they are spoken: from Flite's voice through PocketSphinx and the shipped grammar to the slots."""

from __future__ import annotations

import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.engines import PocketSphinxConfig
from edge_agent.engines.sphinx import PocketSphinxRecognizer
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.sampling import sample_grammar
from edge_agent.reason.templates import load_intents

INTENTS = load_intents("en", builtin=True, paths=[], outputs={})
MATCHER = IntentMatcher(INTENTS.intents, "en")


@pytest.fixture(scope="module")
def recognizer() -> Iterator[PocketSphinxRecognizer]:
    """A recognizer that listens for everything that is shipped."""
    pytest.importorskip("pocketsphinx")
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(sample_grammar(INTENTS.intents, "en"))
    yield recognizer
    recognizer.close()


@pytest.mark.parametrize(
    ("said", "intent", "slots"),
    [
        ("set an alarm for seven", "SetAlarm", {"hour": 7}),
        ("set an alarm for seven thirty", "SetAlarm", {"hour": 7, "minute": 30}),
        ("set an alarm for half past six", "SetAlarm", {"hour": 6, "minute": 30}),
        ("wake me up at quarter to eight", "SetAlarm", {"hour": 8, "minute": 15, "before": "hour"}),
        ("wake me up at seven tomorrow", "SetAlarm", {"hour": 7, "day": "tomorrow"}),
        ("set an alarm for six thirty every weekday", "SetAlarm", {"hour": 6, "minute": 30, "every": "weekday"}),
        ("set an alarm for noon", "SetAlarm", {"moment": "noon"}),
        ("set an alarm for seven in the morning", "SetAlarm", {"hour": 7, "half": "am"}),
        ("cancel the alarm", "CancelAlarm", {}),
        ("when is my next alarm", "AlarmStatus", {"scope": "next"}),
        ("snooze for five minutes", "Snooze", {"minutes": 5}),
    ],
)
def test_an_alarm_is_understood(
    recognizer: PocketSphinxRecognizer, tmp_path: Path, said: str, intent: str, slots: dict[str, object]
) -> None:
    """Intent and every slot as they were spoken."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed")
    subprocess.run([flite, "-voice", "slt", "-t", said, "-o", tmp_path / "said.wav"], check=True, timeout=30)
    with wave.open(str(tmp_path / "said.wav")) as recording:
        pcm = recording.readframes(recording.getnframes())
    recognizer.start()
    for start in range(0, len(pcm), FRAME_BYTES):
        recognizer.accept(AudioChunk(pcm[start : start + FRAME_BYTES], HEAR_RATE_HZ))
    transcript = recognizer.finish()
    match = MATCHER.match([transcript.text, *transcript.alternatives])
    assert match is not None, transcript
    assert (match.intent, match.slots) == (intent, slots)
