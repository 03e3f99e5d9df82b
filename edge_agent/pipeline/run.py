"""The runner: carries out what the turn state machine says, on real stages."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from edge_agent.audio import AudioChunk
from edge_agent.errors import EdgeAgentError
from edge_agent.pipeline.report import TurnClock, TurnReport
from edge_agent.pipeline.speaking import SpokenPhrases, Utterer
from edge_agent.pipeline.turn import (
    Announce,
    AnnouncementDue,
    CancelTurn,
    CloseUtterance,
    Conversation,
    Interrupted,
    OpenTurn,
    ReplyBegan,
    ResetHearing,
    ShowState,
    State,
    TurnEnded,
    step,
)
from edge_agent.runtime.channel import Channel, ChannelClosedError
from edge_agent.runtime.loop import single_error
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.tasks import TrackedTasks, run_isolated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    from edge_agent.events import Transcript
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.respond import Answer, Responder
    from edge_agent.pipeline.turn import Command, Fact
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer

_log = logging.getLogger(__name__)

_UTTERANCE_FRAMES = 100
"""Frames (2 s) between the ears and the recognizer; beyond it the ears wait, and the microphone's channel drops."""
_COALESCED_FRAMES = 10
"""Frames handed to the recognizer at once where several wait: fewer trips to its thread, still prompt to cancel."""
_SENTENCES_AHEAD = 4
"""Sentences that the language model may be ahead of the voice before it has to wait."""
_ASR_S = 20.0
"""The longest that recognition may take over one call, waiting included; PocketSphinx's final pass over the longest
utterance takes two on a slow board. Beyond it the engine hangs, and its turn is given up."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The parts that the runner joins, and where the blocking ones work.

    `open_speaker` gives a turn something to speak into and the path of the file it leaves, if any; `phrases` holds what
    was rendered before.
    """

    recognizer: SpeechRecognizer
    asr: Station
    responder: Responder
    synthesizer: SpeechSynthesizer
    tts: Station
    open_speaker: Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]]
    phrases: SpokenPhrases | None = None


@dataclass(slots=True)
class _Turn:
    """A turn while it lives."""

    report: TurnReport
    clock: TurnClock = field(default_factory=TurnClock)
    audio: Channel[AudioChunk] = field(default_factory=lambda: Channel(_UTTERANCE_FRAMES, name="turn.audio"))
    sentences: Channel[str] = field(default_factory=lambda: Channel(_SENTENCES_AHEAD, name="turn.sentences"))
    task: asyncio.Task[None] | None = None
    sink: AudioSink | None = None
    utterer: Utterer | None = None
    cut_off: bool = False

    @property
    def turn_id(self) -> int:
        return self.report.turn


class Runner:
    """Holds the conversation's state; starts and ends turns. Everything here belongs to the loop.

    An async context manager: leaving it waits for the running turn, or ends it where leaving is due to an error.
    """

    def __init__(
        self, stages: Stages, conversation: Conversation, observer: Observer, metrics: Metrics | None = None
    ) -> None:
        self._stages = stages
        self._now = conversation
        self._observer = observer
        self._turn: _Turn | None = None
        self._metrics = metrics or Metrics()
        self._tasks = TrackedTasks(self._metrics)
        self._resting = asyncio.Event()
        self._resting.set()
        self._closing = False
        self.on_reset_hearing: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._observer.state_changed(self._now.state, muted=self._now.muted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = kind is not None
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def state(self) -> State:
        """What the agent is doing."""
        return self._now.state

    @property
    def muted(self) -> bool:
        """True while the microphone is muted."""
        return self._now.muted

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Return the channels of the last turn."""
        turn = self._turn
        return () if turn is None else (turn.audio.statistics(), turn.sentences.statistics())

    def post(self, fact: Fact) -> None:
        """Tell the state machine a fact and carry out what it says, at once."""
        if self._closing:
            return
        self._now, commands = step(self._now, fact)
        for command in commands:
            self._carry_out(command)
        if self._now.in_turn:
            self._resting.clear()
        else:
            self._resting.set()

    async def rested(self) -> None:
        """Wait until no turn is going on."""
        await self._resting.wait()

    async def hear_more(self, frame: AudioChunk) -> None:
        """Hand a frame of the utterance to the recognizer; waits while it is behind."""
        if self._turn is None:
            return
        try:
            await self._turn.audio.put(frame)
        except ChannelClosedError:
            return  # the turn ended meanwhile

    def announce(self, text: str) -> None:
        """Say `text` as a turn of its own, as soon as no other goes on."""
        self.post(AnnouncementDue(text))

    def interrupt(self, by: str) -> None:
        """Stop whatever turn goes on."""
        self.post(Interrupted(by))

    def _carry_out(self, command: Command) -> None:
        match command:
            case OpenTurn(turn_id):
                self._start(_Turn(TurnReport(turn_id)), self._converse)
            case CloseUtterance(_, endpoint, lag_s):
                if self._turn is not None:
                    self._turn.report.endpoint = endpoint
                    self._turn.clock.set_to(endpoint.decided_s + lag_s)
                    self._turn.audio.close()
            case Announce(turn_id, text):
                self._start(_Turn(TurnReport(turn_id, reply=text, source="intent")), self._announce)
            case CancelTurn(turn_id, reason):
                self._cancel(turn_id, reason)
            case ResetHearing():
                self.on_reset_hearing()
            case ShowState(state, muted):
                self._observer.state_changed(state, muted=muted)

    def _start(self, turn: _Turn, work: Callable[[_Turn], Coroutine[object, object, None]]) -> None:
        self._turn = turn
        turn.task = self._tasks.create_task(self._live(turn, work), name=f"turn.{turn.turn_id}")

    def _cancel(self, turn_id: int, reason: str) -> None:
        turn = self._turn
        if turn is None or turn.turn_id != turn_id or turn.task is None:
            return
        _log.info("turn %d is cut off: %s", turn_id, reason)
        turn.cut_off = True
        turn.report.interrupted = turn.report.endpoint is not None
        turn.audio.close()
        if turn.sink is not None:
            turn.sink.flush()
        turn.task.cancel()

    async def _live(self, turn: _Turn, work: Callable[[_Turn], Coroutine[object, object, None]]) -> None:
        """Run a turn to its end, whatever the end is: what goes wrong in it costs this turn alone."""
        try:
            error = await run_isolated(work(turn), f"turn.{turn.turn_id}.work", self._metrics)
            if error is not None:
                self._report(turn, error)
        except asyncio.CancelledError:
            if self._closing or not turn.cut_off:
                raise  # the agent shuts down
        finally:
            turn.audio.close()
            try:
                if turn.report.endpoint is not None or turn.report.reply is not None:
                    turn.report.timings.done_s = turn.report.timings.done_s or turn.clock.played_out_s()
                    self._observer.turn_ended(turn.report)
            finally:
                self.post(TurnEnded(turn.turn_id))

    def _report(self, turn: _Turn, error: Exception) -> None:
        expected = isinstance(error, EdgeAgentError)
        message = str(error) if expected else f"turn {turn.turn_id} failed: {type(error).__name__}: {error}"
        # What was raised on purpose says all in its message; anything else is a defect, whose place is wanted.
        _log.error("turn %d: %s", turn.turn_id, message, exc_info=None if expected else error)
        self._observer.fault(message)

    async def _converse(self, turn: _Turn) -> None:
        transcript = await self._recognize(turn)
        turn.report.heard = transcript.text
        turn.report.confidence = transcript.confidence
        self._observer.heard(turn.report)
        answer = await self._stages.responder.answer(transcript)
        await self._reply(turn, answer)

    async def _announce(self, turn: _Turn) -> None:
        turn.clock.set_to(0.0)
        await self._speak(turn, _only(turn.report.reply or ""))

    async def _recognize(self, turn: _Turn) -> Transcript:
        async with self._stages.asr.hold():
            return await self._hear_out(turn)

    async def _hear_out(self, turn: _Turn) -> Transcript:
        recognizer, asr = self._stages.recognizer, self._stages.asr
        call = partial(asr.run, timeout_s=_ASR_S, stop=recognizer.stop)
        await call(recognizer.start, kind="asr.start")
        async for frame in turn.audio:
            frames = [frame, *turn.audio.take(_COALESCED_FRAMES - 1)]
            chunk = AudioChunk(b"".join(part.pcm for part in frames), frame.rate_hz)
            so_far = await call(partial(recognizer.accept, chunk), kind="asr.accept")
            if so_far is not None:
                self._observer.partial_heard(turn.turn_id, so_far.text)
        transcript = await call(recognizer.finish, kind="asr.finish", priority=Priority.HIGH)
        endpoint, timings = turn.report.endpoint, turn.report.timings
        if endpoint is not None:
            timings.speech_end_s = endpoint.speech_end_s
            timings.endpoint_s = endpoint.decided_s
            timings.asr_s = turn.clock.now_s() - endpoint.decided_s
        return transcript

    async def _reply(self, turn: _Turn, answer: Answer) -> None:
        report = turn.report
        report.intent, report.slots, report.source = answer.intent, answer.slots, answer.source
        produce_sentences = answer.sentences
        if produce_sentences is None:
            return
        sentences: list[str] = []

        def note_first_token() -> None:
            report.timings.first_token_s = turn.clock.now_s()

        ahead = turn.sentences

        async def produce() -> None:
            try:
                async with aclosing(produce_sentences(note_first_token)) as produced:
                    async for sentence in produced:
                        sentences.append(sentence)
                        report.reply = " ".join(sentences)
                        self._observer.sentence_ready(turn.turn_id, sentence)
                        await ahead.put(sentence)
            finally:
                ahead.close()

        try:
            async with TrackedTasks(self._metrics) as group:
                group.create_task(produce(), name=f"turn.{turn.turn_id}.reason")
                group.create_task(self._speak(turn, aiter(ahead)), name=f"turn.{turn.turn_id}.speak")
        except BaseExceptionGroup as group:
            if (error := single_error(group)) is not None:
                raise error from group
            raise
        finally:
            if turn.utterer is not None:
                report.reply_heard = turn.utterer.heard_text()
                self._stages.responder.remember(report, report.reply_heard)

    async def _speak(self, turn: _Turn, sentences: AsyncIterator[str]) -> None:
        report, clock = turn.report, turn.clock

        def on_audio(chunk: AudioChunk) -> None:
            if report.timings.first_audio_s is None:
                report.timings.first_audio_s = clock.now_s()
                self.post(ReplyBegan(turn.turn_id))
            clock.queue_audio(chunk.duration_s)

        async with self._stages.open_speaker(turn.turn_id) as (sink, path):
            turn.sink = sink
            turn.utterer = Utterer(
                self._stages.synthesizer, self._stages.tts, sink, on_audio=on_audio, phrases=self._stages.phrases
            )
            await turn.utterer.speak(sentences)
            report.timings.done_s = clock.played_out_s()
        report.audio = path


async def _only(text: str) -> AsyncIterator[str]:
    yield text
