"""Frames to facts: wake word, voice activity and endpointing, as the conversation's state asks for them."""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_agent.events import EndpointReason
from edge_agent.hear.endpoint import (
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    UtteranceContinued,
    UtteranceDropped,
    UtteranceEnded,
)
from edge_agent.pipeline.turn import (
    Activated,
    ListeningLapsed,
    MuteChanged,
    SpeechBegan,
    SpeechDropped,
    SpeechEnded,
    State,
)
from edge_agent.runtime.pool import Priority

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import EndpointConfig
    from edge_agent.hear.source import AudioSource
    from edge_agent.hear.vad import VoiceActivityDetector
    from edge_agent.hear.wake import WakeWordDetector
    from edge_agent.pipeline.run import Runner
    from edge_agent.runtime.pools import Station

_log = logging.getLogger(__name__)

_WAKE_S = 5.0
"""A frame takes about a millisecond; beyond this the detector hangs, and hearing starts anew."""
_RESTING = frozenset({State.IDLE, State.LISTENING})
_SPEAKING_S = 0.2
"""Speech since the button was pressed that makes a long press a long sentence and not a wish to mute."""


class Ears:
    """Listens to one source after the other for a runner.

    Half duplex: while a turn is thought about or spoken, frames only serve the wake word. `patient` sources
    (recordings) wait meanwhile instead, as a polite person would.
    """

    def __init__(
        self,
        runner: Runner,
        vad: VoiceActivityDetector,
        endpoint: EndpointConfig,
        *,
        wake: WakeWordDetector | None = None,
        wake_station: Station | None = None,
        listen_s: float,
    ) -> None:
        self._runner = runner
        self._vad = vad
        self._endpointer = Endpointer(endpoint)
        self._wake = wake
        self._wake_station = wake_station
        self._listen_s = listen_s
        self._listened_s = 0.0
        self._spoken_s = 0.0
        self._lag_s = 0.0
        self._button_down = False
        runner.on_reset_hearing = self._reset

    async def listen(self, source: AudioSource, *, patient: bool) -> None:
        """Hear `source` to its end; an utterance it leaves open ends there.

        Raises:
            DeviceError: The microphone is lost.
        """
        was_resting = False
        async with aclosing(source.frames()) as frames:
            async for frame in frames:
                self._lag_s = 0.0 if frame.captured_at is None else max(0.0, time.monotonic() - frame.captured_at)
                await self._hear(frame)
                resting = self._runner.state in _RESTING
                if resting is not was_resting:
                    was_resting = resting
                    source.rest(resting=resting)
                if patient and self._runner.state in {State.THINKING, State.SPEAKING}:
                    await self._runner.rested()
        await self._pass_on(self._endpointer.end(EndpointReason.END_OF_INPUT))
        await self._runner.rested()

    def press(self) -> None:
        """Push to talk: listen from now on, cutting off an answer that is being given."""
        self._runner.post(Activated("button"))
        if self._runner.state is State.LISTENING:
            self._button_down = True

    async def release(self) -> None:
        """The button was let go: the utterance is complete."""
        self._button_down = False
        await self._pass_on(self._endpointer.end(EndpointReason.BUTTON))

    def hold(self) -> None:
        """The button was held: mute or unmute the microphone, unless someone is speaking into it."""
        if self._button_down and self._spoken_s >= _SPEAKING_S:
            return
        self._button_down = False
        self._runner.post(MuteChanged(not self._runner.muted))

    def abandon(self) -> None:
        """The source broke off: forget what was being heard."""
        if self._runner.state is State.HEARING:
            self._runner.interrupt("microphone lost")
        self._reset()

    def _reset(self) -> None:
        self._endpointer.reset()
        self._vad.reset()
        self._listened_s = 0.0
        self._spoken_s = 0.0
        self._button_down = False

    async def _hear(self, frame: AudioChunk) -> None:
        state = self._runner.state
        if self._runner.muted:
            return
        if state in {State.LISTENING, State.HEARING}:
            if self._button_down and not self._endpointer.in_utterance:
                await self._pass_on([self._endpointer.begin()])
            is_speech = self._vad.is_speech(frame)
            self._spoken_s += frame.duration_s if is_speech else 0.0
            await self._pass_on(self._endpointer.push(frame, is_speech=is_speech, held=self._button_down))
            self._lapse(frame.duration_s)
        elif self._wake is not None and self._wake_station is not None:
            detector = self._wake
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
        if self._listened_s >= self._listen_s:
            self._listened_s = 0.0
            self._runner.post(ListeningLapsed())

    async def _pass_on(self, events: list[EndpointingEvent]) -> None:
        for event in events:
            match event:
                case OnsetDetected(audio):
                    self._runner.post(SpeechBegan())
                    for frame in audio:
                        await self._runner.hear_more(frame)
                case UtteranceContinued(frame):
                    await self._runner.hear_more(frame)
                case UtteranceEnded(endpoint):
                    _log.info(
                        "endpoint: %s, silence %.0f ms, length %.2f s",
                        endpoint.reason,
                        endpoint.silence_s * 1000,
                        endpoint.decided_s,
                    )
                    self._runner.post(SpeechEnded(endpoint, self._lag_s))
                case UtteranceDropped(speech_s):
                    _log.debug("dropped: only %.0f ms of speech", speech_s * 1000)
                    self._runner.post(SpeechDropped())
