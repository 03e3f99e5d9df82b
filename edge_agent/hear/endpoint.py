"""Where an utterance begins and ends: arithmetic on frame durations, no clock.

speech  ....##.#####..######.................
events      └ onset within its window       └ endpoint: hang-over used up
audio   [pre-roll][ onset ...... hang-over ]
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S
from edge_agent.events import Endpoint, EndpointReason

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import EndpointConfig

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
class UtteranceEnded:
    """The utterance is over."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class UtteranceDropped:
    """What began was too short to be an utterance (a click, a cough)."""

    speech_s: float


EndpointingEvent = OnsetDetected | UtteranceContinued | UtteranceEnded | UtteranceDropped


class Endpointer:
    """Cuts a stream of judged frames into utterances."""

    def __init__(self, config: EndpointConfig, frame_s: float = FRAME_S) -> None:
        self._config = config
        self._frame_s = frame_s
        self._onset_frames = max(1, round(config.onset_s / frame_s))
        # Speech at the onset is ragged: it may be spread over twice its length.
        self._window: deque[bool] = deque(maxlen=2 * self._onset_frames)
        self._kept: deque[AudioChunk] = deque(maxlen=round(config.pre_roll_s / frame_s) + 2 * self._onset_frames)
        self._resume_frames = max(1, round(_RESUME_S / frame_s))
        self._in_utterance = False
        self._length_s = 0.0
        self._speech_s = 0.0
        self._silence_s = 0.0
        self._speech_end_s = 0.0
        self._run = 0

    @property
    def in_utterance(self) -> bool:
        """True between an onset and its end."""
        return self._in_utterance

    def push(self, frame: AudioChunk, *, is_speech: bool, held: bool = False) -> list[EndpointingEvent]:
        """Take one judged frame; return what follows from it, in order.

        While `held` (the button is down) silence does not end the utterance.
        """
        if not self._in_utterance:
            return self._wait(frame, is_speech=is_speech)
        self._count(is_speech=is_speech)
        events: list[EndpointingEvent] = [UtteranceContinued(frame)]
        # Half a frame of tolerance: sums of 0.02 are not exact.
        if not held and self._silence_s > self._config.hang_over_s - self._frame_s / 2:
            events.append(self._end(EndpointReason.SILENCE))
        elif self._length_s > self._config.max_length_s - self._frame_s / 2:
            events.append(self._end(EndpointReason.MAX_LENGTH))
        return events

    def begin(self) -> OnsetDetected:
        """Begin an utterance now, whatever the VAD says (push to talk)."""
        audio = self._open()
        self._speech_s = max(self._speech_s, self._config.min_speech_s)
        return OnsetDetected(audio)

    def end(self, reason: EndpointReason) -> list[EndpointingEvent]:
        """End a running utterance now: the button was released or the input ended."""
        return [self._end(reason)] if self._in_utterance else []

    def reset(self) -> None:
        """Forget everything, after a gap in the audio."""
        self._in_utterance = False
        self._kept.clear()
        self._start_over()

    def _start_over(self) -> None:
        self._window.clear()
        self._length_s = 0.0
        self._speech_s = 0.0
        self._silence_s = 0.0
        self._speech_end_s = 0.0
        self._run = 0

    def _wait(self, frame: AudioChunk, *, is_speech: bool) -> list[EndpointingEvent]:
        self._kept.append(frame)
        self._window.append(is_speech)
        if not is_speech or sum(self._window) < self._onset_frames:
            return []
        return [OnsetDetected(self._open())]

    def _open(self) -> tuple[AudioChunk, ...]:
        audio = tuple(self._kept)
        speech_s = sum(self._window) * self._frame_s
        self._kept.clear()
        self._start_over()
        self._in_utterance = True
        self._length_s = len(audio) * self._frame_s
        self._speech_s = speech_s
        self._speech_end_s = self._length_s
        self._run = self._resume_frames
        return audio

    def _count(self, *, is_speech: bool) -> None:
        self._length_s += self._frame_s
        self._run = self._run + 1 if is_speech else 0
        if self._run >= self._resume_frames or (is_speech and self._silence_s == 0.0):
            self._speech_s += self._frame_s
            self._silence_s = 0.0
            self._speech_end_s = self._length_s
        elif not is_speech:
            self._silence_s += self._frame_s

    def _end(self, reason: EndpointReason) -> UtteranceEnded | UtteranceDropped:
        endpoint = Endpoint(reason, self._silence_s, self._speech_end_s, self._length_s)
        speech_s = self._speech_s
        self._in_utterance = False
        self._start_over()
        if speech_s < self._config.min_speech_s - self._frame_s / 2:
            return UtteranceDropped(speech_s)
        return UtteranceEnded(endpoint)
