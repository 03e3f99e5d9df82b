"""Files, and nothing, for a speaker."""

from __future__ import annotations

import asyncio
import os
import time
import wave
from typing import TYPE_CHECKING, BinaryIO, Self

from edge_agent.audio import SAMPLE_BYTES
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from edge_agent.audio import AudioChunk
    from edge_agent.devices.resampling import StreamResampler
    from edge_agent.runtime.pool import Pool

_PENDING_S = 2.0


class DiscardingSpeaker:
    """Plays to nobody: in real time, or at once where it is `fast`."""

    def __init__(self, *, fast: bool) -> None:
        self._fast = fast
        self._end_at = 0.0
        self._written_s = 0.0
        self._flushed = asyncio.Event()

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
        return 0.0 if self._fast else max(0.0, self._end_at - time.monotonic())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is pending."""
        self.flush()

    async def write(self, chunk: AudioChunk) -> None:
        """Take a chunk; waits while more than 2 s are pending."""
        await self._wait_until_pending(_PENDING_S)
        self._written_s += chunk.duration_s
        self._end_at = max(self._end_at, time.monotonic()) + chunk.duration_s

    async def drain(self) -> None:
        """Wait until the last sample is over."""
        await self._wait_until_pending(0.0)

    def flush(self) -> None:
        """Drop what is pending."""
        self._written_s -= self.pending_s
        self._end_at = 0.0
        self._flushed.set()
        self._flushed = asyncio.Event()

    async def _wait_until_pending(self, seconds: float) -> None:
        if (over_s := self.pending_s - seconds) > 0:
            flushed = self._flushed
            try:
                async with asyncio.timeout(over_s):
                    await flushed.wait()
            except TimeoutError:
                return


class WavSpeaker(DiscardingSpeaker):
    """Writes what is spoken into a 16-bit mono WAV file, at the rate of the first chunk.

    The file appears, whole, under its name when the speaker is closed; if nothing was spoken, none does.
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

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the file in its place."""
        await super().__aexit__(kind, error, trace)
        await self._pool.run(self._finish, kind="wav.close")

    async def write(self, chunk: AudioChunk) -> None:
        """Append a chunk; waits while more than 2 s are pending.

        Raises:
            AudioFileError: The file can't be written.
        """
        await super().write(chunk)
        await self._pool.run(lambda: self._append(chunk), kind="wav.write")

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
