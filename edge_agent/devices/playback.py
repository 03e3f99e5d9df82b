"""What a speaker's callback plays next, and the account of what it has played: no device, no clock of its own."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.audio import SAMPLE_BYTES
from edge_agent.devices.resampling import to_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RAMP_S = 0.02
"""A volume change from nothing to full takes so long: no click."""
_FADE_S = 0.005
"""Where the sound breaks off the last sample fades out for so long: no click, and no sample that was dropped."""
_LONGEST_LATENCY_S = 3.0
"""Bound on what a driver may claim (Bluetooth: about 0.3 s)."""
_LEVEL_S = 0.02
"""Levels are kept by pieces of this length."""
_LEVELS = 256
"""So many of them: 5 s, more than the longest latency and the longest window that is asked for."""
_FULL_SCALE = 32_768.0


def gain_of(percent: int, *, muted: bool) -> float:
    """Return the amplitude factor of a volume in per cent: its square, so 50 % (-12 dB) sounds about half as loud."""
    return 0.0 if muted else (min(max(percent, 0), 100) / 100) ** 2


class PlaybackBuffer:
    """Mono samples in, interleaved and amplified samples out.

    `fill` is called from the device's thread, everything else from the loop's; the lock is held for microseconds.
    Times are `time.monotonic()`.
    """

    def __init__(self, rate_hz: int, channels: int, gain: float, now: float) -> None:
        self.rate_hz = rate_hz
        self._channels = channels
        self._lock = threading.Lock()
        self._queued = bytearray()
        self._gain = gain
        self._target = gain
        self._last = 0
        self._is_silent = True
        self._taken = 0
        self._on_way_s = 0.0
        self._ends_at = now
        self._is_held = False
        self._ramp_left = 0
        self._was_flowing = False
        self._levels: deque[tuple[float, float, float]] = deque(maxlen=_LEVELS)

    @property
    def queued_s(self) -> float:
        """Seconds that the device has not taken yet."""
        return len(self._queued) / SAMPLE_BYTES / self.rate_hz

    @property
    def taken_s(self) -> float:
        """Seconds that the device has taken."""
        return self._taken / self.rate_hz

    @property
    def ends_at(self) -> float:
        """When the last sample that the device took is over."""
        return self._ends_at

    def pending_s(self, now: float) -> float:
        """Seconds queued or on their way through the device."""
        with self._lock:
            return self.queued_s + self._in_device_s(now)

    def played_s(self, now: float) -> float:
        """Seconds that have left the device."""
        with self._lock:
            return self._taken / self.rate_hz - self._in_device_s(now)

    def append(self, samples: NDArray[np.int16]) -> None:
        """Queue samples."""
        with self._lock:
            self._queued += samples.astype("<i2").tobytes()

    def clear(self) -> None:
        """Drop what is queued, and end a hold; what the device has taken plays on."""
        with self._lock:
            self._queued.clear()
            self._is_held = False
            self._ramp_left = 0
            self._was_flowing = False

    def hold(self) -> None:
        """Give silence from the next block on, and keep what is queued."""
        with self._lock:
            self._is_held = True

    def resume(self) -> None:
        """Go on with the first sample that was not given; a sound that was broken off fades in."""
        with self._lock:
            self._is_held = False

    def recent_level(self, now: float, window_s: float) -> float:
        """Return the loudest RMS, 0 to 1, of the pieces of 20 ms that left the device in the last `window_s`."""
        loudest = 0.0
        with self._lock:
            for starts_at, ends_at, level in reversed(self._levels):
                if ends_at <= now - window_s:
                    break
                if starts_at < now and level > loudest:
                    loudest = level
        return loudest

    def set_gain(self, gain: float) -> None:
        """Change the amplitude factor, with a short ramp."""
        self._target = gain

    def fill(self, frames: int, now: float, latency_s: float) -> tuple[bytes, bool]:
        """Return `frames` frames, and whether any of them was queued; silence where there is nothing.

        `latency_s` is from now until the first of these frames leaves the device.
        """
        latency_s = min(max(latency_s, 0.0), _LONGEST_LATENCY_S)
        with self._lock:
            pcm = b"" if self._is_held else bytes(self._queued[: frames * SAMPLE_BYTES])
            del self._queued[: len(pcm)]
            taken = len(pcm) // SAMPLE_BYTES
            if taken:
                # Drivers' latencies jitter: what was over stays over.
                self._on_way_s = self._in_device_s(now) + taken / self.rate_hz
                self._ends_at = now + latency_s + taken / self.rate_hz
                self._taken += taken
            if self._is_held and self._was_flowing and self._queued:
                self._ramp_left = round(_FADE_S * self.rate_hz)
            self._was_flowing = taken == frames
            ramp_left = self._ramp_left
            self._ramp_left -= min(ramp_left, taken)
        if self._is_silent:
            self._gain = self._target  # there is nothing that could click
        if not taken and self._is_silent:
            return bytes(frames * self._channels * SAMPLE_BYTES), False
        played = np.zeros(frames, np.int16)
        played[:taken] = self._faded_in(self._amplified(to_samples(pcm)), ramp_left)
        if taken < frames:
            self._fade(played, taken)
        self._last = int(played[-1])
        self._is_silent = taken < frames and self._last == 0
        self._note_levels(played, now + latency_s)
        if self._channels > 1:
            played = np.repeat(played, self._channels)
        return played.astype("<i2").tobytes(), taken > 0

    def _faded_in(self, samples: NDArray[np.int16], ramp_left: int) -> NDArray[np.int16]:
        """Return samples with the next part of a ramp of which so many samples are left."""
        if not ramp_left or not len(samples):
            return samples
        length = round(_FADE_S * self.rate_hz)
        ramp = 1 - np.arange(ramp_left, ramp_left - len(samples), -1, dtype=np.float32).clip(0) / length
        faded: NDArray[np.int16] = (samples * ramp).astype(np.int16)
        return faded

    def _note_levels(self, played: NDArray[np.int16], starts_at: float) -> None:
        """Keep how loud the pieces of a block are that leave the device from `starts_at` on."""
        size = round(_LEVEL_S * self.rate_hz)
        for start in range(0, len(played), size):
            piece = played[start : start + size].astype(np.float32)
            level = math.sqrt(float(piece @ piece) / len(piece)) / _FULL_SCALE
            begins_at = starts_at + start / self.rate_hz
            with self._lock:
                self._levels.append((begins_at, begins_at + len(piece) / self.rate_hz, level))

    def _amplified(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        gain, target = self._gain, self._target
        if gain == target:
            return samples if gain == 1.0 else (samples * np.float32(gain)).astype(np.int16)
        step = 1.0 / (_RAMP_S * self.rate_hz)
        steps = np.arange(1, len(samples) + 1, dtype=np.float32) * step
        ramp = np.minimum(gain + steps, target) if gain < target else np.maximum(gain - steps, target)
        if len(samples):
            self._gain = float(ramp[-1]) if abs(float(ramp[-1]) - target) > step / 2 else target
        amplified: NDArray[np.int16] = (samples * ramp).astype(np.int16)
        return amplified

    def _fade(self, played: NDArray[np.int16], taken: int) -> None:
        last = int(played[taken - 1]) if taken else self._last
        length = min(len(played) - taken, round(_FADE_S * self.rate_hz))
        played[taken : taken + length] = np.linspace(last, 0, length + 1)[1:].astype(np.int16)

    def _in_device_s(self, now: float) -> float:
        return min(max(self._ends_at - now, 0.0), self._on_way_s)
