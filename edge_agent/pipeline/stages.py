"""The parts that the runner joins, and a turn while it lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.pipeline.hearing import LONGEST_CALL_S
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.pipeline.timeline import MOST_MARKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.pipeline.answering import Reasoner, Understanding
    from edge_agent.pipeline.gate import Gate
    from edge_agent.pipeline.hearing import Utterance
    from edge_agent.pipeline.reply import PendingReply
    from edge_agent.pipeline.report import TurnClock, TurnReport
    from edge_agent.pipeline.speaking import Player, SpokenPhrases
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.earcons import Earcon
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer

STOPPING = frozenset({"Stop", "NeverMind"})
"""Intents that silence the agent."""


def _meant_for_us(understanding: Understanding, _spoke_s: float) -> Understanding | None:
    return understanding if understanding.transcript.text else None


@dataclass(frozen=True, slots=True)
class Stages:
    """What hears, thinks and speaks, and where the blocking parts work.

    Attributes:
        open_speaker: Gives a turn something to speak into, and the path of the file that it leaves, if any.
        phrases: What was rendered before.
        chime: Plays a tone by its name.
        recent_level: How loud what was played in the last so many seconds was, while no turn has the speaker.
        interrupts: Returns what words that were said into an answer mean for the agent; None for a listener's "mhm". Is
            told how long somebody spoke, 0 while that is not known.
        is_backchannel: Tells whether words are nothing but a listener's sounds, as "mhm"; no words at all are.
        believes: Returns what words mean that were said otherwise: more, where something rings and "stop" is likely.
        kept: Returns when what an intent changed is on disk.
        follow_up: Whether people may go on without activation after an answer.
        longest_hearing_s: What the recognizer may take over one call before it is thought to hang.
    """

    recognizer: SpeechRecognizer
    asr: Station
    reasoner: Reasoner
    synthesizer: SpeechSynthesizer
    tts: Station
    open_speaker: Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]]
    phrases: SpokenPhrases | None = None
    chime: Callable[[Earcon], Coroutine[object, object, None]] | None = None
    recent_level: Callable[[float], float] = lambda _: 0.0
    interrupts: Callable[[Understanding, float], Understanding | None] = _meant_for_us
    is_backchannel: Callable[[str], bool] = lambda words: not words
    believes: Callable[[Understanding], Understanding] = lambda understanding: understanding
    kept: Callable[[], Awaitable[None]] = nothing_to_keep
    follow_up: bool = False
    longest_hearing_s: float = LONGEST_CALL_S


@dataclass(slots=True)
class Turn:
    """One turn, from its first syllable, or an announcement, to its end.

    Attributes:
        now: The clock of its notes, in seconds that never jump.
        released: Clear while its answer is held because somebody speaks.
        began_in_answer: Somebody said it into another turn's answer.
        is_confirmed: It is known to be meant for the agent all the same.
        was_invited: It began without an activation, in the time that one has to go on.
        is_remembered: What was heard of it is in the history.
    """

    report: TurnReport
    now: Callable[[], float]
    clock: TurnClock
    utterance: Utterance
    older: Turn | None = None
    task: asyncio.Task[None] | None = None
    sink: AudioSink | None = None
    gate: Gate | None = None
    player: Player | None = None
    reply: PendingReply | None = None
    replies: list[PendingReply] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    began_in_answer: bool = False
    is_confirmed: bool = False
    was_invited: bool = False
    is_remembered: bool = False
    cut_off: bool = False
    dismissed: bool = False
    failed: bool = False
    notes: list[tuple[str, float, float | None, str]] = field(default_factory=list)

    @property
    def turn_id(self) -> int:
        """The turn's number."""
        return self.report.turn

    def note(self, stage: str, began_at: float, ended_at: float | None = None, detail: str = "") -> None:
        """Remember what happened, at moments of the clock `now`; as much as a timeline holds, the rest is counted."""
        if len(self.notes) < MOST_MARKS:
            self.notes.append((stage, began_at, ended_at, detail))
        else:
            self.report.timeline.left_out += 1

    def note_now(self, stage: str, detail: str) -> None:
        """Remember what happens at this moment."""
        self.note(stage, self.now(), None, detail)

    def finish_timeline(self) -> None:
        """Write the notes into the report, now that the turn's clock is certain."""
        for stage, began_at, ended_at, detail in sorted(self.notes, key=lambda note: note[1]):
            until_s = None if ended_at is None else self.clock.at_s(ended_at)
            self.report.timeline.mark(stage, self.clock.at_s(began_at), until_s, detail)
        self.notes.clear()

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Return how far each stage is ahead of the next."""
        return (self.utterance.statistics(), *(self.reply.channels() if self.reply is not None else ()))
