"""Files, and nothing, for a speaker."""

from __future__ import annotations

import asyncio
import os
import wave
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Self

from edge_agent.audio import SAMPLE_BYTES, AudioChunk
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from edge_agent.devices.resampling import StreamResampler
    from edge_agent.runtime.pool import Pool

_PENDING_S = 2.0


def _now() -> float:
    return asyncio.get_running_loop().time()


class DiscardingSpeaker:
    """Plays to nobody: in real time, or at once where it is `fast`."""

    def __init__(self, *, fast: bool) -> None:
        self._fast = fast
        self._end_at = 0.0
        self._written_s = 0.0
        self._held_s: float | None = None
        self._flushes = 0
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """Nobody."""
        return "nobody"

    @property
    def played_s(self) -> float:
        """Seconds of what was written that would have been heard."""
        return self._written_s - self.pending_s

    @property
    def pending_s(self) -> float:
        """Seconds written and not yet over."""
        if self._held_s is not None:
            return self._held_s
        return 0.0 if self._fast else max(0.0, self._end_at - _now())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is pending."""
        self.flush()

    async def write(self, chunk: AudioChunk) -> None:
        """Take a chunk; waits while more than 2 s are pending, and drops it where that ends with a flush."""
        await self._admit(chunk)

    async def drain(self) -> None:
        """Wait until the last sample is over."""
        await self._wait_until_pending(0.0)

    def flush(self) -> None:
        """Drop what is pending, and end a `hold`."""
        self._written_s -= self.pending_s
        self._held_s = None
        self._end_at = 0.0
        self._flushes += 1
        self._wake()

    def hold(self) -> None:
        """Let time stand still: what is pending stays so."""
        if self._held_s is None:
            self._held_s = self.pending_s
            self._wake()

    def resume(self) -> None:
        """Let it go on."""
        if self._held_s is not None:
            self._end_at = _now() + self._held_s
            self._held_s = None
            self._wake()

    def recent_level(self, window_s: float) -> float:
        """Return 0: no microphone can hear what is played to nobody."""
        return 0.0

    async def _admit(self, chunk: AudioChunk) -> bool:
        """Count a chunk as written once there is room; return False where a flush came first."""
        flushes = self._flushes
        await self._wait_until_pending(_PENDING_S)
        if self._flushes != flushes:
            return False
        self._written_s += chunk.duration_s
        if self._held_s is not None:
            self._held_s += chunk.duration_s
        else:
            self._end_at = max(self._end_at, _now()) + chunk.duration_s
        return True

    async def _wait_until_pending(self, seconds: float) -> None:
        flushes = self._flushes
        while self._flushes == flushes and (over_s := self.pending_s - seconds) > 0:
            changed = self._changed
            try:
                async with asyncio.timeout(over_s if self._held_s is None else None):
                    await changed.wait()
            except TimeoutError:
                return

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class WavSpeaker(DiscardingSpeaker):
    """Writes what is spoken into a 16-bit mono WAV file, at the rate of the first chunk.

    It holds what was played: neither what was flushed, nor what was pending when the speaker was closed. It appears,
    whole, under its name when the speaker is closed; if nothing was spoken, none does.
    """

    def __init__(self, path: Path, pool: Pool, *, fast: bool) -> None:
        super().__init__(fast=fast)
        self._pool = pool
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._raw: BinaryIO | None = None
        self._file: wave.Wave_write | None = None
        self._rate_hz = 0
        self._resamplers: dict[int, StreamResampler] = {}
        self._unplayed: deque[AudioChunk] = deque()
        self._unsaved: list[AudioChunk] = []
        self._saving = asyncio.Lock()

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the file in its place.

        Raises:
            AudioFileError: The file can't be written.
        """
        await super().__aexit__(kind, error, trace)
        try:
            await self._save()
        finally:
            await self._pool.run(self._finish, kind="wav.close")

    async def write(self, chunk: AudioChunk) -> None:
        """Take a chunk; waits while more than 2 s are pending, and drops it where that ends with a flush.

        Raises:
            AudioFileError: The file can't be written.
        """
        if await self._admit(chunk):
            self._unplayed.append(chunk)
        await self._save()

    async def drain(self) -> None:
        """Wait until the last sample is over and in the file.

        Raises:
            AudioFileError: The file can't be written.
        """
        await super().drain()
        await self._save()

    def flush(self) -> None:
        """Drop what is pending, and end a `hold`; what was played will be in the file."""
        self._take_played()
        self._unplayed.clear()
        super().flush()

    def _take_played(self) -> None:
        """Move what is over from what is pending to what is to be saved."""
        over_s = sum(chunk.duration_s for chunk in self._unplayed) - self.pending_s
        while self._unplayed and over_s > 0:
            chunk = self._unplayed.popleft()
            cut = min(round(over_s * chunk.rate_hz), chunk.samples) * SAMPLE_BYTES
            over_s -= chunk.duration_s
            if cut:
                self._unsaved.append(AudioChunk(chunk.pcm[:cut], chunk.rate_hz))
            if cut < len(chunk.pcm):
                self._unplayed.appendleft(AudioChunk(chunk.pcm[cut:], chunk.rate_hz))
                return

    async def _save(self) -> None:
        async with self._saving:
            self._take_played()
            chunks, self._unsaved = self._unsaved, []
            for chunk in chunks:
                await self._pool.run(partial(self._append, chunk), kind="wav.write")

    def _append(self, chunk: AudioChunk) -> None:
        from edge_agent.devices.resampling import StreamResampler, to_samples

        try:
            if self._file is None:
                self._rate_hz = chunk.rate_hz
                # Opened here and not by `wave`, which leaves half an object behind where that fails.
                self._raw = self._partial.open("wb")
                self._file = wave.open(self._raw, "wb")  # noqa: SIM115 - closed in _finish
                self._file.setparams((1, SAMPLE_BYTES, chunk.rate_hz, 0, "NONE", ""))
            resampler = self._resamplers.setdefault(chunk.rate_hz, StreamResampler(chunk.rate_hz, self._rate_hz))
            self._file.writeframes(resampler.feed(to_samples(chunk.pcm)).astype("<i2").tobytes())
        except OSError as error:
            raise self._refuse(error) from error

    def _finish(self) -> None:
        if self._file is None or self._raw is None:
            return
        try:
            for rate_hz, resampler in self._resamplers.items():
                if rate_hz != self._rate_hz:
                    from edge_agent.devices.resampling import to_samples

                    self._file.writeframes(resampler.feed(to_samples(b""), last=True).astype("<i2").tobytes())
            self._file.close()
            self._raw.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._refuse(error) from error
        finally:
            self._raw.close()
            self._partial.unlink(missing_ok=True)

    def _refuse(self, error: OSError) -> AudioFileError:
        return AudioFileError(self._path, f"can't be written: {error.strerror}")
