"""One of Vosk's recognizers, from utterance to utterance."""

from __future__ import annotations

import json
import random
from array import array
from typing import Any

from edge_agent.audio import HEAR_RATE_HZ
from edge_agent.errors import RecognitionError
from edge_agent.events import Word

_BYTES_PER_S = 2 * HEAR_RATE_HZ
_QUIET_S = 0.3
_QUIET_DEVIATION = 2.0
"""Standard deviation in 16-bit steps: digital silence is read as a word of its own."""
_NUDGE = bytes(_BYTES_PER_S // 50)


def quiet() -> bytes:
    """Return 0.3 s of faint noise: cut close, three of nine digit strings lost a word without it, none with it."""
    noise = random.Random(0)  # noqa: S311 - the same every time
    return array("h", (round(noise.gauss(0, _QUIET_DEVIATION)) for _ in range(int(_QUIET_S * HEAR_RATE_HZ)))).tobytes()


class VoskDecoder:
    """Decodes one utterance at a time; words carry their times within it.

    Args:
        name: Of the engine and its model, for errors.
        recognizer: A `vosk.KaldiRecognizer` of its own, with word times switched on.
        lead: Audio to put before each utterance, of which no words come.
    """

    def __init__(self, name: str, recognizer: Any, lead: bytes = b"") -> None:  # noqa: ANN401 - vosk has no types
        self._name = name
        self._recognizer = recognizer
        self._lead = lead
        self._taken_bytes = 0
        self._begin_s = 0.0
        self._is_open = False
        self._is_fresh = False

    def restart(self) -> None:
        """Begin an utterance, of which nothing depends on those before.

        Raises:
            RecognitionError: Vosk failed, as from every other method.
        """
        if self._is_fresh:
            return
        if self._is_open:
            # Vosk's Reset leaves frames behind, which are then read as words of the next utterance; its FinalResult
            # leaves nothing, but does nothing either just after the end of a segment.
            self._accept(_NUDGE)
            self._recognizer.FinalResult()
            self._is_open = False
        if self._lead:
            self._accept(self._lead)
        self._begin_s = self._taken_bytes / _BYTES_PER_S  # Vosk goes on counting from utterance to utterance
        self._is_fresh = True

    def take(self, pcm: bytes) -> list[Word]:
        """Decode audio; return the words of the segments that Vosk ended meanwhile, at pauses of its own liking."""
        self._is_fresh = False
        return self._words(self._recognizer.Result()) if self._accept(pcm) else []

    def unfinished(self) -> list[str]:
        """Return the words since the last segment, as it looks now."""
        text: str = json.loads(self._recognizer.PartialResult()).get("partial", "")
        return text.split()

    def end(self) -> list[Word]:
        """End the utterance and return the words since the last segment; only `restart` may follow."""
        self._is_fresh = self._is_open = False
        return self._words(self._recognizer.FinalResult())

    def _accept(self, pcm: bytes) -> bool:
        self._taken_bytes += len(pcm)
        self._is_open = True
        try:
            return bool(self._recognizer.AcceptWaveform(pcm))
        except Exception as error:  # vosk raises nothing more special
            raise RecognitionError(self._name, str(error)) from error

    def _words(self, result: str) -> list[Word]:
        return [
            Word(
                entry["word"],
                max(0.0, entry["start"] - self._begin_s),
                max(0.0, entry["end"] - self._begin_s),
                entry["conf"],
            )
            for entry in json.loads(result).get("result", ())
        ]
