"""A microphone, through PortAudio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, SAMPLE_BYTES, AudioChunk
from edge_agent.devices.flow_watch import FlowWatch
from edge_agent.devices.portaudio import StreamFormat, choose_device, choose_format, close_stream, open_stream
from edge_agent.devices.quiet import HELD_BLOCKS, QuietGate
from edge_agent.devices.sound_tally import SoundTally
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
_CALM_RUNS = 2
"""0.2 s of a quiet room."""
_CHANGING_S = 11.0
"""Opening or closing takes no longer: waiting for PortAudio, for the sound system, and for the thread to end."""
_LATENCY_S = 0.06
"""The device's buffer: how late the callback may be, while others hold the interpreter, before samples are lost.
With more of it ALSA hands over two blocks at a time (measured at 80 ms)."""


class Microphone:
    """Yields what a microphone hears as 20 ms frames at 16 kHz.

    A device that has no such rate is opened at its own one, with its own channels, and is mixed and resampled.

    Args:
        device: Number, stable name or part of the name of the device; empty for the system's default.

    Attributes:
        on_look: Is called on the loop with the first sound, and then every two seconds or so while more comes. To be
            set before frames are taken.
    """

    def __init__(self, device: str) -> None:
        self._wanted = device
        self._name = device or "microphone"
        self._format = StreamFormat(HEAR_RATE_HZ, 1)
        self._stream: Any = None
        self._thread: StreamThread | None = None
        self._blocks: Channel[tuple[bytes, float]] = Channel(round(_QUEUED_S / FRAME_S), "drop_oldest")
        self._gate = QuietGate()
        self._tally = SoundTally()
        self._overflows = 0
        self._watch: FlowWatch | None = None
        self._promised_s = 0.0
        self.on_look: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """The device, once it is open."""
        return self._name

    @property
    def rate_hz(self) -> int:
        """The rate that the device itself is opened with; frames are at 16 kHz whatever it is."""
        return self._format.rate_hz

    @property
    def dropped_frames(self) -> int:
        """Frames lost since opening; an overflow of the device, whose length it does not tell, counts as one."""
        return self._blocks.dropped + self._overflows

    @property
    def overflows(self) -> int:
        """How often since opening the device had no room for what it heard."""
        return self._overflows

    @property
    def tally(self) -> SoundTally:
        """What the sound since opening is like."""
        return self._tally

    @property
    def is_calm(self) -> bool:
        """Whether nobody is heard and the room is quiet, at this moment."""
        return self._gate.resting and self._gate.calm_runs >= _CALM_RUNS

    @property
    def next_sign_s(self) -> float:
        """Time of the loop until which a frame comes, or an error, or opening or closing ends."""
        return self._promised_s if self._watch is None else self._watch.next_sign_s

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
        self._tally = SoundTally()
        self._overflows = 0
        loop = asyncio.get_running_loop()
        self._promised_s = loop.time() + _CHANGING_S
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
        self._promised_s = asyncio.get_running_loop().time() + _CHANGING_S
        if self._thread is not None:
            await self._shut(self._thread)

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield frames for as long as it is open.

        Raises:
            StalledDeviceError: It delivers nothing any more.
            DeviceError: The device is lost, or was given up.
        """
        to_mono = _converter(self._format)
        pending = b""
        watch = self._watch = FlowWatch(self._blocks, self._name, _FIRST_S, self.on_look)
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
            raise (watch.error or DeviceError(self._name, "was lost; is it still connected?")) from error
        finally:
            watch.end()
            self._watch = None
            self._promised_s = asyncio.get_running_loop().time() + _CHANGING_S

    def rest(self, *, resting: bool) -> None:
        """Nobody is heard: frames of a quiet room may come a few at a time."""
        self._gate.resting = resting

    def give_up(self, error: DeviceError) -> None:
        """Let `frames` end with this error, behind what was heard already."""
        if self._watch is not None:
            self._watch.give_up(error)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the device's thread."""
        device = choose_device("microphone", self._wanted)
        self._format = form = choose_format("microphone", device, (HEAR_RATE_HZ,))
        self._name = device.name
        blocks, gate, tally = self._blocks, self._gate, self._tally
        held: list[tuple[bytes, float]] = []
        overflows = 0

        def take(data: Any, frames: int, times: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's thread
            nonlocal held, overflows
            now = time.monotonic()
            waited_s = times.currentTime - times.inputBufferAdcTime - frames / form.rate_hz
            # Where the driver's times make no sense the callback's own is the best there is.
            block = bytes(data)
            tally.take(block)
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
