"""A microphone without a device: a room with noise, people who speak when told to, and the speaker's echo."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from edge_agent.audio import FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.bench.pause_speech import pink_noise

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.room_speaker import RoomSpeaker

VOICE_LEVEL = 0.06
"""RMS, 0 to 1, to which each voice is brought: -24 dB of full scale."""
ROOM_LEVEL = 0.003
"""Of the room, 26 dB below. It is the only one: a recording's own noise, which would come and go with each voice and be
taken for one, is faded out around it."""
_NOISE_S = 10
ECHO_DELAY_S = 0.06
ECHO_GAIN = 0.1
"""-20 dB: a microphone half a metre from the speaker."""
_BEFORE_S, _AFTER_S, _FADE_S = 0.1, 0.15, 0.05
"""Of the recording around the voice, faded in and out."""
_LOUDEST = 32_767.0
_FULL_SCALE = 32_768.0


@dataclass(slots=True)
class Speech:
    """Somebody's words in the room. Times are `time.perf_counter()`.

    Attributes:
        begins_at: The voice's first sample was captured.
        ends_at: Its last one: the true end of speech.
    """

    begins_at: float
    ends_at: float


@dataclass(slots=True)
class _Saying:
    samples: NDArray[np.float32]
    not_before: float
    begun_at: asyncio.Future[float]
    at: int = 0


class RoomSource:
    """An `AudioSource` that yields each frame when it is due, and one that was not taken in time as soon as it is.

    Args:
        speaker: What can be heard in the room; None: nothing.
        seed: Of the noise.
        clock: `time.perf_counter`, or a test's own.
    """

    def __init__(
        self,
        speaker: RoomSpeaker | None = None,
        seed: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._speaker = speaker
        self._clock = clock
        noise = pink_noise(_NOISE_S * HEAR_RATE_HZ, np.random.default_rng(seed))
        self._noise = (noise * ROOM_LEVEL * _FULL_SCALE).astype(np.float32)
        self._saying: _Saying | None = None
        self._is_closed = False

    @property
    def name(self) -> str:
        """The room."""
        return "room"

    @property
    def dropped_frames(self) -> int:
        """None: it keeps what was not taken in time."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def rest(self, *, resting: bool) -> None:
        """Do nothing: every frame is delivered by itself."""

    def close(self) -> None:
        """End the frames with the next one."""
        self._is_closed = True

    async def say(self, clip: Clip) -> Speech:
        """Begin to speak, with the next frame; return when the voice's first and last samples are captured."""
        saying = _Saying(_voice_of(clip), self._clock(), asyncio.get_running_loop().create_future())
        self._saying = saying
        first_at = await saying.begun_at - max(0.0, clip.begins_s - _BEFORE_S)
        return Speech(first_at + clip.begins_s, first_at + clip.ends_s)

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield frames until it is closed."""
        start = self._clock()
        offset = time.monotonic() - start
        number = 0
        while not self._is_closed:
            began_at = start + number * FRAME_S
            number += 1
            await asyncio.sleep(max(0.0, began_at + FRAME_S - self._clock()))
            yield AudioChunk(self._frame(number, began_at), HEAR_RATE_HZ, captured_at=began_at + FRAME_S + offset)

    def _frame(self, number: int, began_at: float) -> bytes:
        at = number * FRAME_SAMPLES % (len(self._noise) - FRAME_SAMPLES)
        mixed = self._noise[at : at + FRAME_SAMPLES].copy()
        if self._speaker is not None:
            echo = self._speaker.heard(began_at - ECHO_DELAY_S, FRAME_S, FRAME_SAMPLES)
            mixed += echo * np.float32(ECHO_GAIN)
        saying = self._saying
        if saying is not None and began_at >= saying.not_before:
            if not saying.begun_at.done():
                saying.begun_at.set_result(began_at)
            part = saying.samples[saying.at : saying.at + FRAME_SAMPLES]
            saying.at += FRAME_SAMPLES
            mixed[: len(part)] += part
            if saying.at >= len(saying.samples):
                self._saying = None
        pcm: bytes = np.clip(np.rint(mixed), -_LOUDEST, _LOUDEST).astype("<i2").tobytes()
        return pcm


def _voice_of(clip: Clip) -> NDArray[np.float32]:
    """Return the voice at its level, with little around it."""
    first, end = max(0.0, clip.begins_s - _BEFORE_S), clip.ends_s + _AFTER_S
    samples = clip.samples[round(first * HEAR_RATE_HZ) : round(end * HEAR_RATE_HZ)].astype(np.float32)
    samples *= np.float32(VOICE_LEVEL * _FULL_SCALE / clip.voice_rms)
    ramp = np.linspace(0, 1, min(round(_FADE_S * HEAR_RATE_HZ), len(samples)), dtype=np.float32)
    samples[: len(ramp)] *= ramp
    samples[len(samples) - len(ramp) :] *= ramp[::-1]
    return samples
