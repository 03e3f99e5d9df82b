"""A WAV file as a microphone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, AudioChunk
from edge_agent.devices.riff import RecordingInfo, SampleKind, check_recording
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.runtime.pool import Pool

__all__ = ["RecordingInfo", "RecordingSource", "check_recording"]

_BLOCK_S = 0.5
"""What is read and resampled at once: few trips to the file's thread, and little memory."""


class RecordingSource:
    """Yields a WAV file of any rate, number of channels and sample format as 20 ms frames at 16 kHz, mono.

    Channels are averaged. Memory does not depend on the file's length.

    Args:
        path: The file.
        pool: Reads it.
        fast: As fast as it is taken, instead of in real time.
    """

    dropped_frames = 0

    def __init__(self, path: Path, pool: Pool, *, fast: bool) -> None:
        self._path = path
        self._pool = pool
        self._fast = fast
        self._blocks: AsyncGenerator[bytes, None] | None = None

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    async def __aenter__(self) -> Self:
        """Look at the file.

        Raises:
            AudioFileError: It can't be read.
        """
        info = await self._pool.run(lambda: check_recording(self._path), kind="recording.check")
        self._blocks = self._pool.steps(_blocks(self._path, info), kind="recording.read", ahead=2)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            await blocks.aclose()

    def rest(self, *, resting: bool) -> None:
        """A file does not rest."""

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield frames; the last one is filled up with silence.

        Raises:
            AudioFileError: The file became shorter meanwhile, or its disk failed.
        """
        if self._blocks is None:
            raise RuntimeError("a recording is read inside its context")
        due = time.monotonic()
        pending = b""
        async for block in self._blocks:
            pending += block
            whole = len(pending) - len(pending) % FRAME_BYTES
            for start in range(0, whole, FRAME_BYTES):
                due = await self._pace(due)
                yield self._frame(pending[start : start + FRAME_BYTES])
            pending = pending[whole:]
        if pending:
            await self._pace(due)
            yield self._frame(pending.ljust(FRAME_BYTES, b"\0"))

    async def _pace(self, due: float) -> float:
        """Wait until the frame has "been spoken"; return when the next one is due.

        Whoever was late (the agent answered, and the recording waited) goes on from now, and does not catch up.
        """
        if self._fast:
            await asyncio.sleep(0)
            return due
        due = max(due + FRAME_S, time.monotonic() - FRAME_S)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return due

    def _frame(self, pcm: bytes) -> AudioChunk:
        return AudioChunk(pcm, HEAR_RATE_HZ, None if self._fast else time.monotonic())


def _blocks(path: Path, info: RecordingInfo) -> Generator[bytes, None, None]:
    """Read, mix and resample block by block."""
    from edge_agent.devices.resampling import StreamResampler

    resampler = StreamResampler(info.rate_hz, HEAR_RATE_HZ)
    block_frames = max(1, round(_BLOCK_S * info.rate_hz))
    frame_bytes = info.channels * info.kind.size_bytes
    try:
        with path.open("rb") as file:
            file.seek(info.data_offset)
            left = info.frames
            while left:
                count = min(left, block_frames)
                data = file.read(count * frame_bytes)
                if len(data) < count * frame_bytes:
                    raise AudioFileError(path, "became shorter while it was read")
                left -= count
                yield resampler.feed(_mono(data, info), last=left == 0).astype("<i2").tobytes()
    except OSError as error:
        raise AudioFileError(path, f"can't be read: {error.strerror}") from error


def _mono(data: bytes, info: RecordingInfo) -> NDArray[np.int16]:
    """Return interleaved samples of any format as the channels' mean in 16 bits."""
    import numpy as np

    match info.kind:
        case SampleKind.S16:
            wide = np.frombuffer(data, "<i2").astype(np.int32)
        case SampleKind.U8:
            wide = (np.frombuffer(data, "u1").astype(np.int32) - 128) << 8
        case SampleKind.S24:
            bytes_ = np.frombuffer(data, "u1").reshape(-1, 3)
            # The low byte is below 16-bit resolution.
            wide = np.ascontiguousarray(bytes_[:, 1:]).view("<i2").ravel().astype(np.int32)
        case SampleKind.S32:
            wide = np.frombuffer(data, "<i4") >> 16
        case _:
            floats = np.nan_to_num(np.frombuffer(data, info.kind.value))
            wide = (np.clip(floats, -1.0, 1.0) * 32767).astype(np.int32)
    if info.channels > 1:
        wide = wide.reshape(-1, info.channels).sum(axis=1) // info.channels
    return np.ascontiguousarray(wide.astype(np.int16))
