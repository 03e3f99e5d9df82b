"""PocketSphinx itself: a streaming pass for partials, then one over the whole utterance. Child process only.

The default beams prune right answers; the wide ones here cost a tenth more time. The last pass sees the whole
utterance, so that its cepstral mean is the utterance's own and not a guess from the ones before.

There is no phone loop as a free reading beside the closed one. It was tried (allphone, 94 commands and 120 recordings
of anything else): ranking by the closed score alone, which is relative to the best state of each frame, an accepted
command stands above a rejected one in 98.1 % of pairs; with the phone loop's score or its phones as a second feature
in 98.1 % too, at twice the compute.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.engines.sphinx_model import CompiledGrammar

RATE_HZ = 16_000
FRAME_S = 0.01
PADDING_S = 0.3
"""Quiet before and after: the models expect an utterance to begin and end in silence."""
PEAK = 16_000
"""Gain brings the utterance's loud parts here."""
MAX_GAIN = 30.0
_SCORE_SHIFT = 1024
_LANGUAGE_WEIGHT = 9.5
"""PocketSphinx gives language scores divided by the one and multiplied by the other (`bestpathlw`)."""
_CLOSED = {
    "beam": 1e-80,
    "wbeam": 1e-60,
    "pbeam": 1e-80,
    "pl_window": 0,
    "silprob": 0.0005,
    "bestpathlw": _LANGUAGE_WEIGHT,
}
"""Wide beams, no phone look-ahead (it prunes too) and silence made dearer, so that soft words are not taken for it."""
_FILLERS = frozenset({"<s>", "</s>", "<sil>", "[NOISE]", "[SPEECH]", "(NULL)", "SIL", "+NSN+", "+SPN+"})
_NBEST_TRIED = 40
_NBEST_KEPT = 8


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word of a reading.

    Attributes:
        first: First frame (of 10 ms), counted in the padded utterance.
        last: Last frame.
        acoustic: Log-likelihood over its frames, each relative to the state that fits that frame best. What a decoder
            free of any grammar could at most have made of the frame is 0.
    """

    text: str
    first: int
    last: int
    acoustic: float


@dataclass(frozen=True, slots=True)
class Readings:
    """What the passes made of an utterance.

    Attributes:
        words: The best reading, without silences.
        language: Mean log-probability that the language model gives a word, the end of the sentence being one too.
        others: Other readings, best first.
    """

    words: tuple[HeardWord, ...]
    language: float
    others: tuple[str, ...]


class UtteranceDecoder:
    """Decodes one utterance at a time with one grammar, or freely."""

    def __init__(self, model_dir: Path, grammar: CompiledGrammar | None) -> None:
        from pocketsphinx import Decoder

        common: dict[str, Any] = {"hmm": str(model_dir / "en-us"), "loglevel": "FATAL"}
        if grammar is None:
            files = {"lm": str(model_dir / "en-us.lm.bin"), "dict": str(model_dir / "cmudict-en-us.dict")}
        else:
            files = {"lm": str(grammar.language_model), "dict": str(grammar.dictionary)}
        self._streaming = Decoder(**common, **files, fwdflat=False, bestpath=False)
        self._final = Decoder(**common, **files, **(_CLOSED if grammar else {}))
        self._pcm = bytearray()
        self._started = False

    def start(self) -> None:
        """Begin an utterance, dropping an unfinished one."""
        self._end()
        self._streaming.start_utt()
        self._started = True
        self._pcm.clear()

    def accept(self, pcm: bytes) -> None:
        """Take the next samples."""
        self._pcm += pcm
        self._streaming.process_raw(pcm)

    def partial(self) -> str:
        """Return the words heard so far."""
        hypothesis = self._streaming.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def finish(self) -> Readings:
        """End the utterance and return its readings."""
        self._end()
        pcm = prepared(bytes(self._pcm))
        decoder = self._final
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        segments = list(decoder.seg() or ())
        words = tuple(
            HeardWord(_plain(segment.word), segment.start_frame, segment.end_frame, _log(segment.ascore))
            for segment in segments
            if segment.word not in _FILLERS
        )
        language = [_log(segment.lscore) for segment in segments if segment.word not in _FILLERS - {"</s>"}]
        mean = sum(language) / max(len(language), 1) * _SCORE_SHIFT / _LANGUAGE_WEIGHT
        return Readings(words, mean, self._others(" ".join(word.text for word in words)))

    def _end(self) -> None:
        if self._started:
            self._streaming.end_utt()
            self._started = False

    def _others(self, best: str) -> tuple[str, ...]:
        """Return the next best readings in the lattice of the final pass."""
        found: dict[str, None] = {}
        for hypothesis in islice(self._final.nbest() or (), _NBEST_TRIED):
            if hypothesis is None:  # a lattice without a way through
                break
            text = " ".join(_plain(word) for word in hypothesis.hypstr.split() if word not in _FILLERS)
            if text and text != best:
                found[text] = None
            if len(found) == _NBEST_KEPT:
                break
        return tuple(found)


def _plain(word: str) -> str:
    """Cut off the number that a second pronunciation has."""
    return word.partition("(")[0]


def _log(likelihood: float) -> float:
    return math.log(max(likelihood, 1e-300))


def prepared(pcm: bytes) -> bytes:
    """Return the utterance with its gain normalised and quiet on both sides."""
    samples = array("h", pcm)
    loudest = sorted(map(_peak, _parts(samples, RATE_HZ // 50)))
    reference = loudest[int(len(loudest) * 0.98)] if loudest else 0
    gain = min(MAX_GAIN, PEAK / reference, 32_767 / (loudest[-1] + 1)) if reference else 1.0
    if gain > 1:
        samples = array("h", [int(sample * gain) for sample in samples])
    quiet = _hiss(round(PADDING_S * RATE_HZ))
    return (quiet + samples + quiet).tobytes()


def _peak(samples: array[int]) -> int:
    return max(abs(max(samples)), abs(min(samples)))


def _parts(samples: array[int], size: int) -> list[array[int]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _hiss(samples: int) -> array[int]:
    """Return a faint noise; digital zeros are unlike anything the models were trained on."""
    state, out = 1, array("h")
    for _ in range(samples):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        out.append((state >> 16) % 33 - 16)
    return out
