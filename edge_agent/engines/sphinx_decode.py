"""PocketSphinx itself: a streaming pass for partials, then one over the whole utterance. Child process only.

The default beams prune right answers; the wide ones here cost a tenth more time. The last pass sees the whole
utterance, so that its cepstral mean is the utterance's own and not a guess from the ones before.

The free reading beside the closed one is the best state of each frame, which every acoustic score is relative to, and
the noise and speech fillers of the model. A phone loop (allphone) as a third pass was tried on 182 held-out utterances:
it lifted the share of rightly ordered pairs of a command and anything else from 0.992 to 0.994, for as much compute as
the closed pass.
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
_VOICE_LEVEL = 0.3
"""Where between the floor and the loud parts, on the logarithmic scale, a voice begins."""
_LEVEL_S = 0.02
_LEVEL_SAMPLES = int(RATE_HZ * _LEVEL_S)
_SCORE_SHIFT = 1024
_LANGUAGE_WEIGHT = 9.5
"""PocketSphinx gives language scores divided by the one and multiplied by the other (`bestpathlw`)."""
_CLOSED = {
    "beam": 1e-80,
    "wbeam": 1e-60,
    "pbeam": 1e-80,
    "pl_window": 0,
    "silprob": 0.0005,
    "topn": 8,
    "lw": 5.0,
    "fwdflatlw": 7.0,
    "bestpathlw": _LANGUAGE_WEIGHT,
}
"""Wide beams and no phone look-ahead (it prunes too), silence made dearer so that soft words are not taken for it,
twice the Gaussians, and less weight for a language model that is sure of itself. Tuned on the coffee development
clips."""
_STREAMING = {"fwdflat": False, "bestpath": False, "ds": 2, "topn": 2}
"""Half the compute of the defaults: partials are only looked at."""
_FILLERS = frozenset({"<s>", "</s>", "<sil>", "[NOISE]", "[SPEECH]", "(NULL)", "SIL", "+NSN+", "+SPN+"})
_NBEST_TRIED = 40
_NBEST_KEPT = 8


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word of a reading.

    Attributes:
        start_s: Where it starts in the utterance.
        end_s: Where it ends.
        acoustic: Mean log-likelihood of its frames, each relative to the state that fits that frame best: a decoder
            free of any grammar could at most have made 0 of it.
    """

    text: str
    start_s: float
    end_s: float
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
        self._streaming = Decoder(**common, **files, **_STREAMING)
        self._final = Decoder(**common, **files, **(_CLOSED if grammar else {}))
        self._pcm = bytearray()
        self._started = False
        self._read: tuple[Prepared, Readings] | None = None
        self._read_bytes = -1

    def start(self) -> None:
        """Begin an utterance, dropping an unfinished one."""
        self._end()
        self._streaming.start_utt()
        self._started = True
        self._pcm.clear()
        self._read = None

    def accept(self, pcm: bytes) -> None:
        """Take the next samples."""
        self._pcm += pcm
        self._streaming.process_raw(pcm)

    def partial(self) -> str:
        """Return the words heard so far."""
        hypothesis = self._streaming.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def preview(self) -> Readings:
        """Return what `finish` would if the utterance ended here; the streaming pass stays open."""
        if self._read is not None and len(self._pcm) == self._read_bytes:
            return self._read[1]
        utterance = prepared(bytes(self._pcm))
        if self._read is None or self._read[0] != utterance:
            self._read = utterance, self._readings(utterance)
        self._read_bytes = len(self._pcm)
        return self._read[1]

    def finish(self) -> Readings:
        """End the utterance and return its readings; those of the last preview where its voice was cut out alike."""
        self._end()
        return self.preview()

    def _readings(self, utterance: Prepared) -> Readings:
        decoder = self._final
        decoder.reinit_feat()  # without it, scores depend on what was decoded before
        decoder.start_utt()
        decoder.process_raw(utterance.pcm, full_utt=True)
        decoder.end_utt()
        segments = list(decoder.seg() or ())
        words = tuple(
            HeardWord(
                _plain(segment.word),
                utterance.begins_s + segment.start_frame * FRAME_S,
                utterance.begins_s + (segment.end_frame + 1) * FRAME_S,
                _log(segment.ascore) / (segment.end_frame - segment.start_frame + 1),
            )
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """An utterance as it is decoded.

    Attributes:
        begins_s: Where that begins in the utterance as it came; negative before its start.
    """

    pcm: bytes
    begins_s: float


def prepared(pcm: bytes) -> Prepared:
    """Cut an utterance down to its voice, normalise its gain and put quiet on both sides.

    The cepstral mean is taken over what is left: over seconds of silence it would not be the speaker's and the room's.
    On the coffee development clips (7 s, half of it silence) cutting gave 46 orders for 43, at half the compute.
    """
    samples = array("h", pcm)
    levels = _levels(samples)
    first, last = _voice(levels)
    samples = samples[first * _LEVEL_SAMPLES : (last + 1) * _LEVEL_SAMPLES]
    peaks = sorted(max(abs(max(part)), abs(min(part))) for part in _parts(samples))
    reference = peaks[int(len(peaks) * 0.98)] if peaks else 0
    gain = min(MAX_GAIN, PEAK / reference, 32_767 / (peaks[-1] + 1)) if reference else 1.0
    if gain > 1:
        samples = array("h", [int(sample * gain) for sample in samples])
    quiet = _hiss(round(PADDING_S * RATE_HZ))
    return Prepared((quiet + samples + quiet).tobytes(), first * _LEVEL_S - PADDING_S)


def _levels(samples: array[int]) -> list[float]:
    """Return the loudness of every 20 ms in nepers, each the mean of itself and its neighbours."""
    raw = [math.log(sum(map(abs, part)) / len(part) + 1) for part in _parts(samples)]
    return [sum(raw[max(0, n - 1) : n + 2]) / len(raw[max(0, n - 1) : n + 2]) for n in range(len(raw))]


def _voice(levels: list[float]) -> tuple[int, int]:
    """Return the first and the last part that belong to the voice, with some quiet around it."""
    if not levels:
        return 0, -1
    ranked = sorted(levels)
    floor, loud = ranked[len(ranked) // 10], ranked[int(len(ranked) * 0.97)]
    threshold = floor + _VOICE_LEVEL * (loud - floor)
    voiced = [n for n, level in enumerate(levels) if level >= threshold]
    margin = round(PADDING_S / _LEVEL_S)
    return max(0, voiced[0] - margin), min(len(levels) - 1, voiced[-1] + margin)


def _parts(samples: array[int]) -> list[array[int]]:
    return [samples[start : start + _LEVEL_SAMPLES] for start in range(0, len(samples), _LEVEL_SAMPLES)]


def _hiss(samples: int) -> array[int]:
    """Return a faint noise; digital zeros are unlike anything the models were trained on."""
    state, out = 1, array("h")
    for _ in range(samples):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        out.append((state >> 16) % 33 - 16)
    return out
