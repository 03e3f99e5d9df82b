"""Frames to facts: wake word, voice activity, endpointing and cutting in, as the conversation's state asks for them."""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_agent.audio import AudioChunk
from edge_agent.events import EndpointReason
from edge_agent.hear.echo import ECHO_WINDOW_S, EchoGuard, Origin
from edge_agent.hear.endpoint import (
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    PauseBegan,
    PauseEnded,
    QuietBegan,
    UtteranceContinued,
    UtteranceDropped,
    UtteranceEnded,
)
from edge_agent.hear.pauses import PauseLearner
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.facts import (
    Activated,
    ListeningLapsed,
    MuteChanged,
    SpeechBegan,
    SpeechDropped,
    SpeechEnded,
)
from edge_agent.pipeline.hearing import PauseMark, QuietMark
from edge_agent.runtime.pool import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.audio import ActivationConfig, EndpointConfig, InterruptionConfig
    from edge_agent.hear.source import AudioSource
    from edge_agent.hear.vad import VoiceActivityDetector
    from edge_agent.hear.wake import WakeWordDetector
    from edge_agent.pipeline.answering import Understanding
    from edge_agent.pipeline.run import Runner
    from edge_agent.runtime.pools import Station

_log = logging.getLogger(__name__)

_WAKE_S = 5.0
"""A frame takes about a millisecond; beyond this the detector hangs, and hearing starts anew."""
_RESTING = frozenset({State.IDLE, State.LISTENING})
_ANSWERING = frozenset({State.THINKING, State.SPEAKING})
_SPEAKING_S = 0.2
"""Speech since the button was pressed that makes a long press a long sentence and not a wish to mute."""
_LEVELS = ("nothing", "button", "wake_word", "stop_word", "speech")


class Ears:
    """Listens to one source after the other for a runner.

    While a turn is thought about or spoken, frames serve the wake word, and, where the configuration lets people cut
    in by words, a voice that is louder than the echo of what is played. `patient` sources (recordings) wait meanwhile
    instead, as a polite person would.

    Args:
        pauses: Learns how long people pause; None: nothing is learned.
        on_utterance: Is given each frame of an utterance and its turn's id, for whoever keeps audio.
    """

    def __init__(
        self,
        runner: Runner,
        vad: VoiceActivityDetector,
        endpoint: EndpointConfig,
        activation: ActivationConfig,
        interruption: InterruptionConfig,
        *,
        wake: WakeWordDetector | None = None,
        wake_station: Station | None = None,
        pauses: PauseLearner | None = None,
        on_utterance: Callable[[int, AudioChunk], None] | None = None,
    ) -> None:
        self._runner = runner
        self._wake_station = wake_station
        self._on_utterance = on_utterance
        self.frames_heard = 0
        """Frames that were heard, from all sources: while nobody is deaf it grows by fifty a second."""
        self.configure(vad, endpoint, activation, interruption, wake=wake, pauses=pauses)
        self._listened_s = 0.0
        self._spoken_s = 0.0
        self._since_end_s = 0.0
        self._since_onset_s = 0.0
        self._gap_s = 0.0
        self._pause = 0
        self._was_judged = False
        self._length_s = 0.0
        self._paused_at_s = 0.0
        self._considered_s = 0.0
        self._lag_s = 0.0
        self._is_patient = False
        self._button_down = False
        runner.on_reset_hearing = self._reset
        runner.on_understood = self._judge
        runner.on_gone_on = self._gone_on

    def configure(
        self,
        vad: VoiceActivityDetector,
        endpoint: EndpointConfig,
        activation: ActivationConfig,
        interruption: InterruptionConfig,
        *,
        wake: WakeWordDetector | None = None,
        pauses: PauseLearner | None = None,
    ) -> None:
        """Hear with these settings from now on. While no turn goes on: what was heard of an utterance is forgotten."""
        self._vad = vad
        self._pauses = pauses if pauses is not None else PauseLearner(endpoint)
        self._endpointer = Endpointer(endpoint, pauses=self._pauses)
        cutting_in = endpoint.model_copy(update={"onset_s": interruption.onset_s})
        self._cutting_in = Endpointer(cutting_in, pauses=self._pauses)
        self._guard = EchoGuard(interruption.margin_db)
        self._level = _LEVELS.index(interruption.by)
        self._wake = wake
        self._activation = activation
        self._was_judged = False

    async def listen(self, source: AudioSource, *, patient: bool) -> None:
        """Hear `source` to its end; an utterance it leaves open ends there.

        Raises:
            DeviceError: The microphone is lost.
        """
        was_resting = False
        self._is_patient = patient
        async with aclosing(source.frames()) as frames:
            async for frame in frames:
                self._lag_s = 0.0 if frame.captured_at is None else max(0.0, time.monotonic() - frame.captured_at)
                await self._hear(frame)
                self.frames_heard += 1
                resting = self._runner.state in _RESTING
                if resting is not was_resting:
                    was_resting = resting
                    source.rest(resting=resting)
                if patient and self._runner.state in _ANSWERING:
                    await self._runner.rested()
        await self._pass_on(self._cutter.end(EndpointReason.END_OF_INPUT))
        await self._runner.rested()

    def press(self) -> None:
        """Push to talk: listen from now on, cutting off an answer that is being given."""
        if self._runner.state in _ANSWERING and not self._may_cut_in("button"):
            return
        self._runner.post(Activated("button"))
        if self._runner.state is State.LISTENING:
            self._button_down = True

    async def release(self) -> None:
        """The button was let go: the utterance is complete; where nothing was said yet, it is waited for."""
        was_down, self._button_down = self._button_down, False
        if was_down and self._spoken_s < _SPEAKING_S and self._cutter.in_utterance:
            self._cutter.reset()
            self._runner.post(SpeechDropped())
            return
        await self._pass_on(self._cutter.end(EndpointReason.BUTTON))

    def hold(self) -> None:
        """The button was held: mute or unmute the microphone, unless someone is speaking into it."""
        if self._button_down and self._spoken_s >= _SPEAKING_S:
            return
        self._button_down = False
        self._runner.post(MuteChanged(not self._runner.muted))

    def abandon(self) -> None:
        """The source broke off: forget what was being heard, and how loud an echo is with another microphone."""
        if self._runner.state is State.HEARING:
            self._runner.interrupt("hearing ended")
        elif self._runner.has_rival:
            self._runner.post(SpeechDropped())  # the answer goes on; what was said to its end is still understood
        self._reset()
        self._vad.reset()
        self._guard.forget()

    def _reset(self) -> None:
        self._endpointer.reset()
        self._cutting_in.reset()
        self._listened_s = 0.0
        self._spoken_s = 0.0
        self._button_down = False

    def _forget_muted(self) -> None:
        """What was heard before must not be put in front of what is said after."""
        if self._was_judged:
            self._was_judged = False
            self._endpointer.reset()
            self._cutting_in.reset()

    def _may_cut_in(self, by: str) -> bool:
        return _LEVELS.index(by) <= self._level

    @property
    def _cutter(self) -> Endpointer:
        """What the utterance being spoken is cut out with: one that began in an answer stays with its own."""
        return self._cutting_in if self._cutting_in.in_utterance else self._endpointer

    def _judge(self, pause: int, understanding: Understanding) -> None:
        if pause != self._pause:
            return  # somebody has gone on meanwhile, and maybe paused again
        match = understanding.match
        self._cutter.judge(understanding.completeness, is_sentence=match is not None and match.edits == 0)

    async def _hear(self, frame: AudioChunk) -> None:
        if self._runner.muted:
            self._forget_muted()
            return
        state = self._runner.state
        self._since_end_s += frame.duration_s
        self._since_onset_s += frame.duration_s
        if state in _ANSWERING and self._cutting_in.in_utterance and not self._runner.has_rival:
            self._cutting_in.reset()  # its turn was ended from elsewhere
        if state in {State.LISTENING, State.HEARING}:
            await self._listen(frame)
        elif state in _ANSWERING and self._may_cut_in("stop_word") and not self._is_patient:
            is_speech, frame = self._judged(frame, certain=True)
            await self._pass_on(self._cutting_in.push(frame, is_speech=is_speech))
        else:
            self._was_judged = False
        if self._wake is not None and self._listens_for_wake(self._runner.state):
            await self._detect_wake(self._wake, frame)

    async def _listen(self, frame: AudioChunk) -> None:
        if self._button_down and not self._cutter.in_utterance:
            await self._pass_on([self._cutter.begin()])
        is_speech, frame = self._judged(frame, certain=False)
        self._spoken_s += frame.duration_s if is_speech else 0.0
        await self._pass_on(self._cutter.push(frame, is_speech=is_speech, held=self._button_down))
        self._lapse(frame.duration_s)

    def _judged(self, frame: AudioChunk, *, certain: bool) -> tuple[bool, AudioChunk]:
        """Tell whether a frame is a voice's, and what of it the recognizer may hear: nothing of an echo.

        Where `certain`, only what is louder than any echo is a voice: to cut in. Else all speech that is not clearly
        an echo: behind the tone that says that the agent listens, people may whisper.
        """
        is_speech = self._vad.is_speech(frame)
        if not self._was_judged:
            self._was_judged = True
            self._guard.rest()
        level = self._runner.recent_level(ECHO_WINDOW_S)
        origin = self._guard.judge(frame, is_speech=is_speech, played_level=level)
        if origin is Origin.ECHO:
            return False, AudioChunk(bytes(len(frame.pcm)), frame.rate_hz, frame.captured_at)
        return (origin is Origin.VOICE if certain else is_speech), frame

    def _listens_for_wake(self, state: State) -> bool:
        if state in _ANSWERING:
            return self._may_cut_in("wake_word")
        # After an answer people may go on at once, or say the wake word as they are used to.
        return state is State.IDLE or self._runner.invitation != "nothing"

    async def _detect_wake(self, detector: WakeWordDetector, frame: AudioChunk) -> None:
        if self._wake_station is None:
            return
        word = await self._wake_station.run(
            lambda: detector.detect(frame), kind="wake", priority=Priority.HIGH, timeout_s=_WAKE_S
        )
        if word is not None:
            _log.info("wake word %r", word)
            self._runner.post(Activated(f"wake word {word}"))

    def _lapse(self, duration_s: float) -> None:
        if self._runner.state is not State.LISTENING:
            self._listened_s = 0.0
            return
        self._listened_s += duration_s
        is_follow_up = self._runner.invitation == "follow_up"
        if self._listened_s >= (self._activation.follow_up_s if is_follow_up else self._activation.listen_s):
            self._listened_s = 0.0
            self._runner.post(ListeningLapsed())

    async def _pass_on(self, events: list[EndpointingEvent]) -> None:
        for event in events:
            match event:
                case OnsetDetected(audio):
                    await self._begin(audio)
                case UtteranceContinued(frame):
                    await self._hand_on(frame)
                case QuietBegan():
                    await self._runner.pause(QuietMark())
                case PauseBegan():
                    await self._pause_begins()
                case PauseEnded():
                    await self._runner.pause(PauseMark(began=False, at_s=self._length_s, number=self._pause))
                case UtteranceEnded(endpoint):
                    turn = {"EDGE_TURN": self._runner.heard_turn_id}
                    why = endpoint.why or endpoint.reason
                    _log.info("endpoint: %s, length %.2f s", why, endpoint.decided_s, extra=turn)
                    self._since_end_s = 0.0
                    self._runner.post(SpeechEnded(endpoint, self._lag_s + self._overdue_s(endpoint.decided_s)))
                case UtteranceDropped(speech_s):
                    _log.debug("dropped: only %.0f ms of speech", speech_s * 1000)
                    self._runner.post(SpeechDropped())

    async def _begin(self, audio: tuple[AudioChunk, ...]) -> None:
        length_s = sum(frame.duration_s for frame in audio)
        self._pauses.forget(self._since_onset_s)
        self._since_onset_s = 0.0
        self._gap_s = max(0.0, self._since_end_s - length_s)
        self._considered_s = self._length_s = 0.0
        self._runner.post(SpeechBegan(length_s + self._lag_s))
        for frame in audio:
            await self._hand_on(frame)

    async def _hand_on(self, frame: AudioChunk) -> None:
        self._length_s += frame.duration_s
        if self._on_utterance is not None:
            self._on_utterance(self._runner.heard_turn_id, frame)
        await self._runner.hear_more(frame)

    def _gone_on(self) -> None:
        """An utterance was called finished too early: the person goes on with it."""
        self._pauses.false_end(self._gap_s)

    async def _pause_begins(self) -> None:
        self._pause += 1
        await self._runner.pause(PauseMark(began=True, at_s=self._length_s, number=self._pause))
        if self._is_patient:
            # A recording knows no time: what is found out in a pause is waited for there, and counted below.
            self._paused_at_s, self._considered_s = self._length_s, await self._runner.considered()

    def _overdue_s(self, decided_s: float) -> float:
        """Return how much longer than its pause the last one's consideration took, where that was waited for."""
        return max(0.0, self._considered_s - max(0.0, decided_s - self._paused_at_s)) if self._considered_s else 0.0
