"""PocketSphinx as a `SpeechRecognizer`, in a process of its own."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.engines.sphinx_process import ENGINE, SphinxProcess
from edge_agent.engines.sphinx_wire import Kind
from edge_agent.errors import ModelError, RecognitionError
from edge_agent.events import Transcript, Word
from edge_agent.hear.asr import RunningCall

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.config.engines import PocketSphinxConfig
    from edge_agent.grammar import Grammar

_log = logging.getLogger(__name__)

LANGUAGE = "en"
"""The language of the model in PocketSphinx's wheel."""
_LOAD_TIMEOUT_S = 90.0
_SEND_TIMEOUT_S = 5.0
_ACCEPT_TIMEOUT_S = 10.0
_SLOWEST_FACTOR = 5.0
"""A chunk gets so many times its duration on top."""
_FINISH_TIMEOUT_S = 20.0
_LONGEST_WORD_S = 1.2
"""Steady noise becomes a word or two that last for seconds; nobody's words take 1.2 s on average."""
_LANGUAGE_CEILING = -1.3
_WORDS_CEILING = 10


def confidence_of(acoustic: float, language: float, words: int) -> float:
    """Return 0 to 1: how likely it is that a closed reading is what was said.

    A logistic regression over three features, none of which suffices alone: noisy speech fits the models badly though
    understood; words forced on other speech fit, but follow each other as no template has it; and a few words are
    found by chance sooner than many. Fitted on 214 recorded and synthesized utterances, of which 72 were in the
    grammar; on as many others, at 0.4: 1 of 142 wrongly accepted, 4 of 72 wrongly rejected.

    Args:
        acoustic: Mean log-likelihood of a frame within words, relative to the best state of each frame.
        language: Mean log-probability of a word in the language model; above -1.3 it says no more.
        words: How many words there are; above 10 it says no more.
    """
    evidence = 3.5 * acoustic + 3.9 * min(language, _LANGUAGE_CEILING) + 0.38 * min(words, _WORDS_CEILING) + 15.2
    return 1 / (1 + math.exp(-evidence))


def _word(heard: dict[str, Any], confidence: float) -> Word:
    return Word(
        text=heard["text"],
        start_s=max(0.0, heard["start_s"]),
        end_s=max(0.0, heard["end_s"]),
        confidence=confidence,
    )


class PocketSphinxRecognizer:
    """Recognizes closed grammars, and English dictation poorly, with the model in PocketSphinx's wheel.

    The engine holds the GIL while it decodes, so it runs in a child process. A child that died or hangs is reported
    by the call that noticed and replaced by the next `start`.

    Attributes:
        cache_dir: Where compiled grammars are kept between runs; None: nowhere.
    """

    def __init__(self, config: PocketSphinxConfig, language: str, cache_dir: Path | None = None) -> None:
        self._config = config
        self._language = language
        self.cache_dir = cache_dir
        self._grammar: Grammar | None = None
        self._loaded = False
        self._process: SphinxProcess | None = None
        self._call = RunningCall()

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"{ENGINE} en-us"

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None where there is none."""
        return self._process.pid if self._process else None

    def load(self, grammar: Grammar | None) -> None:
        """Start the child, unless it runs, and have it compile `grammar`.

        Raises:
            ModelError: PocketSphinx has no model for the language.
            RecognitionError: PocketSphinx is not installed, or the child did not start.
        """
        if self._language != LANGUAGE:
            raise ModelError(
                "PocketSphinx model",
                Path("pocketsphinx", "model"),
                f"there is none for language {self._language!r}, only for {LANGUAGE!r}",
                "install a Vosk model for the language, or use `edge-agent ask`",
            )
        self._grammar, self._loaded = grammar, True
        with self._call.running():
            self._ask_to_load()

    def start(self) -> None:
        """Begin an utterance, in a new child if the last one died."""
        if not self._loaded:
            raise RecognitionError(ENGINE, "no grammar was loaded")
        with self._call.running():
            if self._process is None or not self._process.alive:
                self._ask_to_load()
            self._send(Kind.START)

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Have the child decode audio and wait until it has; return a partial transcript where it changed."""
        with self._call.running():
            self._send(Kind.AUDIO, chunk.pcm)
            text = self._answer(Kind.PARTIAL, _ACCEPT_TIMEOUT_S + _SLOWEST_FACTOR * chunk.duration_s)["text"]
        return None if text is None else Transcript(text=text, in_grammar=self._grammar is not None, final=False)

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Wait for the child's readings of the audio so far and weigh them.

        It takes as long as `finish`, which answers at once if it comes next.
        """
        return self._read(Kind.PREVIEW)

    def finish(self) -> Transcript:
        """End the utterance; wait for the child's readings and weigh them."""
        return self._read(Kind.FINISH)

    def stop(self) -> None:
        """Let the call that runs end within a second, and its child too unless that answers at once."""
        self._call.stop()

    def close(self) -> None:
        """End the child within two seconds."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _read(self, kind: Kind) -> Transcript:
        with self._call.running():
            self._send(kind)
            readings = self._answer(Kind.FINAL, _FINISH_TIMEOUT_S)
        return self._judged(readings)

    def _judged(self, readings: dict[str, Any]) -> Transcript:
        heard = readings["words"]
        text = " ".join(word["text"] for word in heard)
        if not text:
            return Transcript(text="", confidence=0.0)
        spoken_s = sum(word["end_s"] - word["start_s"] for word in heard)
        acoustic = sum(word["acoustic"] * (word["end_s"] - word["start_s"]) for word in heard) / spoken_s
        language = readings["language"]
        confidence = 0.0 if spoken_s > _LONGEST_WORD_S * len(heard) else confidence_of(acoustic, language, len(heard))
        notes = {"acoustic": acoustic, "language": language}
        if self._grammar is not None and confidence < self._config.min_confidence:
            _log.debug("rejected %r: confidence %.2f", text, confidence)
            return Transcript(text="", confidence=confidence, notes=notes, doubtful=text)
        return Transcript(
            text=text,
            confidence=confidence,
            words=tuple(_word(word, confidence_of(word["acoustic"], language, len(heard))) for word in heard),
            in_grammar=self._grammar is not None,
            alternatives=tuple(readings["others"]),
            notes=notes,
        )

    def _ask_to_load(self) -> None:
        if self._process is None or not self._process.alive:
            self.close()
            self._process = SphinxProcess(self._call.is_stopped)
        grammar = self._grammar
        texts = None if grammar is None else {"sentences": grammar.sentences, "phrases": grammar.phrases}
        wanted = {"grammar": texts, "cache_dir": str(self.cache_dir) if self.cache_dir else None}
        self._send(Kind.LOAD, json.dumps(wanted).encode(), _LOAD_TIMEOUT_S)
        if hopeless := self._answer(Kind.LOADED, _LOAD_TIMEOUT_S)["unpronounceable"]:
            _log.warning(
                "%s can't recognise %s: no pronunciation is known; sentences with it are not listened for, say it "
                "in other words (installing flite teaches most words)",
                self.name,
                ", ".join(repr(word) for word in hopeless),
            )

    def _send(self, kind: Kind, payload: bytes = b"", timeout_s: float = _SEND_TIMEOUT_S) -> None:
        process = self._running()
        try:
            process.send(kind, payload, timeout_s)
        except RecognitionError:
            self._process = None
            raise

    def _answer(self, wanted: Kind, timeout_s: float) -> dict[str, Any]:
        """Wait for the child's one answer to what was sent."""
        process = self._running()
        try:
            kind, payload = process.receive(timeout_s)
        except RecognitionError:
            self._process = None
            raise
        content: dict[str, Any] = json.loads(payload)
        if kind is not wanted:
            self.close()
            raise RecognitionError(ENGINE, content.get("reason", f"its process answered {kind.name}"))
        return content

    def _running(self) -> SphinxProcess:
        if self._process is None:
            raise RecognitionError(ENGINE, "its process has ended")
        return self._process
