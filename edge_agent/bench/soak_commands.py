"""What is said to the service in a soak, what it should answer, and what became of it."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.schema import Config

VOICE = "rms"
"""Flite's, and not the agent's own."""


@dataclass(frozen=True, slots=True)
class Command:
    """A sentence with a known answer.

    Attributes:
        reply: Pattern of the whole answer; it says what was understood.
        recording: Below a directory of recorded speech; empty: there is none.
    """

    text: str
    intent: str
    reply: str
    recording: str = ""

    def is_answered_by(self, turn: Mapping[str, Any]) -> bool:
        """Tell whether a turn, as `--json` prints it, is the right answer, spoken to its end."""
        return (
            turn["intent"] == self.intent
            and not turn["interrupted"]
            and re.fullmatch(self.reply, turn["reply"] or "", re.IGNORECASE) is not None
        )


_TIMER_SET = r"Timer set for (five|ten) minutes\."
"""The recording asks for ten."""
COMMANDS = (
    Command("what time is it", "GetTime", r"It's .+\.", recording="home/what_time_is_it.wav"),
    Command("turn on the lamp", "SwitchOutput", r"The lamp is on\.", recording="home/turn_on_the_lamp.wav"),
    Command("set a timer for five minutes", "SetTimer", _TIMER_SET, recording="home/set_timer.wav"),
    Command("how long is left on my timer", "TimerStatus", r".+ has .+ left\."),
    Command("cancel all timers", "CancelTimer", r"I've cancelled .+\."),
    Command("turn off the lamp", "SwitchOutput", r"The lamp is off\."),
    Command("what is the date today", "GetDate", r"It's .+\.", recording="home/whats_the_date_today.wav"),
    Command("set the volume to fifty percent", "SetVolume", r"Volume fifty percent\."),
    Command("do i have any alarms", "AlarmStatus", r"No alarm is set\."),
)
"""One after the other, again and again: the timer is cancelled long before it would ring."""


@dataclass(slots=True)
class Asked:
    """A command that was said.

    Attributes:
        at_s: When its sound began, of the monotonic clock.
        turns: Those that ended between it and the next command.
    """

    command: Command
    at_s: float
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """Turns in which something was heard or said."""
        return [turn for turn in self.turns if turn["heard"] or turn["reply"]]

    @property
    def is_right(self) -> bool:
        """Whether it was answered once, and rightly."""
        return len(self.answers) == 1 and self.command.is_answered_by(self.answers[0])

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing was said to it at all."""
        return not any(turn["reply"] for turn in self.turns)

    @property
    def delay_s(self) -> float | None:
        """From the end of speech, as the voice activity detector has it, to the right answer's first sample."""
        if not self.is_right:
            return None
        timings = self.answers[0]["timings"]
        if timings["first_audio_s"] is None or timings["speech_end_s"] is None:
            return None
        return float(timings["first_audio_s"] - timings["speech_end_s"])


def assign(asked: Sequence[Asked], turns: Sequence[tuple[float, dict[str, Any]]]) -> int:
    """Give each turn, with the time at which it ended, to the last command before it; return how many had none."""
    began_s = [one.at_s for one in asked]
    unasked = 0
    for at_s, turn in turns:
        number = bisect_right(began_s, at_s) - 1
        if number < 0:
            unasked += 1
        else:
            asked[number].turns.append(turn)
    return unasked


def prepare(config: Config, speech: Path | None, directory: Path) -> list[tuple[Command, Path]]:
    """Return each command with its WAV file: recorded below `speech`, or rendered into `directory`. Blocking.

    Raises:
        SynthesisError: Flite and eSpeak NG are missing.
        EngineError: The same.
    """
    import wave

    from edge_agent.audio import HEAR_RATE_HZ, SAMPLE_BYTES
    from edge_agent.bench.materials import spoken

    flite = config.tts.flite.model_copy(update={"voice": VOICE})
    speaking = config.model_copy(update={"tts": config.tts.model_copy(update={"flite": flite})})
    found: list[tuple[Command, Path]] = []
    for number, command in enumerate(COMMANDS):
        if speech is not None and command.recording and (speech / command.recording).is_file():
            found.append((command, speech / command.recording))
            continue
        path = directory / f"command-{number}.wav"
        (frames,) = spoken(speaking, (command.text,))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, SAMPLE_BYTES, HEAR_RATE_HZ, 0, "NONE", ""))
            file.writeframes(b"".join(frame.pcm for frame in frames))
        found.append((command, path))
    return found
