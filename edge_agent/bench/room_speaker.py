"""A speaker without a device that plays in real time, knows whose samples it plays, and can be heard in the room."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from edge_agent.audio import AudioChunk
    from edge_agent.speak.sink import AudioSink

    Samples = NDArray[np.float32]

_PENDING_S = 2.0
"""As the agent's own speaker."""
_KEPT_S = 1.0
"""Of what was played, for its echo and its level."""
_PIECE_S = 0.02
_FULL_SCALE = 32_768.0
_JOINED_S = 1e-6


@dataclass(slots=True)
class Run:
    """Samples of one turn that were played without a gap. Times are `time.perf_counter()`."""

    began_at: float
    ended_at: float
    samples: int


@dataclass(slots=True)
class Played:
    """What the speaker was given of a turn, and played of it.

    Attributes:
        handed_at: When its first sample was written; None before.
        runs: What sounded.
    """

    handed_at: float | None = None
    runs: list[Run] = field(default_factory=list)

    @property
    def silent_at(self) -> float | None:
        """When the last sample so far had sounded; None where none has."""
        return self.runs[-1].ended_at if self.runs else None

    def samples_after(self, moment: float) -> int:
        """Return how many samples sounded after `moment`."""
        late = 0
        for run in self.runs:
            if run.ended_at > moment:
                share = (run.ended_at - max(run.began_at, moment)) / (run.ended_at - run.began_at)
                late += math.ceil(run.samples * share)
        return late


@dataclass(slots=True)
class _Piece:
    turn_id: int
    rate_hz: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class _Sounded:
    began_at: float
    ended_at: float
    samples: Samples
    level: float


class RoomSpeaker:
    """Plays chunks in order, as the clock says: nothing is computed when a sample sounds. Belongs to the loop.

    Args:
        level: RMS, 0 to 1, to which each chunk is brought, as a volume knob does; None leaves it as it is.
        speed: 1 plays in real time; 4 takes a quarter of it, where only what comes before the first sample matters.
        clock: `time.perf_counter`, or a test's own.
    """

    def __init__(
        self, *, level: float | None = None, speed: float = 1.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._level = level
        self._speed = speed
        self._clock = clock
        self._pending: deque[_Piece] = deque()
        self._sounded: deque[_Sounded] = deque()
        self._at = 0.0
        self._is_held = False
        self._played_s = 0.0
        self._flushes = 0
        self._changed = asyncio.Event()
        self.turns: dict[int, Played] = {}

    @property
    def played_s(self) -> float:
        """Seconds of what was written since opening that have sounded."""
        self._advance()
        return self._played_s

    @property
    def pending_s(self) -> float:
        """Seconds written and neither sounded nor flushed."""
        self._advance()
        return sum(len(piece.samples) / piece.rate_hz for piece in self._pending)

    @asynccontextmanager
    async def for_turn(self, turn_id: int) -> AsyncIterator[tuple[AudioSink, Path | None]]:
        """Lend it to a turn; what the turn writes is noted as its own."""
        yield TurnSink(self, turn_id), None

    async def play(self, chunk: AudioChunk) -> None:
        """Play a tone, of no turn."""
        await self.write(chunk, 0)

    async def write(self, chunk: AudioChunk, turn_id: int) -> None:
        """Queue a chunk; waits while more than 2 s are pending, and drops it where that ends with a flush."""
        flushes = self._flushes
        await self._wait_until_pending(_PENDING_S)
        if self._flushes != flushes or not chunk.samples:
            return
        now = self._clock()
        if not self._pending:
            self._at = now
        if (played := self.of_turn(turn_id)).handed_at is None:
            played.handed_at = now
        samples = np.frombuffer(chunk.pcm, "<i2").astype(np.float32)
        if self._level is not None and (level := _rms(samples)) > 0:
            samples *= np.float32(self._level / level)
        self._pending.append(_Piece(turn_id, float(chunk.rate_hz), samples))

    async def drain(self) -> None:
        """Wait until the last sample has sounded, or was flushed."""
        await self._wait_until_pending(0.0)

    def flush(self) -> None:
        """Drop what is pending, and end a hold."""
        self._advance()
        self._pending.clear()
        self._is_held = False
        self._flushes += 1
        self._wake()

    def hold(self) -> None:
        """Fall silent at once, and keep what is pending."""
        self._advance()
        self._is_held = True
        self._wake()

    def resume(self) -> None:
        """Go on with the first sample that has not sounded."""
        if self._is_held:
            self._is_held = False
            self._at = self._clock()
            self._wake()

    def recent_level(self, window_s: float) -> float:
        """Return the loudest RMS, 0 to 1, of 20 ms that sounded in the last `window_s`."""
        self._advance()
        since = self._clock() - window_s
        return max((piece.level for piece in self._sounded if piece.ended_at > since), default=0.0)

    def heard(self, began_at: float, duration_s: float, count: int) -> Samples:
        """Return what sounded in `duration_s` from `began_at`, as `count` samples in the range of 16 bits."""
        self._advance()
        heard = np.zeros(count, np.float32)
        times = began_at + np.arange(count) * (duration_s / count)
        for piece in self._sounded:
            inside = (times >= piece.began_at) & (times < piece.ended_at)
            if inside.any():
                at = (times[inside] - piece.began_at) / (piece.ended_at - piece.began_at) * len(piece.samples)
                heard[inside] = np.interp(at, np.arange(len(piece.samples)), piece.samples)
        return heard

    def of_turn(self, turn_id: int) -> Played:
        """Return what was played of a turn so far."""
        self._advance()
        return self.turns.setdefault(turn_id, Played())

    def forget(self, turn_id: int) -> None:
        """Keep no account of a turn any more."""
        self.turns.pop(turn_id, None)

    def _advance(self) -> None:
        """Let sound what the clock says has sounded by now."""
        now = self._clock()
        if not self._is_held:
            while self._pending:
                piece = self._pending[0]
                rate_hz = piece.rate_hz * self._speed
                count = min(int((now - self._at) * rate_hz), len(piece.samples))
                if count <= 0:
                    break
                self._sound(piece, count, rate_hz)
                if count == len(piece.samples):
                    self._pending.popleft()
                else:
                    piece.samples = piece.samples[count:]
        while self._sounded and self._sounded[0].ended_at < now - _KEPT_S:
            self._sounded.popleft()

    def _sound(self, piece: _Piece, count: int, rate_hz: float) -> None:
        began_at, self._at = self._at, self._at + count / rate_hz
        self._played_s += count / piece.rate_hz
        runs = self.turns.setdefault(piece.turn_id, Played()).runs
        if runs and began_at - runs[-1].ended_at < _JOINED_S:
            runs[-1].ended_at = self._at
            runs[-1].samples += count
        else:
            runs.append(Run(began_at, self._at, count))
        size = max(1, round(_PIECE_S * rate_hz))
        for at in range(0, count, size):
            part = piece.samples[at : min(at + size, count)]
            from_at = began_at + at / rate_hz
            self._sounded.append(_Sounded(from_at, from_at + len(part) / rate_hz, part, _rms(part)))

    async def _wait_until_pending(self, seconds: float) -> None:
        flushes = self._flushes
        while self._flushes == flushes and (over_s := self.pending_s - seconds) > 0:
            changed = self._changed
            try:
                async with asyncio.timeout(None if self._is_held else over_s / self._speed):
                    await changed.wait()
            except TimeoutError:
                continue

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class TurnSink:
    """An `AudioSink`: the room's speaker, lent to one turn."""

    def __init__(self, speaker: RoomSpeaker, turn_id: int) -> None:
        self._speaker = speaker
        self._turn_id = turn_id

    @property
    def name(self) -> str:
        """The room."""
        return "room"

    @property
    def played_s(self) -> float:
        """Seconds that have sounded since opening, of all turns."""
        return self._speaker.played_s

    @property
    def pending_s(self) -> float:
        """Seconds written and neither sounded nor flushed."""
        return self._speaker.pending_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it to the next turn as it is."""

    async def write(self, chunk: AudioChunk) -> None:
        """Queue a chunk of this turn."""
        await self._speaker.write(chunk, self._turn_id)

    async def drain(self) -> None:
        """Wait until the last sample has sounded."""
        await self._speaker.drain()

    def flush(self) -> None:
        """Drop what is pending."""
        self._speaker.flush()

    def hold(self) -> None:
        """Fall silent, and keep what is pending."""
        self._speaker.hold()

    def resume(self) -> None:
        """Go on."""
        self._speaker.resume()

    def recent_level(self, window_s: float) -> float:
        """Return how loud it was lately."""
        return self._speaker.recent_level(window_s)


def _rms(samples: Samples) -> float:
    """Return the RMS of samples in the range of 16 bits, 0 to 1."""
    return math.sqrt(float(samples @ samples) / len(samples)) / _FULL_SCALE
