"""A speaker's open stream and what it plays."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from edge_agent.devices.portaudio import choose_device, choose_format, open_stream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from edge_agent.devices.playback import PlaybackBuffer

_BLOCK_S = 0.02
_LATENCY_S = 0.06
"""The device's buffer: how late the callback may be before there is a gap, and how much plays on after a flush."""
_RATES_HZ = (48_000, 44_100)
"""Asked for before the device's own rate. Voices (16 to 24 kHz) are resampled here with soxr, because what ALSA does
with a rate that the hardware lacks is linear interpolation."""


class Output:
    """A stream, and the buffer that it plays.

    Attributes:
        is_lost: Whether the stream has ended by itself.
    """

    def __init__(self, name: str, buffer: PlaybackBuffer) -> None:
        self.name = name
        self.buffer = buffer
        self.stream: Any = None
        self.is_lost = False


def open_output(
    wanted: str,
    gain: float,
    loop: asyncio.AbstractEventLoop,
    *,
    on_taken: Callable[[bool], None],
    on_end: Callable[[], None],
) -> Output:
    """Open the device that `wanted` means. Blocking.

    Args:
        wanted: See `choose_device`.
        gain: To begin with.
        loop: Where the two are called.
        on_taken: The device has taken something; True where it had run dry before.
        on_end: The stream has ended.

    Raises:
        UnknownDeviceError: No device or several devices match.
        DeviceError: It is absent or refuses.
    """
    from edge_agent.devices.playback import PlaybackBuffer

    device = choose_device("speaker", wanted)
    form = choose_format("speaker", device, _RATES_HZ)
    buffer = PlaybackBuffer(form.rate_hz, form.channels, gain, time.monotonic())
    output = Output(device.name, buffer)

    def give(data: Any, frames: int, times: Any, status: Any) -> None:  # noqa: ANN401 - PortAudio's thread
        latency_s = times.outputBufferDacTime - times.currentTime
        data[:], moved = buffer.fill(frames, time.monotonic(), latency_s if latency_s > 0 else _LATENCY_S)
        if moved:
            loop.call_soon_threadsafe(on_taken, bool(status.output_underflow))

    def finished() -> None:
        output.is_lost = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: this device hung, and was left behind
            loop.call_soon_threadsafe(on_end)

    output.stream = open_stream(
        device,
        lambda sounddevice: sounddevice.RawOutputStream(
            samplerate=form.rate_hz,
            blocksize=round(form.rate_hz * _BLOCK_S),
            device=device.index,
            channels=form.channels,
            dtype="int16",
            latency=_LATENCY_S,
            callback=give,
            finished_callback=finished,
        ),
    )
    return output
