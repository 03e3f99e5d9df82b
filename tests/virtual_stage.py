"""A stage on virtual time: people who speak by script, engines that take their time, a speaker whose sound is known."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from edge_agent.audio import FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.events import Transcript
from edge_agent.grammar import Grammar

T = TypeVar("T")

PLAYED_LEVEL = 0.05
_ROOM = np.random.default_rng(1)
VOICE = (_ROOM.uniform(-0.9, 0.9, FRAME_SAMPLES) * 32767).astype("<i2").tobytes()
"""A person close by: much louder than any echo."""
ECHO = (_ROOM.uniform(-0.01, 0.01, FRAME_SAMPLES) * 32767).astype("<i2").tobytes()
WHISPER = (_ROOM.uniform(-0.001, 0.001, FRAME_SAMPLES) * 32767).astype("<i2").tobytes()
"""Somebody who speaks more softly than any echo."""
QUIET = bytes(2 * FRAME_SAMPLES)
_MOST_PENDING_S = 2.0


class EagerVad:
    """Takes the echo of what is played for a voice, too, as a real one does."""

    def is_speech(self, frame: AudioChunk) -> bool:
        """Anything but silence."""
        return frame.pcm in {VOICE, ECHO, WHISPER}

    def reset(self) -> None:
        """Nothing to forget."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What left the speaker: samples of one value, in virtual seconds."""

    begin_s: float
    end_s: float
    value: int


class VirtualSpeaker:
    """Plays in virtual time, and remembers what sounded when."""

    name = "virtual"

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self.flushes = 0
        self._queue: deque[tuple[int, float]] = deque()
        self._at_s = 0.0
        self._played_s = 0.0
        self._is_held = False
        self._changed = asyncio.Event()

    @property
    def played_s(self) -> float:
        """Seconds played."""
        self._advance()
        return self._played_s

    @property
    def pending_s(self) -> float:
        """Seconds queued."""
        self._advance()
        return sum(seconds for _, seconds in self._queue)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    async def write(self, chunk: AudioChunk) -> None:
        """Queue; wait while 2 s are pending."""
        flushes = self.flushes
        while self.pending_s > _MOST_PENDING_S and self.flushes == flushes:
            await self._wait(0.1)
        if self.flushes == flushes:
            self._advance()
            self._queue.append((int.from_bytes(chunk.pcm[:2], "little"), chunk.duration_s))
            self._wake()

    async def drain(self) -> None:
        """Wait for the end, or a flush."""
        while (left_s := self.pending_s) > 0:
            await self._wait(left_s)

    def flush(self) -> None:
        """Drop what is pending; end a hold."""
        self._advance()
        self.flushes += 1
        self._queue.clear()
        self._is_held = False
        self._wake()

    def hold(self) -> None:
        """Fall silent."""
        self._advance()
        self._is_held = True
        self._wake()

    def resume(self) -> None:
        """Go on."""
        self._advance()
        self._is_held = False
        self._wake()

    def recent_level(self, window_s: float) -> float:
        """Return the level where something sounded within the window."""
        self._advance()
        return PLAYED_LEVEL if self.sounds and self.sounds[-1].end_s > self._now() - window_s else 0.0

    def close_book(self) -> list[Sound]:
        """Return all that sounded."""
        self._advance()
        return self.sounds

    def _advance(self) -> None:
        now = self._now()
        while self._queue and not self._is_held and self._at_s < now - 1e-9:
            value, left_s = self._queue[0]
            for_s = min(left_s, now - self._at_s)
            self._sounded(Sound(self._at_s, self._at_s + for_s, value))
            self._at_s += for_s
            self._played_s += for_s
            if for_s >= left_s - 1e-9:
                self._queue.popleft()
            else:
                self._queue[0] = (value, left_s - for_s)
        self._at_s = now

    def _sounded(self, sound: Sound) -> None:
        last = self.sounds[-1] if self.sounds else None
        if last is not None and last.value == sound.value and abs(last.end_s - sound.begin_s) < 1e-6:
            self.sounds[-1] = Sound(last.begin_s, sound.end_s, last.value)
        else:
            self.sounds.append(sound)

    async def _wait(self, seconds: float) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class VirtualStation:
    """A `Station` whose work takes virtual time instead of a thread's; it can be stopped between steps, as they can."""

    def __init__(self, step_s: Callable[[str], float]) -> None:
        self._step_s = step_s
        self._lock = asyncio.Lock()
        self.stopped: list[str] = []

    async def run(self, call: Callable[[], T], *, kind: str, **_: object) -> T:
        """Call it when its time has passed."""
        await asyncio.sleep(self._step_s(kind))
        return call()

    def hold(self) -> asyncio.Lock:
        """Have the engine for oneself."""
        return self._lock

    async def steps(self, job: Generator[T, None, None], *, kind: str, **_: object) -> AsyncGenerator[T, None]:
        """Pull it, step by step, one job at a time."""
        async with self._lock:
            finished = False
            try:
                while True:
                    await asyncio.sleep(self._step_s(kind))
                    try:
                        item = next(job)
                    except StopIteration:
                        finished = True
                        return
                    yield item
            finally:
                job.close()
                if not finished:
                    self.stopped.append(kind)


class Person:
    """A microphone in front of somebody who speaks by script, in virtual real time.

    `say` and `wait` are called by the script; the microphone hears an echo while the speaker plays.
    """

    name = "person"
    dropped_frames = 0

    def __init__(self, speaker: VirtualSpeaker, script: Callable[[Person], Awaitable[None]]) -> None:
        self._speaker = speaker
        self._script = script
        self._speaks_until_s = 0.0
        self.is_over = False
        self.words: deque[str] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def rest(self, *, resting: bool) -> None:
        """Every frame comes in time."""

    async def say(self, words: str, for_s: float) -> None:
        """Speak for so long; the recognizer will understand `words`."""
        self.words.append(words)
        self._speaks_until_s = asyncio.get_running_loop().time() + for_s
        await asyncio.sleep(for_s)

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield a frame every 20 ms until the script is over."""
        loop = asyncio.get_running_loop()
        script = asyncio.ensure_future(self._script(self))
        try:
            while not script.done():
                await asyncio.sleep(FRAME_S)
                if loop.time() <= self._speaks_until_s:
                    pcm = VOICE
                else:
                    pcm = ECHO if self._speaker.recent_level(0.1) else QUIET
                yield AudioChunk(pcm, HEAR_RATE_HZ)
            script.result()
        finally:
            script.cancel()
            await asyncio.wait({script})


class Tape:
    """A microphone that hears frames as they are, 20 ms each; a callable in between is called."""

    name = "tape"
    dropped_frames = 0

    def __init__(self, *parts: bytes | Callable[[], object]) -> None:
        self._parts = parts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def rest(self, *, resting: bool) -> None:
        """Every frame comes in time."""

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield them."""
        for part in self._parts:
            if callable(part):
                part()
                continue
            await asyncio.sleep(FRAME_S)
            yield AudioChunk(part, HEAR_RATE_HZ)


class MindReader:
    """A recognizer that hears the words of the script, one utterance after the other."""

    name = "mind reader"

    def __init__(self) -> None:
        self.person: Person | None = None
        self._words = ""

    def load(self, grammar: Grammar | None) -> None:
        """Nothing to load."""

    def start(self) -> None:
        """A new utterance."""
        self._words = ""

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """The words so far, as they are known from the first on."""
        assert self.person is not None
        words = self.person.words
        self._words = words[-1] if words else ""
        return replace(self.finish(), final=False)

    def preview(self, *, thorough: bool = False) -> Transcript:
        """As `finish`."""
        return self.finish()

    def finish(self) -> Transcript:
        """Return the newest words that were said when it listened."""
        return Transcript(self._words, confidence=0.9, in_grammar=False)

    def stop(self) -> None:
        """Calls are short."""

    def close(self) -> None:
        """Nothing to free."""
