"""Doubles for the pipeline's Protocols: scripted, on no clock, with everything that happens written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.engines import LlmConfig
from edge_agent.events import Completeness, Transcript
from edge_agent.grammar import Grammar
from edge_agent.pipeline.answering import Answer, Chunked, Understanding
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.pipeline.report import TurnReport
from edge_agent.reason.llm import ChatMessage, PromptCost
from edge_agent.speak.sink import AudioSink

SPEECH = b"\x01\x00" * (FRAME_BYTES // 2)
QUIET = bytes(FRAME_BYTES)


class MarkedVad:
    """Calls speech what was marked as such."""

    def is_speech(self, frame: AudioChunk) -> bool:
        """Look at the mark."""
        return frame.pcm == SPEECH

    def reset(self) -> None:
        """Nothing to forget."""


class DiagramSource:
    """Frames from a timing diagram: # is speech, . is quiet, 20 ms each; a callable in between is called."""

    name = "diagram"
    dropped_frames = 0

    def __init__(self, *parts: str | Callable[[], object]) -> None:
        self._parts = parts
        self.rests: list[bool] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def rest(self, *, resting: bool) -> None:
        """Write down."""
        self.rests.append(resting)

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the diagram."""
        for part in self._parts:
            if isinstance(part, str):
                for mark in part:
                    yield AudioChunk(SPEECH if mark == "#" else QUIET, HEAR_RATE_HZ)
                    await asyncio.sleep(0)
            else:
                outcome = part()
                if asyncio.iscoroutine(outcome):
                    await outcome


class ScriptedRecognizer:
    """Hears what the script says, an utterance after the other; an exception in the script is raised."""

    name = "scripted"

    def __init__(self, *script: Transcript | Exception) -> None:
        self._script = list(script)
        self.samples: list[int] = []
        self.previews = 0
        self.finishes = 0
        self.stops = 0
        self._previewed = False

    def load(self, grammar: Grammar | None) -> None:
        """Nothing to load."""

    def start(self) -> None:
        """Begin to count samples; an utterance that ended with its preview is over."""
        if self._previewed:
            self._script.pop(0)
        self._previewed = False
        self.samples.append(0)

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Count; say how much was heard."""
        self._previewed = False
        self.samples[-1] += chunk.samples
        return Transcript(f"{self.samples[-1]} samples", final=False)

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Count; hear what the next `finish` will, nothing where the script is over."""
        self.previews += 1
        outcome = self._script[0] if self._script else Transcript("")
        if isinstance(outcome, Exception):
            self._script.pop(0)
            raise outcome
        self._previewed = bool(self._script)
        return outcome

    def finish(self) -> Transcript:
        """Follow the script."""
        self.finishes += 1
        self._previewed = False
        outcome = self._script.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Count; calls are short."""
        self.stops += 1

    def close(self) -> None:
        """Nothing to free."""


class ScriptedResponder:
    """Answers with the scripted sentences, whatever was heard.

    Args:
        foresees: Begin the next answer in a pause.
        judges: How complete each text is; `open` where it is not in here.
    """

    def __init__(
        self,
        *answers: Sequence[str] | None,
        foresees: bool = False,
        judges: Mapping[str, Completeness] | None = None,
    ) -> None:
        self._answers = list(answers)
        self._foresees = foresees
        self._judges = judges or {}
        self.remembered: list[tuple[str | None, str]] = []
        self.understood: list[str] = []
        self.begun: list[str] = []
        self.expired = 0

    @property
    def foresees(self) -> bool:
        """As the script says."""
        return self._foresees

    async def understand(self, transcript: Transcript, *, before: str = "") -> Understanding:
        """Take the words as they are."""
        text = f"{before} {transcript.text}".strip()
        self.understood.append(text)
        return Understanding(transcript, text, None, self._judges.get(transcript.text, Completeness.OPEN))

    def foresee(self, understanding: Understanding) -> Answer | None:
        """Return the scripted answer, and keep it for `answer`."""
        if not self._foresees or not understanding.text or not self._answers:
            return None
        return self._make(self._answers[0], understanding)

    def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
        """Follow the script; None says nothing."""
        sentences = self._answers.pop(0)
        return foreseen if foreseen is not None else self._make(sentences, understanding)

    def remember(self, report: TurnReport, heard: str, *, call: str = "") -> None:
        """Write down."""
        self.remembered.append((report.heard, heard))

    def expire(self) -> None:
        """Count."""
        self.expired += 1

    def _make(self, sentences: Sequence[str] | None, understanding: Understanding) -> Answer:
        if sentences is None:
            return Answer("none", None, understanding.text)

        async def produce(how: Chunked) -> AsyncGenerator[str, None]:
            self.begun.append(understanding.text)
            how.note_first()
            for sentence in sentences:
                yield sentence

        return Answer("llm", produce, understanding.text)


class ScriptedModel:
    """A language model that says "Well." to everything.

    Attributes:
        asked: How long each answer was allowed to be.
        chats: The last message of each chat.
        warmed: What was evaluated beforehand.
    """

    name = "scripted"
    prompt_cost: PromptCost | None = None

    def __init__(self) -> None:
        self.asked: list[int | None] = []
        self.chats: list[str] = []
        self.warmed: list[Sequence[ChatMessage]] = []
        self.closed = False

    def load(self) -> None:
        """Nothing to load."""

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None, call_grammar: str | None = None
    ) -> Generator[str, None, None]:
        """Say it."""
        self.asked.append(most_tokens)
        self.chats.append(messages[-1].content)
        yield from self.say(messages[-1].content)

    def tune(self, config: LlmConfig) -> None:
        """Nothing to tune."""

    def room(self, messages: Sequence[ChatMessage]) -> float:
        """All of it."""
        return 1.0

    def say(self, question: str) -> Generator[str, None, None]:
        """Yield an answer's pieces; others say more."""
        yield "Well."

    def warm(self, messages: Sequence[ChatMessage]) -> Generator[None, None, None]:
        """Write down."""
        self.warmed.append(messages)
        yield

    def stop(self, job: Generator[object, None, None] | None = None) -> None:
        """Steps are short."""

    def close(self) -> None:
        """Write down."""
        self.closed = True


async def said(answer: Answer) -> str:
    """Return all that an answer says, once it is wanted for certain."""
    assert answer.sentences is not None
    committed = asyncio.Event()
    committed.set()
    return " ".join(
        [sentence async for sentence in answer.sentences(Chunked(lambda: None, committed, nothing_to_keep))]
    )


class CountingSynthesizer:
    """Renders 0.1 s a word, in chunks of a word; each sample's value is the word's length."""

    name = "counting"

    most_threads: int | None = 1

    def __init__(self, fail_on: str = "") -> None:
        self.rendered: list[str] = []
        self._fail_on = fail_on

    def load(self) -> None:
        """Nothing to load."""

    def stop(self, job: Generator[AudioChunk, None, None] | None = None) -> None:
        """Steps are short."""

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Render word by word."""
        from edge_agent.errors import SynthesisError

        for word in sentence.split():
            if word == self._fail_on:
                raise SynthesisError(self.name, sentence, "scripted")
            self.rendered.append(word)
            yield AudioChunk(len(word).to_bytes(2, "little") * 1600, HEAR_RATE_HZ)

    def close(self) -> None:
        """Nothing to free."""


class HeldSpeaker:
    """Plays at once, or, while `held` or on hold, keeps everything pending until released, resumed or flushed.

    Attributes:
        level: What `recent_level` returns.
        holds: How often it was held.
        resumes: How often it was resumed.
    """

    name = "held"

    def __init__(self, *, held: bool = False) -> None:
        self.played: list[AudioChunk] = []
        self.pending: list[AudioChunk] = []
        self.flushed = 0
        self.holds = 0
        self.resumes = 0
        self.level = 0.0
        self.on_hold = False
        self._go = not held
        self._changed = asyncio.Event()

    @property
    def played_s(self) -> float:
        """Seconds played."""
        return sum(chunk.duration_s for chunk in self.played)

    @property
    def pending_s(self) -> float:
        """Seconds pending."""
        return sum(chunk.duration_s for chunk in self.pending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    async def write(self, chunk: AudioChunk) -> None:
        """Play or keep."""
        (self.played if self._go and not self.on_hold else self.pending).append(chunk)

    async def drain(self) -> None:
        """Wait for the release, or a flush."""
        while self.pending:
            await self._changed.wait()

    def play(self, seconds: float) -> None:
        """Let so much of what is pending be played."""
        while self.pending and seconds >= self.pending[0].duration_s - 1e-9:
            seconds -= self.pending[0].duration_s
            self.played.append(self.pending.pop(0))

    def release(self) -> None:
        """Play everything, from now on at once, unless on hold."""
        self._go = True
        self._play_on()

    def flush(self) -> None:
        """Drop what is pending, and end a hold."""
        self.flushed += 1
        self.on_hold = False
        self.pending.clear()
        self._wake()

    def hold(self) -> None:
        """Keep what is written."""
        self.holds += 1
        self.on_hold = True

    def resume(self) -> None:
        """Play what was kept, unless `held`."""
        self.resumes += 1
        self.on_hold = False
        self._play_on()

    def recent_level(self, window_s: float) -> float:
        """Return what the test set."""
        return self.level

    def _play_on(self) -> None:
        if self._go and not self.on_hold:
            self.played += self.pending
            self.pending.clear()
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def lend(sink: AudioSink) -> Callable[[int], object]:
    """Return an `open_speaker` that lends the same speaker to every turn."""

    @asynccontextmanager
    async def open_speaker(_turn_id: int) -> AsyncIterator[tuple[AudioSink, Path | None]]:
        yield sink, None

    return open_speaker


class Notebook(SilentObserver):
    """Writes down what it observes."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.partials: list[str] = []
        self.sentences: list[str] = []
        self.turns: list[TurnReport] = []
        self.faults: list[str] = []

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Write down."""
        self.states.append(state)

    def partial_heard(self, turn_id: int, text: str) -> None:
        """Write down."""
        self.partials.append(text)

    def sentence_ready(self, turn_id: int, sentence: str) -> None:
        """Write down."""
        self.sentences.append(sentence)

    def turn_ended(self, report: TurnReport) -> None:
        """Write down."""
        self.turns.append(report)

    def fault(self, message: str) -> None:
        """Write down."""
        self.faults.append(message)


def heard(*texts: str) -> list[Transcript]:
    """Return certain transcripts."""
    return [Transcript(text, confidence=0.9, in_grammar=True) for text in texts]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition()` holds; bounded."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")
