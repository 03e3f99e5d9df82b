"""PocketSphinx itself: a streaming pass for partials, then passes over the whole utterance. Child process only.

PocketSphinx's default beams prune right answers; the wide ones here cost a tenth more time. The final passes see the
whole utterance, so that its cepstral mean is the utterance's own and not a guess from the ones before.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
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
_BEAMS = {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}
_FILLERS = frozenset({"<s>", "</s>", "<sil>", "[NOISE]", "[SPEECH]", "(NULL)"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One decoding of an utterance.

    Attributes:
        words: (word, first frame, last frame), without silences.
        score: Acoustic log-likelihood a frame over the words, relative to each frame's best state.
    """

    words: tuple[tuple[str, int, int], ...]
    score: float

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word for word, _, _ in self.words)


class UtteranceDecoder:
    """Decodes one utterance at a time with one grammar."""

    def __init__(self, model_dir: Path, grammar: CompiledGrammar | None) -> None:
        from pocketsphinx import Decoder

        common: dict[str, Any] = {"hmm": str(model_dir / "en-us"), "loglevel": "FATAL"}
        if grammar is None:
            files = {"lm": str(model_dir / "en-us.lm.bin"), "dict": str(model_dir / "cmudict-en-us.dict")}
        else:
            files = {"lm": str(grammar.language_model), "dict": str(grammar.dictionary)}
        self._streaming = Decoder(**common, **files, fwdflat=False, bestpath=False)
        self._final = Decoder(**common, **files, **(_BEAMS if grammar else {}))
        self._sentences = self._final.current_search()
        self._has_phrases = grammar is not None and grammar.jsgf is not None
        if grammar is not None and grammar.jsgf is not None:
            self._final.add_jsgf_file("phrases", str(grammar.jsgf))
        self._final.add_allphone_file("phones", str(model_dir / "en-us-phone.lm.bin"))
        self._pcm = bytearray()
        self._started = False

    def start(self) -> None:
        """Begin an utterance, dropping an unfinished one."""
        if self._started:
            self._streaming.end_utt()
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

    def finish(self) -> dict[str, Reading]:
        """End the utterance and return its readings by the name of the pass: `sentences`, `phrases`, `phones`."""
        if self._started:
            self._streaming.end_utt()
            self._started = False
        pcm = prepared(bytes(self._pcm))
        readings = {"sentences": self._read(pcm, self._sentences)}
        if self._has_phrases:
            readings["phrases"] = self._read(pcm, "phrases")
        readings["phones"] = self._read(pcm, "phones")
        return readings

    def _read(self, pcm: bytes, search: str) -> Reading:
        decoder = self._final
        decoder.activate_search(search)
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        words = []
        score = 0.0
        frames = 0
        for segment in decoder.seg() or ():
            name = segment.word.split("(")[0]
            if segment.word in _FILLERS or name in {"SIL", "+NSN+", "+SPN+"}:
                continue
            words.append((name, segment.start_frame, segment.end_frame))
            score += math.log(max(segment.ascore, 1e-300))
            frames += segment.end_frame - segment.start_frame + 1
        return Reading(tuple(words), score / max(frames, 1))


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
