"""Where an utterance begins and ends: arithmetic on frame durations, no clock.

speech  ....##.#####..######............####......................
events      └ onset             └ pause └ pause         └ pause     └ endpoint: the silence needed is reached
              within its window   began   ended           began
audio   [pre-roll][ onset ................................. silence ]

How much silence is needed is what was learned of the speaker's pauses, less after a complete command, more after an
unfinished sentence; `judge` says which it is, for the pause that runs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S
from edge_agent.events import Completeness, Endpoint, EndpointReason

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import EndpointConfig
    from edge_agent.hear.pauses import PauseLearner

PAUSE_S = 0.12
"""Silence that is more than a stop consonant or a breath between two words."""
QUIET_S = 0.04
"""Silence that may become a pause: many a word ends in less."""
_RESUME_S = 0.06
"""Speech that it takes to break a silence: a stray VAD frame (20 ms) holds the count, it does not restart it."""


@dataclass(frozen=True, slots=True)
class OnsetDetected:
    """An utterance began; `audio` is its pre-roll and onset so far."""

    audio: tuple[AudioChunk, ...]


@dataclass(frozen=True, slots=True)
class UtteranceContinued:
    """One more frame of the utterance."""

    frame: AudioChunk


@dataclass(frozen=True, slots=True)
class QuietBegan:
    """The speaker fell silent; it may become a pause. Nothing tells of its end."""


@dataclass(frozen=True, slots=True)
class PauseBegan:
    """The speaker paused; one of PauseEnded, UtteranceEnded and UtteranceDropped follows."""

    silence_s: float


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """The speaker went on after a pause."""

    silence_s: float


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The utterance is over."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class UtteranceDropped:
    """What began was too short to be an utterance (a click, a cough)."""

    speech_s: float


EndpointingEvent = (
    OnsetDetected | UtteranceContinued | QuietBegan | PauseBegan | PauseEnded | UtteranceEnded | UtteranceDropped
)


@dataclass(slots=True)
class _Utterance:
    """What is known of the one that runs.

    Attributes:
        length_s: Pre-roll included.
        silence_s: Since the last speech; stray frames of speech count for neither.
        run: Frames of speech in a row.
        completeness: What was judged of the pause that runs.
        is_sentence: The words before it are a whole sentence.
        was_held: The button was down at some time.
        unconfirmed: Pauses after which too little speech has followed to show that they were some: length, and
            whether they came after a whole sentence.
        confirmed_at_s: How much speech there must be for that.
    """

    length_s: float
    speech_s: float
    run: int
    speech_end_s: float
    silence_s: float = 0.0
    in_pause: bool = False
    completeness: Completeness = Completeness.OPEN
    is_sentence: bool = False
    was_held: bool = False
    unconfirmed: list[tuple[float, bool]] = field(default_factory=list)
    confirmed_at_s: float = 0.0


class Endpointer:
    """Cuts a stream of judged frames into utterances.

    Args:
        pauses: Learns from what is heard; None: `hang_over_s` is the silence of a sentence that may go on.
    """

    def __init__(self, config: EndpointConfig, frame_s: float = FRAME_S, pauses: PauseLearner | None = None) -> None:
        self._config = config
        self._frame_s = frame_s
        self._pauses = pauses if config.adaptive else None
        self._onset_frames = max(1, round(config.onset_s / frame_s))
        # Speech at the onset is ragged: it may be spread over twice its length.
        self._window: deque[bool] = deque(maxlen=2 * self._onset_frames)
        self._kept: deque[AudioChunk] = deque(maxlen=round(config.pre_roll_s / frame_s) + 2 * self._onset_frames)
        self._resume_frames = max(1, round(_RESUME_S / frame_s))
        self._utterance: _Utterance | None = None

    @property
    def in_utterance(self) -> bool:
        """True between an onset and its end."""
        return self._utterance is not None

    @property
    def in_pause(self) -> bool:
        """True between PauseBegan and the event that follows it."""
        return self._utterance is not None and self._utterance.in_pause

    @property
    def needed_s(self) -> float:
        """Silence that ends the utterance as things stand."""
        if not self._config.adaptive:
            return self._config.hang_over_s
        utterance = self._utterance
        learned_s = self._learned_s(is_sentence=utterance is not None and utterance.is_sentence)
        match utterance and utterance.completeness:
            case Completeness.COMPLETE:
                return min(self._config.complete_s, learned_s)
            case Completeness.UNFINISHED:
                return max(self._config.unfinished_s, learned_s)
        return learned_s

    def push(self, frame: AudioChunk, *, is_speech: bool, held: bool = False) -> list[EndpointingEvent]:
        """Take one judged frame; return what follows from it, in order, the frame itself first.

        While `held` (the button is down) silence does not end the utterance.
        """
        utterance = self._utterance
        if utterance is None:
            return self._wait(frame, is_speech=is_speech)
        utterance.was_held |= held
        events: list[EndpointingEvent] = [UtteranceContinued(frame), *self._count(utterance, is_speech=is_speech)]
        # A speech frame ends nothing, even where a verdict came late: it may be the first of the rest.
        if not held and not is_speech and self._reached(utterance.silence_s, self.needed_s):
            complete = utterance.completeness is Completeness.COMPLETE
            reason = EndpointReason.GRAMMAR_COMPLETE if complete else EndpointReason.SILENCE
            events.append(self._end(utterance, reason))
        elif self._reached(utterance.length_s, self._config.max_length_s):
            events.append(self._end(utterance, EndpointReason.MAX_LENGTH))
        return events

    def judge(self, completeness: Completeness, *, is_sentence: bool = False) -> None:
        """Say what the words before the present pause are; it holds to the pause's end, and is ignored outside one.

        The next frame ends the utterance if the silence is long enough for that already.

        Args:
            completeness: Whether more will follow.
            is_sentence: They are a whole sentence that may go on; where `completeness` is OPEN, what was learned of
                silences after such ones decides.
        """
        if self._utterance is not None and self._utterance.in_pause and self._config.adaptive:
            self._utterance.completeness = completeness
            is_unfinished = completeness is Completeness.UNFINISHED
            self._utterance.is_sentence = completeness is Completeness.COMPLETE or (is_sentence and not is_unfinished)

    def begin(self) -> OnsetDetected:
        """Begin an utterance now, whatever the VAD says (push to talk)."""
        utterance, onset = self._open()
        utterance.speech_s = max(utterance.speech_s, self._config.min_speech_s)
        return onset

    def end(self, reason: EndpointReason) -> list[EndpointingEvent]:
        """End a running utterance now: the button was released or the input ended."""
        return [] if self._utterance is None else [self._end(self._utterance, reason)]

    def reset(self) -> None:
        """Forget the utterance, after a gap in the audio; what was learned of the speaker stays."""
        if self._utterance is not None and self._pauses is not None:
            self._pauses.utterance_dropped()
        self._utterance = None
        self._kept.clear()
        self._window.clear()

    def _reached(self, so_far_s: float, needed_s: float) -> bool:
        # Half a frame of tolerance: sums of 0.02 are not exact.
        return so_far_s > needed_s - self._frame_s / 2

    def _wait(self, frame: AudioChunk, *, is_speech: bool) -> list[EndpointingEvent]:
        self._kept.append(frame)
        self._window.append(is_speech)
        if not is_speech or sum(self._window) < self._onset_frames:
            return []
        return [self._open()[1]]

    def _open(self) -> tuple[_Utterance, OnsetDetected]:
        audio = tuple(self._kept)
        length_s = len(audio) * self._frame_s
        self._utterance = _Utterance(
            length_s=length_s,
            speech_s=sum(self._window) * self._frame_s,
            run=self._resume_frames,
            speech_end_s=length_s,
        )
        self._kept.clear()
        self._window.clear()
        return self._utterance, OnsetDetected(audio)

    def _count(self, utterance: _Utterance, *, is_speech: bool) -> list[EndpointingEvent]:
        utterance.length_s += self._frame_s
        utterance.run = utterance.run + 1 if is_speech else 0
        if utterance.run >= self._resume_frames or (is_speech and utterance.silence_s == 0.0):
            return self._speak_on(utterance)
        if not is_speech:
            was_quiet = self._reached(utterance.silence_s, QUIET_S)
            utterance.silence_s += self._frame_s
            if not was_quiet and self._reached(utterance.silence_s, QUIET_S):
                return [QuietBegan()]
            if not utterance.in_pause and self._reached(utterance.silence_s, PAUSE_S):
                utterance.in_pause = True
                return [PauseBegan(utterance.silence_s)]
        return []

    def _speak_on(self, utterance: _Utterance) -> list[EndpointingEvent]:
        events: list[EndpointingEvent] = []
        utterance.speech_s += self._frame_s
        if utterance.in_pause:
            events.append(PauseEnded(utterance.silence_s))
            # A noise after the last word is no rest of a sentence: only as much speech as makes an utterance shows
            # that it was a pause. One in an unfinished sentence says nothing about the others: it has its own wait.
            if utterance.completeness is not Completeness.UNFINISHED:
                utterance.unconfirmed.append((utterance.silence_s, utterance.is_sentence))
            utterance.confirmed_at_s = utterance.speech_s + self._config.min_speech_s
            utterance.in_pause = utterance.is_sentence = False
            utterance.completeness = Completeness.OPEN
        if utterance.unconfirmed and self._reached(utterance.speech_s, utterance.confirmed_at_s):
            if self._pauses is not None and not utterance.was_held:
                for silence_s, is_sentence in utterance.unconfirmed:
                    self._pauses.pause(silence_s, is_sentence=is_sentence)
            utterance.unconfirmed.clear()
        utterance.silence_s = 0.0
        utterance.speech_end_s = utterance.length_s
        return events

    def _end(self, utterance: _Utterance, reason: EndpointReason) -> UtteranceEnded | UtteranceDropped:
        why = self._why(utterance, reason)
        endpoint = Endpoint(reason, utterance.silence_s, utterance.speech_end_s, utterance.length_s, why)
        self._utterance = None
        is_long_enough = self._reached(utterance.speech_s, self._config.min_speech_s)
        if self._pauses is not None:
            if is_long_enough and not utterance.was_held:
                self._pauses.utterance_ended(utterance.speech_s, utterance.silence_s, is_sentence=utterance.is_sentence)
            else:
                self._pauses.utterance_dropped()
        return UtteranceEnded(endpoint) if is_long_enough else UtteranceDropped(utterance.speech_s)

    def _learned_s(self, *, is_sentence: bool) -> float:
        if self._pauses is None:
            return self._config.hang_over_s
        return self._pauses.after_sentence_s if is_sentence else self._pauses.silence_s

    def _why(self, utterance: _Utterance, reason: EndpointReason) -> str:
        silence = f"silence {utterance.silence_s * 1000:.0f} ms"
        match reason:
            case EndpointReason.MAX_LENGTH:
                return f"maximum of {self._config.max_length_s:g} s"
            case EndpointReason.BUTTON:
                return "button released"
            case EndpointReason.END_OF_INPUT:
                return "end of input"
            case EndpointReason.GRAMMAR_COMPLETE:
                return f"{silence} after a complete command"
        if utterance.completeness is Completeness.UNFINISHED:
            return f"{silence} after an unfinished sentence"
        kind = "fixed" if self._pauses is None else "learned"
        after = " after a sentence" if utterance.is_sentence else ""
        return f"{silence} of the {kind} {self.needed_s * 1000:.0f} ms{after}"
