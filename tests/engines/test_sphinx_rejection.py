"""PocketSphinx with the shipped intents: commands get through, anything else does not."""

from __future__ import annotations

import random
import shutil
import subprocess
import wave
from typing import TYPE_CHECKING

import pytest

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.engines import PocketSphinxConfig
from edge_agent.engines.sphinx import PocketSphinxRecognizer
from edge_agent.reason.matcher import IntentMatch, IntentMatcher
from edge_agent.reason.sampling import sample_grammar
from edge_agent.reason.templates import load_intents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = (
    "what time is it",
    "what's the current time",
    "tell me the time",
    "what's the date today",
    "what day is it",
    "what day of the week is it",
    "set a timer for five minutes",
    "set a timer for one hour and thirty minutes",
    "start a pasta timer for twelve minutes",
    "set another timer for forty five seconds",
    "start a twenty minute timer",
    "set a timer for half an hour",
    "cancel the timer",
    "cancel all timers",
    "cancel the pasta timer",
    "delete the egg timer",
    "pause the timer",
    "pause my pizza timer",
    "resume the timer",
    "continue the laundry timer",
    "how much time is left",
    "how long is left on the tea timer",
    "check my timers",
    "list all timers",
    "set the volume to fifty percent",
    "volume thirty",
    "turn the volume up",
    "turn down the volume",
    "louder",
    "speak more quietly",
    "mute the sound",
    "unmute the speaker",
    "stop talking",
    "be quiet",
    "never mind",
    "say that again",
    "can you repeat that",
    "status report",
    "how warm are you",
    "how long have you been running",
    "turn on the lamp",
    "switch the lamp off",
    "toggle the lamp",
    "help me",
    "what can you do",
)
CHAT = (
    "i was wondering what we should eat tonight",
    "my sister is coming over on saturday",
    "she told me that the meeting was boring",
    "there is nothing good on television",
    "can you pass me the salt",
    "the lamp is very expensive",
    "i set the table for dinner",
    "what is the capital of france",
    "play some music",
    "he paused for a minute",
    "the weather has been really strange this week",
    "how long have you lived here",
    "the train was late again this morning",
    "my computer is broken again",
    "turn left at the next corner",
    "it took about ten minutes to get there",
)
MOST_COMMANDS_LOST = 3
"""Three whatever was heard before. With a noise tracker that went on from utterance to utterance it was two after the
recordings above, and three without them."""
MOST_CHAT_TAKEN = 0

Ears = tuple[PocketSphinxRecognizer, IntentMatcher]


@pytest.fixture(scope="module")
def ears() -> Iterator[Ears]:
    """Recognizer and matcher with the shipped English intents and one output."""
    intents = load_intents("en", builtin=True, paths=(), outputs={"lamp": ()}).intents
    recognizer = PocketSphinxRecognizer(PocketSphinxConfig(), "en")
    recognizer.load(sample_grammar(intents, "en"))
    yield recognizer, IntentMatcher(intents, "en")
    recognizer.close()


def hear(ears: Ears, path: Path) -> tuple[IntentMatch | None, str]:
    """Return the intent found in a recording, and what was heard."""
    recognizer, matcher = ears
    with wave.open(str(path)) as recording:
        pcm = bytes(recording.readframes(recording.getnframes()))
    recognizer.start()
    for start in range(0, len(pcm), FRAME_BYTES):
        recognizer.accept(AudioChunk(pcm[start : start + FRAME_BYTES], HEAR_RATE_HZ))
    transcript = recognizer.finish()
    heard = f"{transcript.text!r} {transcript.confidence} {transcript.notes}"
    return matcher.match([transcript.text, *transcript.alternatives]), heard


def speak(sentence: str, voice: str, directory: Path) -> Path:
    """Render a sentence with Flite."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed")
    path = directory / "speech.wav"
    subprocess.run([flite, "-voice", voice, "-t", sentence, "-o", path], check=True, timeout=30)
    return path


@pytest.mark.parametrize(
    ("clip", "text", "intent", "slots"),
    [
        ("what_time_is_it", "what time is it", "GetTime", {}),
        ("whats_the_date_today", "what's the date today", "GetDate", {}),
        ("turn_on_the_lamp", "turn on the lamp", "SwitchOutput", {"switch": "on", "output": "lamp"}),
        ("set_timer", "set a timer for ten minutes", "SetTimer", {"minutes": 10}),
    ],
)
def test_recorded_commands_are_taken_exactly(  # noqa: PLR0917 - one row of the table
    ears: Ears, speech_dir: Path, clip: str, text: str, intent: str, slots: dict[str, object]
) -> None:
    """The recorded commands are understood to the word."""
    match, heard = hear(ears, speech_dir / "home" / f"{clip}.wav")
    assert match is not None, heard
    assert (match.text, match.intent, match.slots, match.edits) == (text, intent, slots, 0)


def test_recorded_speech_makes_no_command(ears: Ears, speech_dir: Path) -> None:
    """Other commands, read sentences, cards, wake words and coffee orders are all rejected."""
    clips = [speech_dir / "home" / f"{name}.wav" for name in ("play_the_beatles", "porcupine", "this_is_a_test")]
    for directory in ("read", "cards", "wake"):
        clips += sorted((speech_dir / directory).glob("*.wav"))
    clips += sorted((speech_dir / "coffee").glob("*.wav"))[:20]
    taken = {clip.name: result for clip in clips if (result := hear(ears, clip))[0]}
    assert not taken


@pytest.mark.slow
def test_spoken_commands_are_taken(ears: Ears, tmp_path: Path) -> None:
    """Commands of every shipped kind, by two voices, give their own intent and slots; few are lost, none mistaken."""
    matcher = ears[1]
    lost, mistaken = [], []
    for number, command in enumerate(COMMANDS):
        wanted = matcher.match([command], forgiving=False)
        assert wanted is not None, command
        match, heard = hear(ears, speak(command, ("slt", "rms")[number % 2], tmp_path))
        if match is None:
            lost.append((command, heard))
        elif (match.intent, match.slots) != (wanted.intent, wanted.slots):
            mistaken.append((command, heard, match))
    assert not mistaken
    assert len(lost) <= MOST_COMMANDS_LOST, lost


def test_spoken_chat_makes_no_command(ears: Ears, tmp_path: Path) -> None:
    """Everyday sentences, some full of the templates' words, are not commands."""
    source = random.Random(1)
    taken = []
    for sentence in CHAT:
        match, heard = hear(ears, speak(sentence, source.choice(("slt", "rms")), tmp_path))
        if match is not None:
            taken.append((sentence, heard, match))
    assert len(taken) <= MOST_CHAT_TAKEN, taken
