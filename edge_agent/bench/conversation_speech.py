"""What people say in the benchmark of conversations: recordings where there are any, else Flite."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

from edge_agent.audio import HEAR_RATE_HZ, SAMPLE_BYTES
from edge_agent.bench.materials import spoken
from edge_agent.bench.pause_speech import Clip, read_clip

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.config.schema import Config

_LONGEST_QUESTION_S = 3.0
_QUESTION_FOLDERS = (("cards", "home"), ("coffee",))
"""Those first whose words a small model knows, again and again; what it does not know it decodes into garbage, at twice
the time, and differently each time it is asked."""
_RECORDED_COMMANDS = (
    "home/what_time_is_it.wav",
    "home/whats_the_date_today.wav",
    "home/set_timer.wav",
    "home/turn_on_the_lamp.wav",
)
COMMANDS = (
    "what time is it",
    "turn on the lamp",
    "set a timer for five minutes",
    "turn off the lamp",
    "what is the date today",
    "pause the timer",
    "switch on the lamp",
    "resume the timer",
    "switch off the lamp",
    "cancel all timers",
)
"""Sentences of built-in intents; each is answered aloud, and none of them asks back."""
QUESTIONS = (
    "how do people make coffee in the morning",
    "which kitchen item is the cold one",
    "i like the music of my house",
    "where is the shopping mall in london",
    "please tell me who can clean the windows",
    "the weather in new york is warm and dry",
    "how many people live in the house next door",
    "find a movie that everyone likes",
)
"""No commands of any intent."""


def questions(config: Config, speech: Path | None, directory: Path, most: int) -> list[Clip]:
    """Return up to `most` utterances that are no commands. Blocking.

    Args:
        config: Whose voice speaks where there are no recordings.
        speech: Directory of recordings; None: what Flite or eSpeak NG renders.
        directory: For what is rendered.
        most: How many are wanted; recordings come first, those of different speakers mixed.

    Raises:
        AudioFileError: A recording can't be used.
        SynthesisError: There is no voice to make speech with.
    """
    if speech is None:
        return rendered(config, QUESTIONS[:most], directory, "question")
    clips = []
    for folders in _QUESTION_FOLDERS:
        for name in [f"{folder}/{path.name}" for folder in folders for path in sorted((speech / folder).glob("*.wav"))]:
            clip = read_clip(speech, name)
            if clip.ends_s - clip.begins_s <= _LONGEST_QUESTION_S:
                clips.append(clip)
        if clips:
            return clips[:most]
    return clips or rendered(config, QUESTIONS[:most], directory, "question")


def commands(config: Config, speech: Path | None, directory: Path) -> list[Clip]:
    """Return commands of built-in intents: recorded ones, where there are any, and rendered ones. Blocking.

    Raises:
        AudioFileError: A recording can't be used.
        SynthesisError: There is no voice to make speech with.
    """
    recorded = [name for name in _RECORDED_COMMANDS if speech is not None and (speech / name).is_file()]
    clips = [] if speech is None else [read_clip(speech, name) for name in recorded]
    return clips + rendered(config, COMMANDS, directory, "command")


def rendered(config: Config, texts: Iterable[str], directory: Path, kind: str) -> list[Clip]:
    """Render each text with Flite, or eSpeak NG. Blocking.

    Raises:
        SynthesisError: Neither is installed.
    """
    clips = []
    for number, frames in enumerate(spoken(config, tuple(texts))):
        name = f"{kind}-{number}.wav"
        with wave.open(str(directory / name), "wb") as file:
            file.setparams((1, SAMPLE_BYTES, HEAR_RATE_HZ, 0, "NONE", ""))
            file.writeframes(b"".join(frame.pcm for frame in frames))
        clips.append(read_clip(directory, name))
    return clips
