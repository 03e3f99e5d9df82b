"""Recognizes speech with Vosk (Kaldi nnet3)."""

from __future__ import annotations

import difflib
import json
import logging
import random
from array import array
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_agent.audio import HEAR_RATE_HZ
from edge_agent.engines.probe import probe
from edge_agent.errors import ModelError, RecognitionError
from edge_agent.events import Transcript, Word
from edge_agent.hear.asr import RunningCall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.audio import AudioChunk
    from edge_agent.config.engines import VoskConfig
    from edge_agent.grammar import Grammar

_logger = logging.getLogger(__name__)

_PROBE = "edge_agent.engines.vosk_probe"
_REMEDY = "copy or download the model again, or set asr.vosk.model to another directory"
_UNKNOWN = "[unk]"
_SILENT = -3
"""Below Kaldi's level for errors, which reach us as exceptions; at -1 its warnings still go to standard error."""
_MOST_SENTENCES = 4_000
_PARTIAL_EVERY_S = 0.1
_QUIET_S = 0.3
_QUIET_DEVIATION = 2.0
"""Quiet before an utterance that is read with a grammar: cut close, three of nine digit strings lost a word without
it, none with it. Faint noise (standard deviation in 16-bit steps), since digital silence is read
as a word of its own."""

_SURE_CONFIDENCE = 0.85
_SURE_WORDS = 3
_AGREEMENT = 0.75
_AGREEMENT_EXACT = 0.6
"""Thresholds between what was measured with the small English test model and a grammar of about 80 home commands. Of
21 clips that held a command, 19 were read as a sentence of the grammar word for word, all with a confidence of 0.9 or
more, and all agreed 0.86 or better with their free decoding. Of 36 clips of other speech, noise and silence none was
read as a sentence, and all agreed 0.71 at most but for two that both decodings read alike ("five five", and noise as
"off")."""


class VoskRecognizer:
    """`SpeechRecognizer` on Vosk, in process; Kaldi releases the GIL while it decodes.

    Closed to a grammar, Vosk reads any speech as words of it, with high confidence. So a reading that is not a whole
    sentence of the grammar, said with confidence, is compared with a free decoding of the same audio, which costs time
    in `finish` only then. `[unk]` in the grammar, Vosk's own means, is not used: with the test model it let the lattice
    of 3 s of other speech grow until one call took 22 s.
    """

    def __init__(self, config: VoskConfig, model: Path) -> None:
        self._min_confidence = config.min_confidence
        self._path = model
        self._model: Any = None
        self._closed: Any = None
        self._free: Any = None
        self._sentences: frozenset[str] = frozenset()
        self._pairs: frozenset[tuple[str, str]] = frozenset()
        self._longest = 0
        self._quiet = b""
        self._heard: list[Word] = []
        self._audio = bytearray()
        self._partial = ""
        self._unreported_s = 0.0
        self._call = RunningCall()
        self._probes = False

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"vosk {self._path.name}"

    def load(self, grammar: Grammar | None) -> None:
        """Let a child process try the model, load it, and listen for `grammar`, or freely where it is None.

        Only the grammar is renewed where the model is loaded already and unchanged.

        Raises:
            ModelError: The model is absent, incomplete or corrupt.
            RecognitionError: Vosk is not installed or did not start.
        """
        try:
            import vosk
        except (ImportError, OSError) as error:
            raise RecognitionError("vosk", f"is not installed ({error}); `pip install edge-agent[vosk]`") from error
        if not self._path.is_dir():
            absent = "is not a directory" if self._path.exists() else "no such directory"
            raise ModelError("Vosk model", self._path, absent, _REMEDY)
        with self._call.running():
            damage = self._probed()
            self._heed_stop()
            if damage:
                self.close()
                raise ModelError("Vosk model", self._path, damage, _REMEDY)
            vosk.SetLogLevel(_SILENT)
            try:
                self._model = self._model or vosk.Model(str(self._path))
                self._heed_stop()
                self._free = self._recognizer()
                self._closed = self._close_to(grammar) if grammar else None
            except RecognitionError:
                raise
            except Exception as error:  # vosk raises nothing more special
                self.close()
                raise RecognitionError(self.name, f"did not start: {error}") from error
            self.start()

    def start(self) -> None:
        """Begin an utterance."""
        for recognizer in (self._closed, self._free):
            if recognizer is not None:
                recognizer.Reset()
        if self._closed is not None:
            self._quiet = self._quiet or _quiet()
            self._take(self._closed, self._quiet)
        self._heard.clear()
        self._audio.clear()
        self._partial = ""
        self._unreported_s = 0.0

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Take audio; return a partial transcript where it changed, at most ten times a second.

        Raises:
            RecognitionError: The model is not loaded, the audio is not 16 kHz, or Vosk failed.
        """
        if chunk.rate_hz != HEAR_RATE_HZ:
            raise RecognitionError(self.name, f"takes {HEAR_RATE_HZ} Hz, not {chunk.rate_hz}")
        recognizer = self._listening()
        if self._closed is not None:
            self._audio += chunk.pcm
        # Vosk ends a segment at a pause of its own liking; where the utterance ends is not for it to say.
        if self._take(recognizer, chunk.pcm):
            self._heard += _words(recognizer.Result(), self._lead_s)
        self._unreported_s += chunk.duration_s
        if self._unreported_s < _PARTIAL_EVERY_S:
            return None
        self._unreported_s = 0.0
        unfinished = json.loads(recognizer.PartialResult()).get("partial", "")
        text = _spoken([*(word.text for word in self._heard), *unfinished.split()])
        if text == self._partial:
            return None
        self._partial = text
        return Transcript(text, final=False)

    def finish(self) -> Transcript:
        """End the utterance; where the closed reading is doubtful, decode it once more, freely.

        Raises:
            RecognitionError: The model is not loaded or Vosk failed.
        """
        recognizer = self._listening()
        with self._call.running():
            words = [*self._heard, *_words(recognizer.FinalResult(), self._lead_s)]
            try:
                return self._judge(words) if self._closed is not None else self._transcript(words, in_grammar=None)
            finally:
                self.start()

    def stop(self) -> None:
        """End the probe that `load` waits for, or the free decoding in `finish` before its next half second.

        Any other call into Vosk runs to its end: `accept` is short, and loading the model can't be interrupted.
        """
        if self._call.stop() and self._probes:
            self._end_probe()

    def close(self) -> None:
        """Free the model."""
        self._closed = self._free = self._model = None
        self._audio.clear()

    def _probed(self) -> str | None:
        self._probes = True
        try:
            self._heed_stop()
            return probe(_PROBE, self._path)
        finally:
            self._probes = False

    def _end_probe(self) -> None:
        import psutil

        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # it may end meanwhile
                if child.cmdline()[-2:] == [_PROBE, str(self._path)]:
                    child.kill()

    def _heed_stop(self) -> None:
        if self._call.is_stopped():
            raise RecognitionError(self.name, "was stopped")

    def _judge(self, words: list[Word]) -> Transcript:
        closed = self._transcript(words, in_grammar=True)
        confidence = closed.confidence or 0.0
        exact = self._can_be_said(closed.text)
        if exact and len(words) >= _SURE_WORDS and confidence >= max(_SURE_CONFIDENCE, self._min_confidence):
            return closed
        free = self._decode_freely()
        agreement = difflib.SequenceMatcher(None, closed.text, free.text, autojunk=False).ratio() if words else 0.0
        notes = {"closed_confidence": confidence, "agreement": agreement}
        _logger.debug("closed %r (%.2f), free %r, agreement %.2f", closed.text, confidence, free.text, agreement)
        needed = _AGREEMENT_EXACT if exact else _AGREEMENT
        if confidence < self._min_confidence or agreement < needed:
            return Transcript(free.text, free.confidence, free.words, in_grammar=False, notes=notes)
        if not exact and self._can_be_said(free.text):
            return Transcript(free.text, free.confidence, free.words, True, (closed.text,), notes=notes)  # noqa: FBT003
        near = "" if exact else self._near(closed.text)
        text = near or closed.text
        others = tuple(dict.fromkeys(other for other in (closed.text, free.text) if other != text))
        return Transcript(text, confidence, closed.words, in_grammar=True, alternatives=others, notes=notes)

    def _can_be_said(self, text: str) -> bool:
        """Tell whether each word may follow the one before it, in a sentence no longer than the grammar's.

        Sentences with slots are too many to list.
        """
        pairs = _pairs(text)
        return 1 < len(pairs) <= self._longest + 1 and self._pairs.issuperset(pairs)

    @property
    def _lead_s(self) -> float:
        return _QUIET_S if self._closed is not None else 0.0

    def _near(self, text: str) -> str:
        """Return the one sentence that is a word away from `text`; none where several are: that would be a guess."""
        words = text.split()
        if len(words) < _SURE_WORDS:
            return ""
        near = [sentence for sentence in self._sentences if _is_one_word_away(words, sentence.split())]
        return near[0] if len(near) == 1 else ""

    def _decode_freely(self) -> Transcript:
        recognizer = self._free
        words: list[Word] = []
        for at in range(0, len(self._audio), HEAR_RATE_HZ):  # half a second each
            self._heed_stop()
            if self._take(recognizer, bytes(self._audio[at : at + HEAR_RATE_HZ])):
                words += _words(recognizer.Result(), 0.0)
        return self._transcript([*words, *_words(recognizer.FinalResult(), 0.0)], in_grammar=False)

    def _transcript(self, words: Sequence[Word], *, in_grammar: bool | None) -> Transcript:
        """Join words; `in_grammar` None: true if they are a sentence of the grammar."""
        text = _spoken([word.text for word in words])
        confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
        known = tuple(word for word in words if word.text != _UNKNOWN)
        return Transcript(text, confidence, known, self._can_be_said(text) if in_grammar is None else in_grammar)

    def _take(self, recognizer: Any, pcm: bytes) -> bool:  # noqa: ANN401 - vosk has no types
        try:
            return bool(recognizer.AcceptWaveform(pcm))
        except Exception as error:  # vosk raises nothing more special
            raise RecognitionError(self.name, str(error)) from error

    def _listening(self) -> Any:  # noqa: ANN401 - vosk has no types
        recognizer = self._closed or self._free
        if recognizer is None:
            raise RecognitionError(self.name, "the model is not loaded")
        return recognizer

    def _recognizer(self, *grammar: str) -> Any:  # noqa: ANN401 - vosk has no types
        import vosk

        recognizer = vosk.KaldiRecognizer(self._model, HEAR_RATE_HZ, *grammar)
        recognizer.SetWords(True)  # noqa: FBT003 - Vosk's signature
        return recognizer

    def _close_to(self, grammar: Grammar) -> Any:  # noqa: ANN401 - vosk has no types
        """Return a recognizer for the sentences whose words the model knows, None where it can't be closed."""
        unknown = {word for word in grammar.words if self._model.vosk_model_find_word(word) < 0}
        if unknown:
            _logger.warning("%s does not know %s: sentences with them can't be heard", self.name, _listed(unknown))
        known = [text for text in (*grammar.sentences, *grammar.phrases) if text and unknown.isdisjoint(text.split())]
        self._sentences = frozenset(known)
        self._longest = max((len(sentence.split()) for sentence in self._sentences), default=0)
        self._pairs = frozenset(pair for sentence in self._sentences for pair in _pairs(sentence))
        if not known:
            _logger.warning("%s can say none of the grammar's sentences; it listens freely", self.name)
            return None
        if not (self._path / "graph" / "Gr.fst").is_file():
            _logger.warning("%s has a fixed graph, which can't be closed to a grammar; it listens freely", self.name)
            return None
        if len(known) > _MOST_SENTENCES:
            known = random.Random(0).sample(known, _MOST_SENTENCES)  # noqa: S311 - the same ones every time
        return self._recognizer(json.dumps(known))


def _quiet() -> bytes:
    noise = random.Random(0)  # noqa: S311 - the same every time
    return array("h", (round(noise.gauss(0, _QUIET_DEVIATION)) for _ in range(int(_QUIET_S * HEAR_RATE_HZ)))).tobytes()


def _pairs(text: str) -> list[tuple[str, str]]:
    """Pairs of neighbours, the sentence's edges among them."""
    return list(pairwise(["", *text.split(), ""]))


def _is_one_word_away(words: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether one word was exchanged, left out or put in."""
    if abs(len(words) - len(others)) > 1 or words == others:
        return False
    same = 0
    while same < min(len(words), len(others)) and words[same] == others[same]:
        same += 1
    rest, other_rest = words[same:], others[same:]
    shorter = min(len(rest), len(other_rest))
    tail = shorter if len(rest) != len(other_rest) else shorter - 1
    return tail <= 0 or rest[-tail:] == other_rest[-tail:]


def _words(result: str, offset_s: float) -> list[Word]:
    return [
        Word(entry["word"], max(0.0, entry["start"] - offset_s), max(0.0, entry["end"] - offset_s), entry["conf"])
        for entry in json.loads(result).get("result", ())
    ]


def _spoken(words: Sequence[str]) -> str:
    return " ".join(word for word in words if word != _UNKNOWN)


def _listed(words: set[str]) -> str:
    shown = ", ".join(repr(word) for word in sorted(words)[:20])
    return shown if len(words) <= 20 else f"{shown} and {len(words) - 20} more"  # noqa: PLR2004 - fits a line or two
