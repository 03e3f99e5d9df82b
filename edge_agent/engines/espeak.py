"""Speaks many languages with Debian's `espeak-ng` command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.suggest import suggest
from edge_agent.engines.stopping import Stops
from edge_agent.engines.wav_command import ChildStop, WavCommand, pieces
from edge_agent.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_agent.audio import AudioChunk
    from edge_agent.config.engines import EspeakConfig


class EspeakSynthesizer:
    """`SpeechSynthesizer` on eSpeak NG: one child process for every 300 characters or fewer."""

    def __init__(self, config: EspeakConfig, language: str) -> None:
        self._voice = config.voice or language
        self._words_per_minute = config.words_per_minute
        self._command = WavCommand("espeak-ng", "espeak-ng")
        self._stops = Stops()

    @property
    def name(self) -> str:
        """Engine and voice."""
        return f"espeak-ng {self._voice}"

    @property
    def most_threads(self) -> int | None:
        """Its process computes on one."""
        return 1

    def load(self) -> None:
        """Check that the command and the voice are there.

        Raises:
            EngineError: eSpeak NG is not installed.
            ConfigError: It has no such voice.
        """
        if self._command.query("-q", "-v", self._voice, "--stdin").returncode:
            listed = sorted(self._languages())
            message = f"eSpeak NG has no voice {self._voice!r}{suggest(self._voice, listed)}; see `espeak-ng --voices`"
            raise ConfigError([ConfigProblem("tts.espeak.voice", message, "configuration")])

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Yield chunks of about 100 ms; nothing for text without letters or digits.

        Raises:
            SynthesisError: eSpeak NG failed.
        """
        stop = ChildStop()
        return self._stops.add(self._render(sentence, stop), stop.set)

    def stop(self, job: Generator[AudioChunk, None, None] | None = None) -> None:
        """End the job's child process, and the job with it; without `job`, those of all made so far. Any thread."""
        self._stops.stop(job)

    def close(self) -> None:
        """Nothing stays open between two sentences."""

    def _render(self, sentence: str, stop: ChildStop) -> Generator[AudioChunk, None, None]:
        if not any(character.isalnum() for character in sentence):
            return
        arguments = ("-v", self._voice, "-s", str(self._words_per_minute), "-b", "1", "--stdin", "--stdout")
        # Double brackets would be taken for phoneme names.
        for piece in pieces(sentence.replace("[[", "[ [").replace("[[", "[ [")):
            yield from self._command.render(arguments, piece, piece.encode(errors="replace"), stop)

    def _languages(self) -> set[str]:
        lines = self._command.query("--voices").stdout.decode(errors="replace").splitlines()[1:]
        return {fields[1] for line in lines if len(fields := line.split()) > 1}
