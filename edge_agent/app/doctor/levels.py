"""How loud a microphone is, as a meter shows it, and a tone that a person can listen for."""

from __future__ import annotations

import math
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S, AudioChunk
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.speaker import Speaker

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

SILENCE_DBFS = -120.0
"""What is said of nothing but zeros; the least of 16 bits is -90 dB."""
QUIET_DBFS = -50.0
"""A peak below it is no speech at arm's length with a sensible gain: normal speech peaks between -30 and -6 dB."""
MOST_CLIPPED_SHARE = 0.001
"""One sample in a thousand at the rail is heard as crackling, and recognizers suffer."""
_FULL_SCALE = 32_768.0
_RAIL = 32_700
"""What resampling makes of a flat top still reaches it; undisturbed speech does not stay there."""
_SHOWN_S = 0.1
_NOTE_S = 0.35
_NOTES_HZ = (523.25, 659.26, 783.99)
_EDGE_S = 0.02
_TONE_RATE_HZ = 24_000
_TONE_PEAK = 0.5


@dataclass(frozen=True, slots=True)
class Level:
    """A tenth of a second, in dB of full scale: 0 is the loudest that there is, `SILENCE_DBFS` stands for zeros."""

    rms_dbfs: float
    peak_dbfs: float


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """What was heard in all.

    Attributes:
        name: The device.
        clipped_share: Share of the samples, 0 to 1, that are as large as there is.
        zero_share: Share that is exactly zero: 1 for a microphone that is switched off.
        rate_hz: The rate that the device itself was opened with.
        floor_dbfs: RMS of the quietest tenth of the tenths of a second: the noise of room and device.
        frames_lost: Frames that the device or this process lost meanwhile.
    """

    name: str
    rms_dbfs: float
    peak_dbfs: float
    clipped_share: float
    zero_share: float
    rate_hz: int
    floor_dbfs: float = SILENCE_DBFS
    frames_lost: int = 0


class LevelMeter:
    """Adds up 16-bit samples. Pure."""

    def __init__(self) -> None:
        self._samples = 0
        self._squares = 0.0
        self._peak = 0
        self._clipped = 0
        self._zeros = 0
        self._levels: list[float] = []

    def add(self, pcm: bytes) -> Level:
        """Take some samples and return how loud these are."""
        import numpy as np

        samples = np.frombuffer(pcm, "<i2").astype(np.int32)
        if not len(samples):
            return Level(SILENCE_DBFS, SILENCE_DBFS)
        sizes = np.abs(samples)
        squares, peak = float((samples.astype(np.float64) ** 2).sum()), int(sizes.max())
        self._samples += len(samples)
        self._squares += squares
        self._peak = max(self._peak, peak)
        self._clipped += int((sizes >= _RAIL).sum())
        self._zeros += int((samples == 0).sum())
        level = Level(dbfs(math.sqrt(squares / len(samples))), dbfs(peak))
        self._levels.append(level.rms_dbfs)
        return level

    def summary(self, name: str, rate_hz: int, frames_lost: int = 0) -> LevelSummary:
        """Return what all of them were."""
        count = max(1, self._samples)
        quietest = sorted(self._levels)[: max(1, len(self._levels) // 10)]
        return LevelSummary(
            name=name,
            rms_dbfs=dbfs(math.sqrt(self._squares / count)),
            peak_dbfs=dbfs(self._peak),
            clipped_share=self._clipped / count,
            zero_share=self._zeros / count,
            rate_hz=rate_hz,
            floor_dbfs=sum(quietest) / len(quietest) if quietest else SILENCE_DBFS,
            frames_lost=frames_lost,
        )


def dbfs(amplitude: float) -> float:
    """Return an amplitude of 16-bit samples in dB of full scale, `SILENCE_DBFS` at the least."""
    return max(SILENCE_DBFS, 20 * math.log10(amplitude / _FULL_SCALE)) if amplitude > 0 else SILENCE_DBFS


async def measure_levels(
    device: str, seconds: float, on_level: Callable[[Level], None] = lambda _: None
) -> LevelSummary:
    """Listen to a microphone for that long; `on_level` is told of each tenth of a second, on the loop.

    Args:
        device: Number or part of the name; empty for the system's default.
        seconds: Counted in audio; a microphone that delivers nothing is given up after 5 s.
        on_level: Returns at once.

    Raises:
        UnknownDeviceError: None or several devices match.
        DeviceError: It is absent, refuses, or is lost.
    """
    meter = LevelMeter()
    left = max(1, round(seconds / FRAME_S))
    held = bytearray()
    async with Microphone(device) as microphone, aclosing(microphone.frames()) as frames:
        async for frame in frames:
            held += frame.pcm
            left -= 1
            if len(held) >= round(_SHOWN_S * frame.rate_hz) * 2 or left == 0:
                on_level(meter.add(bytes(held)))
                held.clear()
            if left == 0:
                break
        return meter.summary(microphone.name, microphone.rate_hz, microphone.dropped_frames)


async def play_tone(device: str, volume: int) -> str:
    """Play three rising notes, a second in all, and return the speaker's name when they were played.

    Args:
        device: Number or part of the name; empty for the system's default.
        volume: Per cent.

    Raises:
        UnknownDeviceError: None or several devices match.
        DeviceError: It is absent, refuses, or is lost.
    """
    async with Speaker(device, volume=volume) as speaker:
        await speaker.write(three_notes())
        speaker.finish()
        await speaker.drain()
        return speaker.name


@cache
def three_notes() -> AudioChunk:
    """Return the three notes, at half of full scale; the same samples each time."""
    import numpy as np

    notes = [_note(hz) for hz in _NOTES_HZ]
    return AudioChunk((np.concatenate(notes) * 32_767 * _TONE_PEAK).astype("<i2").tobytes(), _TONE_RATE_HZ)


def _note(hz: float) -> NDArray[np.float64]:
    import numpy as np

    times = np.arange(round(_NOTE_S * _TONE_RATE_HZ)) / _TONE_RATE_HZ
    edges = np.clip(np.minimum(times, _NOTE_S - times) / _EDGE_S, 0, 1)
    sound: NDArray[np.float64] = np.sin(2 * np.pi * hz * times) * edges
    return sound
