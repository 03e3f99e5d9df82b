"""From a frame's last sample to its verdict by the voice activity detector, while every core is busy."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S, AudioChunk
from edge_agent.bench.result import Reference, at_most, percentile
from edge_agent.engines.webrtc import WebRtcVad
from edge_agent.runtime.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.bench.result import Findings, Progress

_QUEUED_S = 1.0
"""What the microphone's channel holds."""
_DEVICE_S = 0.06
"""What the microphone's device holds: samples that nobody fetched for longer are lost."""
_REPORT_S = 10.0


@dataclass(slots=True)
class Heard:
    """What became of the frames of one run.

    Attributes:
        delays_ms: From when a frame's last sample was spoken to the detector's verdict.
        dropped: Frames that the channel dropped, because the loop did not take them in time.
        overrun: Frames that the device would have dropped, because its callback came too late.
        missing: Frames that neither explains.
    """

    delays_ms: list[float] = field(default_factory=list)
    dropped: int = 0
    overrun: int = 0
    missing: int = 0

    @property
    def lost(self) -> int:
        """Frames that were not heard."""
        return self.dropped + self.overrun + self.missing


class _Device(threading.Thread):
    """Delivers frames as PortAudio's callback does: from a thread of its own, each at its time."""

    def __init__(self, speech: Sequence[AudioChunk], frames: int, blocks: Channel[tuple[bytes, float]]) -> None:
        super().__init__(name="bench-device", daemon=True)
        self._speech = speech
        self._frames = frames
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self.overrun = 0
        self.delivered = 0

    def run(self) -> None:
        began_s = time.monotonic()
        for number in range(self._frames):
            spoken_s = began_s + (number + 1) * FRAME_S
            if self._stopping.wait(max(0.0, spoken_s - time.monotonic())):
                return
            late_s = time.monotonic() - spoken_s
            if late_s > _DEVICE_S:
                self.overrun += 1
                continue
            frame = self._speech[number % len(self._speech)]
            self.delivered += 1
            self._loop.call_soon_threadsafe(self._blocks.offer, (frame.pcm, spoken_s))
        self._loop.call_soon_threadsafe(self._blocks.close)

    def stop(self) -> None:
        """End within a moment."""
        self._stopping.set()


async def hear(speech: Sequence[AudioChunk], seconds: float, progress: Progress) -> Heard:
    """Hear `seconds` of frames, paced, and judge each."""
    blocks: Channel[tuple[bytes, float]] = Channel(round(_QUEUED_S / FRAME_S), "drop_oldest")
    frames = round(seconds / FRAME_S)
    heard = Heard()
    detector = await asyncio.to_thread(WebRtcVad, 2)  # its module reads files
    device = _Device(speech, frames, blocks)
    device.start()
    try:
        async for pcm, spoken_s in blocks:
            detector.is_speech(AudioChunk(pcm, speech[0].rate_hz, spoken_s))
            heard.delays_ms.append((time.monotonic() - spoken_s) * 1000)
            if len(heard.delays_ms) % round(_REPORT_S / FRAME_S) == 0:
                progress(f"{len(heard.delays_ms) * FRAME_S:.0f} of {seconds:.0f} s heard")
    finally:
        device.stop()
        await asyncio.to_thread(device.join)
    heard.dropped = blocks.dropped
    heard.overrun = device.overrun
    heard.missing = frames - len(heard.delays_ms) - heard.dropped - heard.overrun
    return heard


def report(findings: Findings, ours: Heard, defaults: Heard, quiet: Heard) -> None:
    """Add `capture.*`.

    Args:
        findings: What is added to.
        ours: Under load with the ledger.
        defaults: Under the same load with the libraries' defaults.
        quiet: With nothing else running.
    """
    findings.add(
        "capture.lost_frames",
        ours.lost,
        "frames",
        goal=at_most(0),
        reference=Reference("the libraries' defaults under the same load", defaults.lost, "frames"),
        samples=len(ours.delays_ms) + ours.lost,
    )
    tail = percentile(defaults.delays_ms, 99) if defaults.delays_ms else float("nan")
    findings.add_percentiles(
        "capture.vad_delay",
        ours.delays_ms,
        "ms",
        goals={99: at_most(20)},
        reference=Reference("the libraries' defaults under the same load, p99", tail, "ms"),
    )
    findings.add(
        "capture.defaults_lost_frames", defaults.lost, "frames", samples=len(defaults.delays_ms) + defaults.lost
    )
    findings.add_percentiles("capture.defaults_vad_delay", defaults.delays_ms, "ms")
    findings.add_percentiles("capture.quiet_vad_delay", quiet.delays_ms, "ms")
    findings.distributions["Frame to voice activity verdict (ms)"] = {
        "quiet": quiet.delays_ms,
        "ledger": ours.delays_ms,
        "defaults": defaults.delays_ms,
    }
