"""A microphone, through PortAudio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, SAMPLE_BYTES, AudioChunk
from edge_agent.devices.portaudio import StreamFormat, choose_device, choose_format, close_stream, open_stream
from edge_agent.devices.quiet import HELD_BLOCKS, QuietGate
from edge_agent.devices.stream_thread import StreamThread
from edge_agent.errors import DeviceError
from edge_agent.runtime.channel import Channel, ChannelClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pool import PoolStatistics

_QUEUED_S = 1.0
"""What is kept for a consumer that is late; older audio is dropped."""
_SILENT_S = 2.0
"""A microphone that delivers nothing for so long is lost: PortAudio does not always notice."""
_FIRST_S = 5.0
"""The same for the first sound after opening: a PulseAudio monitor that rested gives its first block after up to
2.04 s (measured: its resting block is 2 s long), and USB and Bluetooth devices wake up, too."""
_LATENCY_S = 0.06
"""The device's buffer: how late the callback may be, while others hold the interpreter, before samples are lost.
With more of it ALSA hands over two blocks at a time (measured at 80 ms)."""


class Microphone:
    """Yields what a microphone hears as 20 ms frames at 16 kHz.

    A device that has no such rate is opened at its own one, with its own channels, and is mixed and resampled.

    Args:
        device: Number or part of the name of the device; empty for the system's default.
    """

    def __init__(self, device: str) -> None:
        self._wanted = device
        self._name = device or "microphone"
        self._format = StreamFormat(HEAR_RATE_HZ, 1)
        self._stream: Any = None
        self._thread: StreamThread | None = None
        self._blocks: Channel[tuple[bytes, float]] = Channel(round(_QUEUED_S / FRAME_S), "drop_oldest")
        self._gate = QuietGate()
        self._overflows = 0

    @property
    def name(self) -> str:
        """The device, once it is open."""
        return self._name

    @property
    def dropped_frames(self) -> int:
        """Frames lost since opening; an overflow of the device, whose length it does not tell, counts as one."""
        return self._blocks.dropped + self._overflows

    @property
    def thread(self) -> PoolStatistics | None:
        """The device's own thread, while it is open."""
        return None if self._thread is None else self._thread.statistics()

    @property
    def channel(self) -> ChannelStatistics:
        """Frames on their way from the device."""
        return self._blocks.statistics()

    async def __aenter__(self) -> Self:
        """Open the device.

        Raises:
            UnknownDeviceError: No device or several devices match.
            DeviceError: It is absent or refuses.
        """
        self._thread = StreamThread("microphone")
        self._blocks = Channel(round(_QUEUED_S / FRAME_S), "drop_oldest", name="microphone")
        self._gate = QuietGate()
        self._overflows = 0
        loop = asyncio.get_running_loop()
        try:
            await self._thread.run(lambda: self._open(loop), self._name)
        except BaseException:  # also cancelled while the device opens: what opens then is closed behind it
            await self._shut(self._thread)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device; no callback runs afterwards."""
        if self._thread is not None:
            await self._shut(self._thread)

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield frames for as long as it is open.

        Raises:
            DeviceError: The device is lost.
        """
        to_mono = _converter(self._format)
        pending = b""
        watch = _Watch(self._blocks, _FIRST_S)
        try:
            while True:
                first = await self._blocks.get()
                watch.saw(_SILENT_S)
                for block, captured_at in (first, *self._blocks.take(HELD_BLOCKS - 1)):
                    pending += to_mono(block)
                    whole = len(pending) - len(pending) % FRAME_BYTES
                    for start in range(0, whole, FRAME_BYTES):
                        later_s = (len(pending) - start - FRAME_BYTES) / SAMPLE_BYTES / HEAR_RATE_HZ
                        yield AudioChunk(pending[start : start + FRAME_BYTES], HEAR_RATE_HZ, captured_at - later_s)
                    pending = pending[whole:]
        except ChannelClosedError as error:
            raise DeviceError(self._name, watch.verdict or "was lost; is it still connected?") from error
        finally:
            watch.end()

    def rest(self, *, resting: bool) -> None:
        """Nobody is heard: frames of a quiet room may come a few at a time."""
        self._gate.resting = resting

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the device's thread."""
        device = choose_device("microphone", self._wanted)
        self._format = form = choose_format("microphone", device, (HEAR_RATE_HZ,))
        self._name = device.name
        blocks, gate = self._blocks, self._gate
        held: list[tuple[bytes, float]] = []
        overflows = 0

        def take(data: Any, frames: int, times: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's thread
            nonlocal held, overflows
            now = time.monotonic()
            waited_s = times.currentTime - times.inputBufferAdcTime - frames / form.rate_hz
            # Where the driver's times make no sense the callback's own is the best there is.
            block = bytes(data)
            held.append((block, now - waited_s if 0 < waited_s < _QUEUED_S else now))
            if status:
                overflows += bool(status.input_overflow)
            if gate.opens(block):
                loop.call_soon_threadsafe(self._take, blocks, held, overflows)
                held, overflows = [], 0

        def finished() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this device hung, and was left behind
                loop.call_soon_threadsafe(blocks.close)

        self._stream = open_stream(
            device,
            lambda sounddevice: sounddevice.RawInputStream(
                samplerate=form.rate_hz,
                blocksize=round(form.rate_hz * FRAME_S),
                device=device.index,
                channels=form.channels,
                dtype="int16",
                latency=_LATENCY_S,
                callback=take,
                finished_callback=finished,
            ),
        )

    def _take(self, blocks: Channel[tuple[bytes, float]], new: list[tuple[bytes, float]], overflows: int) -> None:
        for block in new:
            blocks.offer(block)
        self._overflows += overflows

    def _close(self) -> None:
        """On the device's thread."""
        stream, self._stream = self._stream, None
        if stream is not None:
            close_stream(stream)

    async def _shut(self, thread: StreamThread) -> None:
        self._thread = None
        try:
            await thread.close(self._close, self._name)
        finally:
            self._blocks.close()


class _Watch:
    """Closes a channel that nothing comes through any more.

    One timer that looks every second or so: a time-out around each frame costs more than all else that is done with it.
    """

    def __init__(self, blocks: Channel[tuple[bytes, float]], patience_s: float) -> None:
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self._seen_s = self._loop.time()
        self._timer = self._loop.call_later(patience_s, self._look)
        self.verdict = ""

    def saw(self, patience_s: float) -> None:
        """Something came; the next may take `patience_s`."""
        self._seen_s = self._loop.time()
        if patience_s < self._patience_s:
            self._patience_s = patience_s
            self._timer.cancel()
            self._timer = self._loop.call_later(patience_s, self._look)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        left_s = self._seen_s + self._patience_s - self._loop.time()
        if left_s > 0 or len(self._blocks):  # what waits is only not taken
            self._timer = self._loop.call_later(max(left_s, 0.1), self._look)
        else:
            self.verdict = f"delivers no sound for {self._patience_s:.0f} s"
            self._blocks.close()


def _converter(form: StreamFormat) -> Callable[[bytes], bytes]:
    """Return what turns a device's interleaved samples into mono ones at 16 kHz."""
    if form == StreamFormat(HEAR_RATE_HZ, 1):
        return lambda block: block
    import numpy as np

    from edge_agent.devices.resampling import StreamResampler, to_samples

    resampler = StreamResampler(form.rate_hz, HEAR_RATE_HZ)

    def convert(block: bytes) -> bytes:
        samples = to_samples(block)
        if form.channels > 1:
            mixed = samples.reshape(-1, form.channels).sum(axis=1, dtype=np.int32) // form.channels
            samples = mixed.astype(np.int16)
        return resampler.feed(samples).astype("<i2").tobytes()

    return convert
