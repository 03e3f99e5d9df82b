"""Plays an utterance to the endpointer in the audio's own time, and says when it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S
from edge_agent.events import Completeness, Transcript
from edge_agent.hear.endpoint import (
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    PauseBegan,
    PauseEnded,
    UtteranceContinued,
    UtteranceEnded,
)

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import EndpointConfig
    from edge_agent.events import Endpoint
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.hear.pauses import PauseLearner

Judge = Callable[[Transcript], tuple[Completeness, bool]]
"""Says of the words before a pause whether more will follow, and whether they are a whole sentence."""
FALSE_END_S = 1.2
"""Speech that goes on within this time after an endpoint shows that it was a pause."""


@dataclass(frozen=True, slots=True)
class Case:
    """An utterance as the voice activity detector hears it; times are seconds from its first frame."""

    name: str
    frames: tuple[AudioChunk, ...]
    is_speech: tuple[bool, ...]
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an utterance.

    Attributes:
        decided_s: When it ended, in seconds from the case's first frame; its whole length where it never did.
        ended: False where the recording was over before.
    """

    case: Case
    decided_s: float
    ended: bool
    endpoint: Endpoint | None

    @property
    def is_cut_off(self) -> bool:
        """Whether it ended while the speaker had more to say."""
        return self.decided_s < self.case.ends_s

    @property
    def delay_s(self) -> float:
        """Seconds from the true end of speech to the endpoint."""
        return self.decided_s - self.case.ends_s


@dataclass(slots=True)
class Previews:
    """Has the words before a pause recognized and judged, and measures how long that takes.

    Attributes:
        took_ms: What each preview took, with its judgement.
        verdicts: How often each was given.
    """

    recognizer: SpeechRecognizer
    judge: Judge
    clock: Callable[[], float] = time.perf_counter
    took_ms: list[float] = field(default_factory=list)
    verdicts: dict[Completeness, int] = field(default_factory=dict)
    _pending: list[AudioChunk] = field(default_factory=list)
    _started: bool = False

    def take(self, event: EndpointingEvent) -> None:
        """Keep the audio of an utterance."""
        match event:
            case OnsetDetected(audio):
                self._pending, self._started = list(audio), False
            case UtteranceContinued(frame):
                self._pending.append(frame)

    def look(self) -> tuple[tuple[Completeness, bool], float]:
        """Return what is judged of the utterance so far, and the seconds that takes.

        The recognizer hears what is new first. That takes no part in the time: it decodes while somebody speaks.
        """
        if not self._started:
            self.recognizer.start()
            self._started = True
        # Frame by frame, as it is spoken: Vosk decodes a second time alongside, as much as each frame allows.
        for frame in self._pending:
            self.recognizer.accept(frame)
        self._pending = []
        began_s = self.clock()
        verdict = self.judge(self.recognizer.preview())
        took_s = self.clock() - began_s
        self.took_ms.append(took_s * 1000)
        self.verdicts[verdict[0]] = self.verdicts.get(verdict[0], 0) + 1
        return verdict, took_s


def play(case: Case, config: EndpointConfig, pauses: PauseLearner | None, previews: Previews | None) -> Outcome:
    """Push every frame; return the first endpoint after somebody began to speak.

    A verdict reaches the endpointer as late as its preview took. What is said after an endpoint teaches `pauses`, as it
    does in a conversation.
    """
    endpointer = Endpointer(config, FRAME_S, pauses)
    outcome: Outcome | None = None
    decided_s = -math.inf
    verdict: tuple[Completeness, bool] | None = None
    due_s = math.inf
    for number, (frame, is_speech) in enumerate(zip(case.frames, case.is_speech, strict=True), 1):
        now_s = number * FRAME_S
        if verdict is not None and due_s <= now_s - FRAME_S:
            endpointer.judge(verdict[0], is_sentence=verdict[1])
            verdict = None
        for event in endpointer.push(frame, is_speech=is_speech):
            if previews is not None:
                previews.take(event)
            match event:
                case OnsetDetected() if pauses is not None and now_s - decided_s <= FALSE_END_S:
                    pauses.false_end(now_s - decided_s)
                case PauseBegan() if previews is not None:
                    verdict, took_s = previews.look()
                    due_s = now_s + took_s
                case PauseEnded():
                    verdict = None
                case UtteranceEnded(endpoint):
                    verdict = None
                    decided_s = now_s
                    if outcome is None and now_s > case.begins_s:
                        outcome = Outcome(case, now_s, ended=True, endpoint=endpoint)
    return outcome or Outcome(case, len(case.frames) * FRAME_S, ended=False, endpoint=None)
