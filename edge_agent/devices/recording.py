"""A WAV file as a microphone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, BinaryIO, Self

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, AudioChunk
from edge_agent.devices.riff import RecordingInfo, SampleKind, check_recording
from edge_agent.errors import AudioFileError
from edge_agent.runtime.lane import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RecordingInfo", "RecordingSource", "check_recording"]

_BLOCK_S = 0.5
"""What is read and resampled at once: few trips to the file's thread, and little memory."""


class RecordingSource:
    """Yields a WAV file of any rate, number of channels and sample format as 20 ms frames at 16 kHz, mono.

    Channels are averaged. Memory does not depend on the file's length.

    Args:
        path: The file.
        fast: As fast as it is taken, instead of in real time.
    """

    dropped_frames = 0

    def __init__(self, path: Path, *, fast: bool) -> None:
        self._path = path
        self._fast = fast
        self._lane: Lane | None = None
        self._file: BinaryIO | None = None
        self._info: RecordingInfo | None = None

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            AudioFileError: It can't be read.
        """
        self._lane = Lane("recording")
        try:
            await self._lane.run(self._open)
        except BaseException:  # also cancelled meanwhile: what is opened then is closed behind it
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._close()

    async def frames(self) -> AsyncIterator[AudioChunk]:
        """Yield frames; the last one is filled up with silence.

        Raises:
            AudioFileError: The file became shorter meanwhile, or its disk failed.
        """
        if self._lane is None or self._file is None or self._info is None:
            raise RuntimeError("a recording is read inside its context")
        # Not `Lane.steps`: there is nothing to clean up when a reader goes away, and no lane to do it on by then.
        blocks = _blocks(self._info, self._file)
        due = time.monotonic()
        pending = b""
        try:
            while (block := await self._lane.run(lambda: next(blocks, None))) is not None:
                pending += block
                whole = len(pending) - len(pending) % FRAME_BYTES
                for start in range(0, whole, FRAME_BYTES):
                    due = await self._pace(due)
                    yield self._frame(pending[start : start + FRAME_BYTES])
                pending = pending[whole:]
            if pending:
                await self._pace(due)
                yield self._frame(pending.ljust(FRAME_BYTES, b"\0"))
        except EOFError as error:
            raise AudioFileError(self._path, "became shorter while it was read") from error
        except OSError as error:
            raise AudioFileError(self._path, f"can't be read: {error.strerror}") from error

    def _open(self) -> None:
        """On the lane."""
        self._info = check_recording(self._path)
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise AudioFileError(self._path, f"can't be read: {error.strerror}") from error

    def _close(self) -> None:
        if self._lane is not None:
            self._lane.close()  # first: a read may be going on, whose reader was cancelled
            self._lane = None
        if self._file is not None:
            self._file.close()
            self._file = None

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


def _blocks(info: RecordingInfo, file: BinaryIO) -> Generator[bytes, None, None]:
    """Read, mix and resample block by block."""
    from edge_agent.devices.resampling import StreamResampler

    resampler = StreamResampler(info.rate_hz, HEAR_RATE_HZ)
    block_frames = max(1, round(_BLOCK_S * info.rate_hz))
    frame_bytes = info.channels * info.kind.size_bytes
    file.seek(info.data_offset)
    left = info.frames
    while left:
        count = min(left, block_frames)
        data = file.read(count * frame_bytes)
        if len(data) < count * frame_bytes:
            raise EOFError
        left -= count
        yield resampler.feed(_mono(data, info), last=left == 0).astype("<i2").tobytes()


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
