"""A speaker, through PortAudio."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Self

from edge_agent.audio import SAMPLE_BYTES
from edge_agent.devices.output import open_output
from edge_agent.devices.portaudio import close_stream
from edge_agent.devices.stream_thread import StreamThread
from edge_agent.errors import DeviceError, StalledDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from edge_agent.audio import AudioChunk
    from edge_agent.devices.output import Output
    from edge_agent.devices.resampling import StreamResampler

_log = logging.getLogger(__name__)

_PENDING_S = 2.0
"""What is queued at most."""
_PIECE_S = 0.2
"""What is resampled and queued at once: under a millisecond of the loop's time."""
_IDLE_S = 2.0
"""A stream that has nothing to play is closed after so long: it costs a thread that wakes 50 times a second, and the
device is free for others, and for `refresh_devices`, meanwhile. Opening it again takes 10 to 20 ms (measured, ALSA)."""
_STALLED_S = 2.0
"""A device that takes nothing for so long is lost: PortAudio does not always notice."""
_LOOK_S = 1.0
"""How often it is looked whether the device takes what is queued, whoever waits for that."""


class Speaker:
    """Plays chunks of any rate, in order, at a volume. The device is held only while there is something to say.

    Args:
        device: Number, stable name or part of the name of the device; empty for the system's default.
        volume: Per cent, 0 to 100.
        muted: Play, but as silence.
        on_lost: Is told why, once, where the device is lost with something to play and nobody waiting for it, as
            behind a short tone. What was pending is dropped, the device is closed, and the speaker is of no more use.
    """

    def __init__(
        self,
        device: str,
        *,
        volume: int = 100,
        muted: bool = False,
        on_lost: Callable[[DeviceError], None] = lambda _: None,
    ) -> None:
        self._wanted = device
        self._on_lost = on_lost
        self._failure: DeviceError | None = None
        self._name = device or "speaker"
        self._volume = volume
        self._muted = muted
        self._thread: StreamThread | None = None
        self._output: Output | None = None
        self._is_open = asyncio.Event()
        self._moved = asyncio.Event()
        self._switching = asyncio.Lock()
        self._resting: asyncio.Task[None] | None = None
        self._resampler: tuple[int, int, StreamResampler] | None = None
        self._played_before_s = 0.0
        self._flushes = 0
        self._is_held = False
        self._is_shut = False
        self.underruns = 0

    @property
    def name(self) -> str:
        """The device, once it is open."""
        return self._name

    @property
    def played_s(self) -> float:
        """Seconds of what was written since opening that the device has played."""
        output = self._output
        return self._played_before_s + (output.buffer.played_s(time.monotonic()) if output else 0.0)

    @property
    def pending_s(self) -> float:
        """Seconds written and neither played nor flushed."""
        output = self._output
        return output.buffer.pending_s(time.monotonic()) if output else 0.0

    @property
    def is_held(self) -> bool:
        """Whether what is pending waits for `resume`."""
        return self._is_held

    @property
    def is_open(self) -> bool:
        """Whether the device is held at this moment: while there is something to play, and two seconds longer."""
        return self._output is not None and self._failure is None

    async def __aenter__(self) -> Self:
        """Open the device.

        Raises:
            UnknownDeviceError: No device or several devices match.
            DeviceError: It is absent or refuses.
        """
        self._thread = StreamThread("speaker")
        self._is_shut = False
        try:
            await self._opened()
        except BaseException:  # also cancelled while the device opens: what opens then is closed behind it
            await self._shut()
            raise
        self._resting = asyncio.create_task(self._rest_loop(), name="speaker.rest")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device; what is pending is dropped, and a waiting `write` or `drain` returns."""
        await self._shut()

    def set_volume(self, percent: int, *, muted: bool) -> None:
        """Change the volume from the next block on, with a short ramp."""
        self._volume, self._muted = percent, muted
        if self._output is not None:
            self._prepare(self._output)

    async def write(self, chunk: AudioChunk) -> None:
        """Queue a chunk of any rate; waits for room where 2 s are queued.

        Raises:
            UnknownDeviceError: The device, closed in a pause, is not there any more.
            DeviceError: The device is lost.
        """
        flushes = self._flushes
        piece_bytes = round(_PIECE_S * chunk.rate_hz) * SAMPLE_BYTES
        for start in range(0, len(chunk.pcm), piece_bytes):
            if self._flushes != flushes:
                return
            output = await self._opened()
            while self._flushes == flushes and output.buffer.queued_s > _PENDING_S - _PIECE_S:
                await self._advance(output)
            if self._flushes != flushes:
                return
            self._append(output, chunk.pcm[start : start + piece_bytes], chunk.rate_hz)

    def finish(self) -> None:
        """What was written last is a whole sound: let what the resampler holds back of it be played, too."""
        if self._output is not None:
            self._finish_resampling(self._output)

    async def drain(self) -> None:
        """Wait until the last sample has left the device.

        Raises:
            DeviceError: The device is lost, or does not advance.
        """
        if self._failure is not None:
            raise self._failure
        flushes, output = self._flushes, self._output
        if output is None:
            return
        self._finish_resampling(output)
        while self._flushes == flushes and output.buffer.queued_s:
            await self._advance(output)
        while self._flushes == flushes and (left_s := output.buffer.ends_at - time.monotonic()) > 0:
            await self._wait(output, left_s)

    def flush(self) -> None:
        """Drop what is pending, and end a `hold`; a waiting `write` or `drain` returns.

        What the device has taken already, up to its latency, plays on.
        """
        self._flushes += 1
        self._is_held = False
        self._resampler = None
        if self._output is not None:
            self._output.buffer.clear()
        self._wake()

    def hold(self) -> None:
        """Fall silent and lose nothing: what is pending stays so, and `write` and `drain` wait.

        Silence leaves the device after what it has taken already: a block and its latency.
        """
        self._set_held(held=True)

    def resume(self) -> None:
        """End a `hold`: go on with the first sample that was not played."""
        self._set_held(held=False)

    def recent_level(self, window_s: float) -> float:
        """Return how loud the loudest 20 ms were that left the device in the last `window_s`: RMS, 0 to 1.

        Up to 5 s back; the volume counts.
        """
        output = self._output
        return output.buffer.recent_level(time.monotonic(), window_s) if output else 0.0

    def _set_held(self, *, held: bool) -> None:
        self._is_held = held
        if self._output is not None:
            self._prepare(self._output)
        self._wake()  # whoever waits for the device to advance begins to wait anew

    def _prepare(self, output: Output) -> None:
        """Apply volume and hold."""
        from edge_agent.devices.playback import gain_of

        output.buffer.set_gain(gain_of(self._volume, muted=self._muted))
        if self._is_held:
            output.buffer.hold()
        else:
            output.buffer.resume()

    async def _opened(self) -> Output:
        """Return the stream, opened where it is not; one that was lost while it had nothing to play is opened again."""
        async with self._switching:
            if self._failure is not None:
                raise self._failure
            output = self._output
            if output is not None and output.is_lost and not output.buffer.queued_s:
                await self._close()
                output = None
            if output is None:
                loop = asyncio.get_running_loop()
                output = await self._on_thread().run(lambda: self._open(loop), self._name)
                self._prepare(output)  # volume and hold may have changed while it opened
                self._is_open.set()
            return output

    def _open(self, loop: asyncio.AbstractEventLoop) -> Output:
        """On the device's thread."""
        from edge_agent.devices.playback import gain_of

        if self._output is not None:  # the one who asked for it was cancelled meanwhile
            return self._output
        gain = gain_of(self._volume, muted=self._muted)
        output = open_output(self._wanted, gain, loop, on_taken=self._took, on_end=self._wake)
        self._name = output.name
        self._output = output
        return output

    async def _close(self) -> None:
        """Close the stream; call it with `_switching` held, or when nobody else is left."""
        await self._on_thread().run(self._close_on_thread, self._name)

    def _close_on_thread(self) -> None:
        output, self._output = self._output, None
        if output is not None:
            self._played_before_s += output.buffer.played_s(time.monotonic())
            close_stream(output.stream)

    async def _rest_loop(self) -> None:
        """Close the stream when it has had nothing to play for a while, and when it is lost."""
        try:
            while True:
                await self._is_open.wait()
                output = self._output
                if output is not None and not await self._is_at_rest(output):
                    continue
                self._is_open.clear()
        except DeviceError as error:
            await self._lose(error)

    async def _is_at_rest(self, output: Output) -> bool:
        """Wait for a while; return whether the stream was closed then.

        Raises:
            DeviceError: The device is lost, or does not advance, or does not close.
        """
        if output.buffer.queued_s:
            await self._advance(output)
            await asyncio.sleep(_LOOK_S)
            return False
        left_s = output.buffer.ends_at + _IDLE_S - time.monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)
            return False
        async with self._switching:
            if output.buffer.queued_s:
                return False
            await self._close()
            return True

    async def _lose(self, error: DeviceError) -> None:
        """Give the device up: what is pending is dropped, so that nothing waits for what will never be played."""
        self._failure = error
        self._resampler = None
        if self._output is not None:
            self._output.buffer.clear()
        self._wake()
        self._on_lost(error)
        try:
            async with self._switching:
                await self._close()
        except DeviceError as refusal:
            _log.debug("a lost speaker was not closed: %s", refusal)

    async def _shut(self) -> None:
        thread, resting = self._thread, self._resting
        if thread is None:
            return
        try:
            if resting is not None:
                resting.cancel()
                await asyncio.wait({resting})
        finally:
            self.flush()
            self._thread = self._resting = None
            self._is_shut = True
            await thread.close(self._close_on_thread, self._name)

    def _append(self, output: Output, pcm: bytes, rate_hz: int) -> None:
        from edge_agent.devices.resampling import StreamResampler, to_samples

        rates = (rate_hz, output.buffer.rate_hz)
        if self._resampler is None or self._resampler[:2] != rates:
            self._finish_resampling(output)
            self._resampler = (*rates, StreamResampler(*rates))
        output.buffer.append(self._resampler[2].feed(to_samples(pcm)))

    def _finish_resampling(self, output: Output) -> None:
        """Queue what the resampler still holds back."""
        from edge_agent.devices.resampling import to_samples

        if self._resampler is not None and self._resampler[1] == output.buffer.rate_hz:
            output.buffer.append(self._resampler[2].feed(to_samples(b""), last=True))
        self._resampler = None

    async def _advance(self, output: Output) -> None:
        """Wait until the device takes something, or a flush, a hold or its end."""
        taken_s = output.buffer.taken_s
        if not await self._wait(output, None if self._is_held else _STALLED_S) and output.buffer.taken_s == taken_s:
            raise StalledDeviceError(output.name, _STALLED_S, "takes no sound")

    async def _wait(self, output: Output, seconds: float | None) -> bool:
        """Wait until something happens; return False where nothing did."""
        moved = self._moved
        if not output.is_lost:
            try:
                async with asyncio.timeout(seconds):
                    await moved.wait()
            except TimeoutError:
                return False
        if self._failure is not None:
            raise self._failure
        if output.is_lost:
            raise DeviceError(output.name, "was lost; is it still connected?")
        return True

    def _took(self, underflow: bool) -> None:
        self.underruns += underflow
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _on_thread(self) -> StreamThread:
        if self._thread is None:
            if self._is_shut:  # by somebody who shares it, and found it lost
                raise DeviceError(self._name, "was closed")
            raise RuntimeError("a speaker is used inside its context")
        return self._thread
