"""Recognizes speech with Vosk (Kaldi nnet3)."""

from __future__ import annotations

import difflib
import json
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_agent.audio import HEAR_RATE_HZ
from edge_agent.engines.probe import probe
from edge_agent.engines.vosk_decoder import VoskDecoder, quiet
from edge_agent.engines.vosk_second import STEP_BYTES, SecondReading
from edge_agent.engines.vosk_sentences import Sentences
from edge_agent.errors import ModelError, RecognitionError
from edge_agent.events import Transcript
from edge_agent.hear.asr import RunningCall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.audio import AudioChunk
    from edge_agent.config.engines import VoskConfig
    from edge_agent.events import Word
    from edge_agent.grammar import Grammar

_logger = logging.getLogger(__name__)

_PROBE = "edge_agent.engines.vosk_probe"
_REMEDY = "copy or download the model again, or set asr.vosk.model to another directory"
_UNKNOWN = "[unk]"
_SILENT = -3
"""Below Kaldi's level for errors, which reach us as exceptions; at -1 its warnings still go to standard error."""
_MOST_SENTENCES = 4_000
_PARTIAL_EVERY_S = 0.1
_CATCH_UP = 5
"""Times the duration of a chunk that `accept` decodes, where a preview left it behind."""
_DECODED_AGAIN_S = 6.0
"""In free dictation; a board that decodes at a third of real time is behind for two seconds then."""
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
    sentence of the grammar, said with confidence, is compared with a free decoding of the same audio, which is made
    alongside where the machine is fast enough, and else costs time in `finish`. `[unk]` in the grammar, Vosk's own
    means, is not used: with the test model it let the lattice of 3 s of other speech grow until one call took 22 s.
    """

    def __init__(self, config: VoskConfig, model: Path) -> None:
        self._min_confidence = config.min_confidence
        self._path = model
        self._model: Any = None
        self._closed: VoskDecoder | None = None
        self._free: VoskDecoder | None = None
        self._second: SecondReading | None = None
        self._sentences = Sentences()
        self._heard: list[Word] = []
        self._chunks: list[bytes] = []
        self._decoded = 0
        self._has_ended = False
        self._previewed: Transcript | None = None
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
                self._free = VoskDecoder(self.name, self._recognizer())
                self._closed = self._close_to(grammar) if grammar else None
                self._second = SecondReading(self._free)
            except RecognitionError:
                raise
            except Exception as error:  # vosk raises nothing more special
                self.close()
                raise RecognitionError(self.name, f"did not start: {error}") from error
            self.start()

    def start(self) -> None:
        """Begin an utterance.

        Raises:
            RecognitionError: Vosk failed.
        """
        self._rewind()
        self._chunks.clear()
        self._previewed = None
        self._partial = ""
        if self._second is not None:
            self._second.restart()

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Take audio; return a partial transcript where it changed, at most ten times a second.

        The first audio after a preview begins to decode the utterance anew, at most five times as much of it as is
        given, and until that has caught up there are no partials.

        Raises:
            RecognitionError: The model is not loaded, the audio is not 16 kHz, or Vosk failed.
        """
        if chunk.rate_hz != HEAR_RATE_HZ:
            raise RecognitionError(self.name, f"takes {HEAR_RATE_HZ} Hz, not {chunk.rate_hz}")
        decoder = self._listening()
        self._chunks.append(chunk.pcm)
        self._previewed = None
        reports = self._decode(decoder, _CATCH_UP * len(chunk.pcm))
        self._read_alongside(chunk.pcm)
        if not reports or self._decoded < len(self._chunks):
            return None
        text = _spoken([*(word.text for word in self._heard), *decoder.unfinished()])
        if text == self._partial:
            return None
        self._partial = text
        return Transcript(text, in_grammar=self._closed is not None, final=False)

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Closed, end the utterance for Vosk, which can't go on from there, and keep its audio in case it does.

        In free dictation, where decoding all of it again would cost more than it gains, return the words so far, which
        are not yet final; `thorough`, only where it is longer than 6 s. In one turn of six they were not the final
        ones (30 recorded questions, the small English test model).

        Raises:
            RecognitionError: The model is not loaded or Vosk failed.
        """
        decoder = self._listening()
        with self._call.running():
            if self._previewed is None:
                if self._closed is None and not (thorough and self._is_short()):
                    self._catch_up(decoder)
                    words = [*(word.text for word in self._heard), *decoder.unfinished()]
                    return Transcript(_spoken(words), final=False)
                self._previewed = self._final(decoder)
            return self._previewed

    def finish(self) -> Transcript:
        """End the utterance; where the closed reading is doubtful, decode it once more, freely.

        Raises:
            RecognitionError: The model is not loaded or Vosk failed.
        """
        decoder = self._listening()
        with self._call.running():
            try:
                return self._final(decoder) if self._previewed is None else self._previewed
            finally:
                self.start()

    def stop(self) -> None:
        """End the probe that `load` waits for, or what `preview` or `finish` decodes before its next half second.

        Any other call into Vosk runs to its end: `accept` is short, and loading the model can't be interrupted.
        """
        if self._call.stop() and self._probes:
            self._end_probe()

    def close(self) -> None:
        """Free the model."""
        self._closed = self._free = self._second = self._model = None
        self._chunks.clear()
        self._previewed = None

    def _rewind(self) -> None:
        decoder = self._closed or self._free
        if decoder is not None:
            decoder.restart()
        self._heard.clear()
        self._decoded = 0
        self._has_ended = False
        self._unreported_s = 0.0

    def _decode(self, decoder: VoskDecoder, most_bytes: int) -> bool:
        """Decode chunk by chunk, as they came: where Vosk cuts depends on it. Tell whether a partial is due."""
        if self._has_ended:
            self._rewind()
        begin, decoded_bytes, is_due = self._decoded, 0, False
        for pcm in self._chunks[begin:]:
            if decoded_bytes and decoded_bytes + len(pcm) > most_bytes:
                break
            self._heard += decoder.take(pcm)
            self._decoded += 1
            decoded_bytes += len(pcm)
            self._unreported_s += len(pcm) / (2 * HEAR_RATE_HZ)
            is_due = self._unreported_s >= _PARTIAL_EVERY_S
            if is_due:
                self._unreported_s = 0.0
        return is_due

    def _catch_up(self, decoder: VoskDecoder) -> None:
        while self._has_ended or self._decoded < len(self._chunks):
            self._heed_stop()
            self._decode(decoder, STEP_BYTES)

    def _read_alongside(self, pcm: bytes) -> None:
        if self._closed is not None and self._second is not None:
            self._second.add(pcm)
            if self._decoded == len(self._chunks):
                self._second.keep_up()

    def _final(self, decoder: VoskDecoder) -> Transcript:
        self._catch_up(decoder)
        self._has_ended = True
        words = [*self._heard, *decoder.end()]
        return self._judge(words) if self._closed is not None else self._transcript(words, in_grammar=None)

    def _is_short(self) -> bool:
        return sum(map(len, self._chunks)) <= _DECODED_AGAIN_S * 2 * HEAR_RATE_HZ

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
        exact = self._sentences.can_be_said(closed.text)
        if exact and len(words) >= _SURE_WORDS and confidence >= max(_SURE_CONFIDENCE, self._min_confidence):
            return closed
        free = self._decode_freely()
        agreement = difflib.SequenceMatcher(None, closed.text, free.text, autojunk=False).ratio() if words else 0.0
        notes = {"closed_confidence": confidence, "agreement": agreement}
        _logger.debug("closed %r (%.2f), free %r, agreement %.2f", closed.text, confidence, free.text, agreement)
        needed = _AGREEMENT_EXACT if exact else _AGREEMENT
        if confidence < self._min_confidence or agreement < needed:
            return Transcript(free.text, free.confidence, free.words, in_grammar=False, notes=notes)
        if not exact and self._sentences.can_be_said(free.text):
            return Transcript(free.text, free.confidence, free.words, True, (closed.text,), notes=notes)  # noqa: FBT003
        near = "" if exact else self._sentences.near(closed.text)
        text = near or closed.text
        others = tuple(dict.fromkeys(other for other in (closed.text, free.text) if other != text))
        return Transcript(text, confidence, closed.words, in_grammar=True, alternatives=others, notes=notes)

    def _decode_freely(self) -> Transcript:
        assert self._second is not None  # noqa: S101 - it is there as soon as the closed one is; tells mypy
        return self._transcript(self._second.end(self._heed_stop), in_grammar=False)

    def _transcript(self, words: Sequence[Word], *, in_grammar: bool | None) -> Transcript:
        """Join words; `in_grammar` None: true if they are a sentence of the grammar."""
        text = _spoken([word.text for word in words])
        confidence = sum(word.confidence for word in words) / len(words) if words else 0.0
        known = tuple(word for word in words if word.text != _UNKNOWN)
        return Transcript(
            text, confidence, known, self._sentences.can_be_said(text) if in_grammar is None else in_grammar
        )

    def _listening(self) -> VoskDecoder:
        decoder = self._closed or self._free
        if decoder is None:
            raise RecognitionError(self.name, "the model is not loaded")
        return decoder

    def _recognizer(self, *grammar: str) -> Any:  # noqa: ANN401 - vosk has no types
        import vosk

        recognizer = vosk.KaldiRecognizer(self._model, HEAR_RATE_HZ, *grammar)
        recognizer.SetWords(True)  # noqa: FBT003 - Vosk's signature
        return recognizer

    def _close_to(self, grammar: Grammar) -> VoskDecoder | None:
        """Return a recognizer for the sentences whose words the model knows, None where it can't be closed."""
        unknown = {word for word in grammar.words if self._model.vosk_model_find_word(word) < 0}
        if unknown:
            _logger.warning("%s does not know %s: sentences with them can't be heard", self.name, _listed(unknown))
        known = [text for text in (*grammar.sentences, *grammar.phrases) if text and unknown.isdisjoint(text.split())]
        self._sentences = Sentences(known)
        if not known:
            _logger.warning("%s can say none of the grammar's sentences; it listens freely", self.name)
            return None
        if not (self._path / "graph" / "Gr.fst").is_file():
            _logger.warning("%s has a fixed graph, which can't be closed to a grammar; it listens freely", self.name)
            return None
        if len(known) > _MOST_SENTENCES:
            known = random.Random(0).sample(known, _MOST_SENTENCES)  # noqa: S311 - the same ones every time
        return VoskDecoder(self.name, self._recognizer(json.dumps(known)), quiet())


def _spoken(words: Sequence[str]) -> str:
    return " ".join(word for word in words if word != _UNKNOWN)


def _listed(words: set[str]) -> str:
    shown = ", ".join(repr(word) for word in sorted(words)[:20])
    return shown if len(words) <= 20 else f"{shown} and {len(words) - 20} more"  # noqa: PLR2004 - fits a line or two
