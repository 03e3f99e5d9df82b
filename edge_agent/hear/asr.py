"""What the pipeline asks of a speech recognizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.events import Transcript
    from edge_agent.grammar import Grammar


class SpeechRecognizer(Protocol):
    """Turns utterances into text, one at a time.

    Every method blocks and is called on pool `asr`'s one thread, never from the loop. `accept` returns within
    about one chunk's duration, so that cancelling between two calls is prompt.
    """

    @property
    def name(self) -> str:
        """Engine and model, for people and logs."""
        ...

    def load(self, grammar: Grammar | None) -> None:
        """Load the model; listen for `grammar` from now on, or freely where it is None. May be called again.

        Raises:
            ModelError: The model is absent, incomplete or corrupt.
            RecognitionError: The engine did not start.
        """
        ...

    def start(self) -> None:
        """Begin an utterance; an unfinished one is dropped."""
        ...

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Take 16 kHz audio; return a partial transcript where it changed.

        Raises:
            RecognitionError: The engine broke; the next `start` tries to revive it.
        """
        ...

    def finish(self) -> Transcript:
        """End the utterance and return its final transcript, `text` empty where nothing was understood.

        Raises:
            RecognitionError: The engine broke; the next `start` tries to revive it.
        """
        ...

    def close(self) -> None:
        """Free the model and end any process of its own. May be called twice."""
        ...
