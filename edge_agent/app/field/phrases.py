"""The commands of a field test, what is to be understood of them, and how much was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path

_COMMANDS = {
    "en": (
        ("what time is it", "GetTime"),
        ("what day is it today", "GetDate"),
        ("set a timer for ten minutes", "SetTimer"),
        ("how much time is left", "TimerStatus"),
        ("cancel the timer", "CancelTimer"),
        ("set the volume to fifty percent", "SetVolume"),
        ("turn the volume up", "VolumeUp"),
        ("turn the volume down", "VolumeDown"),
        ("wake me up at seven o'clock", "SetAlarm"),
        ("what alarms are set", "AlarmStatus"),
    ),
    "zh": (
        ("现在几点了", "GetTime"),
        ("今天星期几", "GetDate"),
        ("设一个十分钟的定时器", "SetTimer"),
        ("还剩多少时间", "TimerStatus"),
        ("取消定时器", "CancelTimer"),
        ("音量调到百分之五十", "SetVolume"),
        ("声音大一点", "VolumeUp"),
        ("声音小一点", "VolumeDown"),
        ("有哪些闹钟", "AlarmStatus"),
        ("算了", "NeverMind"),
    ),
}
"""By language; each is among the sentences of the shipped intents, which a test holds."""
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A command to be spoken.

    Attributes:
        intent: What it is to be understood as; None where the words alone count.
        recording: Somebody's speaking it; None where it is spoken now.
    """

    text: str
    intent: str | None
    recording: Path | None = None


def phrases_for(language: str) -> tuple[Phrase, ...]:
    """Return ten commands of a language; none where nobody has written any."""
    return tuple(Phrase(text, intent) for text, intent in _COMMANDS.get(language, ()))


def read_phrases(directory: Path) -> tuple[Phrase, ...]:
    """Return the recorded commands of a directory, by name: `a.wav` with `a.txt`, whose second line is the intent.

    Raises:
        AudioFileError: There are none, or one has no text.
    """
    found = []
    for recording in sorted(directory.glob("*.wav")):
        beside = recording.with_suffix(".txt")
        try:
            lines = [line.strip() for line in beside.read_text(encoding="utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise AudioFileError(beside, f"{error.strerror}; write there what {recording.name} says") from error
        if not lines:
            raise AudioFileError(beside, f"is empty; write there what {recording.name} says")
        found.append(Phrase(lines[0], lines[1] if len(lines) > 1 else None, recording))
    if not found:
        raise AudioFileError(directory, "holds no *.wav; put recordings of commands there")
    return tuple(found)


def word_errors(wanted: str, heard: str) -> tuple[int, int]:
    """Return how many words were wrong, missing or too many, and how many there were to be (Levenshtein distance)."""
    expected, found = words_of(wanted), words_of(heard)
    row = list(range(len(found) + 1))
    for at, word in enumerate(expected, 1):
        before, row[0] = row[0], at
        for column, other in enumerate(found, 1):
            best = min(before + (word != other), row[column] + 1, row[column - 1] + 1)
            before, row[column] = row[column], best
    return row[-1], len(expected)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case; of a language without spaces, its characters."""
    words: list[str] = []
    for word in _WORD.findall(text.casefold()):
        words += list(word) if _IDEOGRAPH.search(word) else [word]
    return words
