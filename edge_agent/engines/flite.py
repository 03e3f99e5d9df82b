"""Speaks English with Debian's `flite` command."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from edge_agent.audio import AudioChunk
from edge_agent.config.suggest import suggest
from edge_agent.engines.stopping import Stops
from edge_agent.engines.wav_command import ChildStop, WavCommand, pieces
from edge_agent.errors import ConfigError, ConfigProblem, SynthesisError

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_agent.config.engines import FliteConfig

_GAINS = {"slt": 0.53, "kal16": 2.4}
"""Brings the voices to about -19.5 dBFS of active speech, where eSpeak NG is; measured on one sentence: slt -13.9,
rms -20.3, awb -19.7, kal -19.4, kal16 -27.2."""
_TYPOGRAPHY = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": ", ", "…": "...", "°": " degrees ", "€": " euros "}  # noqa: RUF001
)


class FliteSynthesizer:
    """`SpeechSynthesizer` on Flite: one child process for every 300 characters or fewer."""

    def __init__(self, config: FliteConfig) -> None:
        self._voice = config.voice
        self._command = WavCommand("flite", "flite")
        self._stops = Stops()

    @property
    def name(self) -> str:
        """Engine and voice."""
        return f"flite {self._voice}"

    @property
    def most_threads(self) -> int | None:
        """Its process computes on one."""
        return 1

    def load(self) -> None:
        """Check that the command and the voice are there; Flite itself would take another voice in silence.

        Raises:
            EngineError: Flite is not installed.
            ConfigError: It has no such voice.
        """
        listed = self._command.query("-lv").stdout.decode(errors="replace").partition(":")[2].split()
        if self._voice not in listed:
            known = f"there are: {', '.join(sorted(listed)) or 'none'}"
            message = f"Flite has no voice {self._voice!r}{suggest(self._voice, listed)}; {known}"
            raise ConfigError([ConfigProblem("tts.flite.voice", message, "configuration")])

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Yield chunks of about 100 ms; nothing for text without letters or digits.

        Raises:
            SynthesisError: Flite failed, or the text is in a script it can't read.
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
        text = _ascii(sentence)
        if not any(character.isalnum() for character in text):
            raise SynthesisError(self.name, sentence, "Flite reads Latin letters only")
        gain = _GAINS.get(self._voice, 1.0)
        for piece in pieces(text):
            # By -t alone does Flite 2.2 write whole samples to a pipe; the text is the option's value, whatever it is.
            arguments = ("-voice", self._voice, "-o", "/dev/stdout", "-t", piece)
            for chunk in self._command.render(arguments, piece, stop=stop):
                yield chunk if gain == 1.0 else _scaled(chunk, gain)


def _ascii(text: str) -> str:
    """Spell `text` in ASCII, all that Flite's lexicon knows: é becomes e, other scripts vanish."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHY))
    return decomposed.encode("ascii", "ignore").decode()


def _scaled(chunk: AudioChunk, gain: float) -> AudioChunk:
    import numpy as np

    samples = np.frombuffer(chunk.pcm, dtype="<i2") * gain
    return AudioChunk(np.clip(samples, -32768, 32767).astype("<i2").tobytes(), chunk.rate_hz)
