"""The second, free reading of an utterance whose first one is closed to a grammar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_agent.audio import HEAR_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.engines.vosk_decoder import VoskDecoder
    from edge_agent.events import Word

STEP_BYTES = HEAR_RATE_HZ // 5
"""A tenth of a second: so much is decoded between two looks at whether to stop, and so much may a pause have to wait
for. Vosk itself computes some 0.25 s of it at a time."""
_STEP_S = STEP_BYTES / (2 * HEAR_RATE_HZ)
_MOST_SHARE = 0.6
"""Of real time, alongside: with the first reading, which takes less, it must not fall behind somebody who speaks."""
_MEASURED_STEPS = 5
"""At least, before that is judged: the work comes in bursts."""
_CATCH_UP = 2
"""Times the audio that comes, where going on after a preview left it behind."""


class SecondReading:
    """Decodes an utterance freely while it is spoken: little is left to do where its closed reading is doubtful.

    It decodes in steps of a tenth of a second, always the same ones, for what Vosk hears depends on them; how many of
    them are made alongside, and how many when it is asked, changes nothing. On a machine on which they take more than
    0.6 of real time all but the first half second are left until then.

    Args:
        decoder: For it alone.
        clock: Seconds.
    """

    def __init__(self, decoder: VoskDecoder, clock: Callable[[], float] = time.perf_counter) -> None:
        self._decoder = decoder
        self._clock = clock
        self._pcm = bytearray()
        self._words: list[Word] = []
        self._taken = 0
        self._credit = 0
        self._steps = 0
        self._spent_s = 0.0
        self._has_begun = False
        self._has_ended = False

    def restart(self) -> None:
        """Begin an utterance; Vosk follows with the first step, for it takes a while to end one that was left open."""
        self._pcm.clear()
        self._steps = 0
        self._spent_s = 0.0
        self._rewind()

    def add(self, pcm: bytes) -> None:
        """Take audio."""
        self._pcm += pcm
        self._credit = min(self._credit + _CATCH_UP * len(pcm), 2 * STEP_BYTES)

    def keep_up(self) -> None:
        """Decode one step, where a whole one has come and the machine is fast enough.

        Raises:
            RecognitionError: Vosk failed.
        """
        if self._has_ended:
            self._rewind()
        if self._is_fast and self._credit >= STEP_BYTES and len(self._pcm) - self._taken >= STEP_BYTES:
            began_at = self._clock()
            self._step()
            self._credit -= STEP_BYTES
            self._steps += 1
            self._spent_s += self._clock() - began_at

    def end(self, heed_stop: Callable[[], None]) -> list[Word]:
        """Decode what is left, as if the utterance ended here, and return all its words; it may go on.

        Args:
            heed_stop: Is called before each step; what it raises ends this.

        Raises:
            RecognitionError: Vosk failed.
        """
        if not self._has_ended:
            while self._taken < len(self._pcm):
                heed_stop()
                self._step()
            self._begin()
            self._words += self._decoder.end()
            self._has_ended = True
        return self._words

    @property
    def _is_fast(self) -> bool:
        return self._steps < _MEASURED_STEPS or self._spent_s <= _MOST_SHARE * _STEP_S * self._steps

    def _step(self) -> None:
        self._begin()
        pcm = bytes(self._pcm[self._taken : self._taken + STEP_BYTES])
        self._taken += len(pcm)
        self._words += self._decoder.take(pcm)

    def _begin(self) -> None:
        if not self._has_begun:
            self._decoder.restart()
            self._has_begun = True

    def _rewind(self) -> None:
        self._words = []
        self._taken = self._credit = 0
        self._has_begun = self._has_ended = False
