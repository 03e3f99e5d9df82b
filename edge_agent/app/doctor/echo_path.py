"""The way of a sound from the loudspeaker to the microphone: how late, how loud, or not at all."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.doctor.chirp import LENGTH_S, find_echo, sweep
from edge_agent.audio import FRAME_S, HEAR_RATE_HZ, AudioChunk, silence
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.playback import gain_of
from edge_agent.devices.speaker import Speaker
from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_RATE_HZ = 48_000
_BEFORE_S = 0.5
"""Silence given out first: the device is awake then, and the noise of the room is known."""
_LATEST_S = 0.8
"""How late an echo is waited for."""
_PATIENCE_S = 6.0
_FULL_SCALE = 32_768.0
_LEAST_GAIN = 1e-3


@dataclass(frozen=True, slots=True)
class EchoPath:
    """What became of the sweep.

    Attributes:
        loop_ms: From handing the sweep to the sound system until its beginning has come back to this process: both
            buffers and the way through the air. None where nothing came back.
        delay_ms: From leaving the loudspeaker to the microphone by what the two drivers tell of their buffers, which is
            what the agent goes by while it speaks; below zero where a driver tells more than is true. None likewise.
        coupling_db: How loud it came back against the samples that were given to the device; None likewise.
        heard_rms: What the microphone heard in all, 0 to 1: 0 is a dead one.
    """

    microphone: str
    speaker: str
    loop_ms: float | None
    delay_ms: float | None
    coupling_db: float | None
    heard_rms: float


async def measure_echo_path(microphone: str, speaker: str, volume: int) -> EchoPath:
    """Play a sweep of 0.6 s through `speaker` and listen for it with `microphone`; takes about 3 s.

    Args:
        microphone: Number or part of the name; empty for the system's default.
        speaker: The same.
        volume: Per cent, as the agent speaks.

    Raises:
        UnknownDeviceError: None or several devices match.
        DeviceError: One is absent, refuses, is lost, or hears nothing at all.
    """
    ear = _Ear()
    async with Microphone(microphone) as source, Speaker(speaker, volume=volume) as sink:
        listening = asyncio.create_task(ear.listen(source), name="doctor.listen")
        try:
            handed_at, left_at = await _play(sink, ear, listening)
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        names = source.name, sink.name
    captured_at, arrived_at, samples = ear.recording()
    start = max(0, round((handed_at - _BEFORE_S - arrived_at) * HEAR_RATE_HZ))
    window = samples[start:]
    heard = float((window**2).mean() ** 0.5) if len(window) else 0.0
    echo = find_echo(window, HEAR_RATE_HZ, max(_LEAST_GAIN, gain_of(volume, muted=False)))
    if echo is None:
        return EchoPath(*names, None, None, None, heard)
    at_s = start / HEAR_RATE_HZ + echo.delay_s
    loop_ms, delay_ms = (
        round(1000 * seconds, 1) for seconds in (arrived_at + at_s - handed_at, captured_at + at_s - left_at)
    )
    return EchoPath(*names, loop_ms, delay_ms, round(echo.coupling_db, 1), heard)


class _Ear:
    """Keeps what a microphone delivers, and when it was heard."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._captured: list[float] = []
        self._arrived: list[float] = []

    async def listen(self, source: Microphone) -> None:
        """Keep everything until cancelled."""
        async with aclosing(source.frames()) as frames:
            async for frame in frames:
                self._parts.append(frame.pcm)
                now_s, length_s = time.monotonic(), len(self._parts) * FRAME_S
                self._arrived.append(now_s - length_s)
                self._captured.append((now_s if frame.captured_at is None else frame.captured_at) - length_s)

    @property
    def until_s(self) -> float:
        """When the last frame arrived; 0 before the first."""
        return self._arrived[-1] + len(self._parts) * FRAME_S if self._parts else 0.0

    def recording(self) -> tuple[float, float, NDArray[np.float64]]:
        """Return when the first sample was captured, by the driver, and arrived here; and all samples."""
        import numpy as np

        samples = np.frombuffer(b"".join(self._parts), "<i2").astype(np.float64) / _FULL_SCALE
        # Each frame tells, some late; most agree.
        return statistics.median(self._captured), statistics.median(self._arrived), samples


async def _play(sink: Speaker, ear: _Ear, listening: asyncio.Task[None]) -> tuple[float, float]:
    """Give out silence, then the sweep; return when the sweep was handed over, and when it left, by the driver."""
    sound = AudioChunk((sweep(_RATE_HZ) * 32_767).astype("<i2").tobytes(), _RATE_HZ)
    await _until(lambda: ear.until_s > 0, listening)  # a microphone that wakes up slowly must not miss it
    await sink.write(silence(_BEFORE_S, _RATE_HZ))
    await sink.drain()  # from here on the device is awake, and takes what it is given with its next block
    before_s = sink.played_s
    handed_at = time.monotonic()
    await sink.write(sound)
    sink.finish()
    await _until(lambda: sink.played_s > before_s + LENGTH_S / 2, listening)
    left_at = time.monotonic() - (sink.played_s - before_s)
    await sink.drain()
    await _until(lambda: ear.until_s > left_at + LENGTH_S + _LATEST_S, listening)
    return handed_at, left_at


async def _until(condition: Callable[[], bool], listening: asyncio.Task[None]) -> None:
    """Wait for something, as long as the microphone delivers.

    Raises:
        DeviceError: The microphone is lost, or it takes too long.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if listening.done():
            listening.result()  # raises why
        if time.monotonic() > deadline_s:
            raise DeviceError("echo path", f"nothing moves for {_PATIENCE_S:g} s")
        await asyncio.sleep(0.01)
