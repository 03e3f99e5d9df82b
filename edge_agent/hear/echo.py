"""Telling a voice from the echo of what is being played, by comparing levels: pure arithmetic on frames.

What the speaker plays comes back to the microphone weakened by the room, and a little later. A frame that is clearly
louder than that holds something else, too. This is the idea of the double-talk detector that is named after A. Geigel
(D. L. Duttweiler, "A Twelve-Channel Digital Echo Canceler", IEEE Transactions on Communications, 1978): compare the
microphone with the loudest of what was played within the longest delay, and assume a weakest echo path. Here levels are
RMS of 20 ms instead of single samples, and how strong the echo is, is learned.

    played    ▁▇▇▆▇▇▁▁▁▁▁▁▁▁▁▁▁
    reference ▁▇▇▇▇▇▇▇▇▇▆▅▄▃▂▁▁    loudest in 300 ms, then the room's decay
    expected  ▁▄▄▄▄▄▄▄▄▄▃▂▁▁▁▁▁    x coupling; louder by the margin: a voice
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk

ECHO_WINDOW_S = 0.3
"""Window for `AudioSink.recent_level`: echoes that come up to 250 ms after their sound left the device are covered."""

_DECAY = 10 ** (-2 / 20)
"""A frame: 2 dB in 20 ms, so 60 dB in 0.6 s, as a furnished room reverberates."""
_SILENT = 1e-4
"""A reference below this (-80 dB of full scale) leaves no echo that a voice detector would notice."""
_LEARNING_FROM = 1e-2
"""Echoes of what is played more quietly (-40 dB) drown in noise, and are not learned from."""
_FIRST_FRAMES = 30
"""So much playing (0.6 s) makes the first estimate; up to 250 ms of it may be before the echo's arrival."""
_UNKNOWN_DB = 6.0
"""Taken for the coupling until then, where a voice must be certain: a microphone beside the speaker, at full gain,
picks up no more. Interrupting the very first syllables by voice is given up for not interrupting oneself."""
_LIKELY_DB = -20.0
"""Taken until then where an echo must be certain."""
_QUIETEST_DB, _LOUDEST_DB = -70.0, 20.0
_UP_DB = 0.4
"""A frame: louder than the estimate, and no certain voice."""
_UP_IN_VOICE_DB = 0.1
"""A frame that was taken for a voice: 5 dB/s, little in the time it takes to interrupt, and enough to end a run of
false interruptions after the amplifier was turned up."""
_DOWN_DB = 0.05
"""A frame: quieter than the estimate. With `_UP_DB` it rests where a ninth of the frames are louder."""
_ECHO_DB = 6.0
"""Louder than the expected echo by no more than this is taken for nothing but echo: the estimate is not the loudest
frame, and a room answers a tone otherwise than a voice."""
_NOISE_WEIGHT = 0.05
_FULL_SCALE = 32_768.0


class Origin(Enum):
    """What a frame holds.

    Attributes:
        VOICE: A voice, certainly: speech, and where something is played, louder than its echo by the margin.
        ECHO: Nothing but the echo of what is played: silence for whoever listens to a person.
        UNSURE: Anything else. Where nothing is played: no speech.
    """

    VOICE = "voice"
    ECHO = "echo"
    UNSURE = "unsure"


class EchoGuard:
    """Judges frames while something may be playing, and learns the coupling from speaker to microphone.

    The coupling (microphone over played level, in dB) is remembered from turn to turn. It follows the upper tenth of
    what is measured while something plays, at bounded rates, so that somebody who speaks meanwhile moves it little.

    Args:
        margin_db: How much louder than the expected echo a voice must be.
    """

    def __init__(self, margin_db: float) -> None:
        self._margin = 10 ** (margin_db / 20)
        self._echo = 10 ** (min(_ECHO_DB, margin_db) / 20)
        self.forget()

    @property
    def coupling_db(self) -> float | None:
        """Level of the echo against what is played; None until enough was played."""
        return self._coupling_db if self._learned >= _FIRST_FRAMES else None

    def forget(self) -> None:
        """Learn anew: another microphone or speaker."""
        self._coupling_db = _QUIETEST_DB
        self._learned = 0
        self._reference = 0.0
        self._noise: float | None = None

    def rest(self) -> None:
        """Some time has passed without a frame: what was played before it is no echo any more."""
        self._reference = 0.0

    def judge(self, frame: AudioChunk, *, is_speech: bool, played_level: float) -> Origin:
        """Say what a frame holds; call it once for each frame, in order, whether something is played or not.

        Args:
            frame: 20 ms from the microphone.
            is_speech: What the voice activity detector says of it.
            played_level: `recent_level(ECHO_WINDOW_S)` of the speaker; 0 where nothing was played.
        """
        level = _rms(frame)
        self._reference = max(played_level, self._reference * _DECAY)
        if self._reference < _SILENT:
            if not is_speech:
                noise = self._noise
                self._noise = level if noise is None else noise + _NOISE_WEIGHT * (level - noise)
            return Origin.VOICE if is_speech else Origin.UNSURE
        surely, likely = self._expected()
        is_louder = self._exceeds(level, surely * self._margin)
        if played_level >= _LEARNING_FROM:
            self._learn(level, played_level, in_voice=is_speech and is_louder)
        if is_louder:
            return Origin.VOICE if is_speech else Origin.UNSURE
        return Origin.UNSURE if self._exceeds(level, likely * self._echo) else Origin.ECHO

    def is_voice(self, frame: AudioChunk, *, is_speech: bool, played_level: float) -> bool:
        """Say whether a frame certainly holds a voice; it is `judge`, and takes its place."""
        return self.judge(frame, is_speech=is_speech, played_level=played_level) is Origin.VOICE

    def _expected(self) -> tuple[float, float]:
        """Return the echo's level at most, and as it is likely."""
        coupling_db = self.coupling_db
        if coupling_db is None:
            return self._reference * 10 ** (_UNKNOWN_DB / 20), self._reference * 10 ** (_LIKELY_DB / 20)
        expected = self._reference * 10 ** (coupling_db / 20)
        return expected, expected

    def _exceeds(self, level: float, echo: float) -> bool:
        noise = self._noise or 0.0
        return level * level > echo * echo + noise * noise

    def _learn(self, level: float, played_level: float, *, in_voice: bool) -> None:
        noise = self._noise or 0.0
        above_noise = math.sqrt(max(level * level - noise * noise, 0.0))
        measured_db = 20 * math.log10(above_noise / played_level) if above_noise else _QUIETEST_DB
        measured_db = min(max(measured_db, _QUIETEST_DB), _LOUDEST_DB)
        if self._learned < _FIRST_FRAMES:
            self._learned += 1
            self._coupling_db = max(self._coupling_db, measured_db)
        elif measured_db > self._coupling_db:
            self._coupling_db += min(_UP_IN_VOICE_DB if in_voice else _UP_DB, measured_db - self._coupling_db)
        else:
            self._coupling_db -= min(_DOWN_DB, self._coupling_db - measured_db)


def _rms(frame: AudioChunk) -> float:
    """Return the RMS of a frame, 0 to 1."""
    import numpy as np

    samples = np.frombuffer(frame.pcm, "<i2").astype(np.float32)
    return math.sqrt(float(samples @ samples) / max(len(samples), 1)) / _FULL_SCALE
