"""Doubles for the pipeline's Protocols: scripted, on no clock, with everything that happens written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.events import Transcript
from edge_agent.grammar import Grammar
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.respond import Answer
from edge_agent.pipeline.turn import State
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
        self.stops = 0

    def load(self, grammar: Grammar | None) -> None:
        """Nothing to load."""

    def start(self) -> None:
        """Begin to count samples."""
        self.samples.append(0)

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Count; say how much was heard."""
        self.samples[-1] += chunk.samples
        return Transcript(f"{self.samples[-1]} samples", final=False)

    def finish(self) -> Transcript:
        """Follow the script."""
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
    """Answers with the scripted sentences, whatever was heard."""

    def __init__(self, *answers: Sequence[str] | None) -> None:
        self._answers = list(answers)
        self.remembered: list[tuple[str | None, str]] = []

    async def answer(self, transcript: Transcript) -> Answer:
        """Follow the script; None says nothing."""
        sentences = self._answers.pop(0)
        if sentences is None:
            return Answer("none", None, transcript.text)

        async def produce(note_first: Callable[[], None]) -> AsyncGenerator[str, None]:
            note_first()
            for sentence in sentences:
                yield sentence

        return Answer("llm", produce, transcript.text)

    def remember(self, report: TurnReport, heard: str) -> None:
        """Write down."""
        self.remembered.append((report.heard, heard))


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
    """Plays at once, or, while `held`, keeps everything pending until released or flushed."""

    name = "held"

    def __init__(self, *, held: bool = False) -> None:
        self.played: list[AudioChunk] = []
        self.pending: list[AudioChunk] = []
        self.flushed = 0
        self._go = asyncio.Event()
        if not held:
            self._go.set()

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
        (self.played if self._go.is_set() else self.pending).append(chunk)

    async def drain(self) -> None:
        """Wait for the release."""
        while self.pending:
            await self._go.wait()
            self.release()

    def play(self, seconds: float) -> None:
        """Let so much of what is pending be played."""
        while self.pending and seconds >= self.pending[0].duration_s - 1e-9:
            seconds -= self.pending[0].duration_s
            self.played.append(self.pending.pop(0))

    def release(self) -> None:
        """Play everything, from now on at once."""
        self.played += self.pending
        self.pending.clear()
        self._go.set()

    def flush(self) -> None:
        """Drop what is pending."""
        self.flushed += 1
        self.pending.clear()


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
