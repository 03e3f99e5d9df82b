"""What the pipeline asks of a speech recognizer."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.audio import AudioChunk
    from edge_agent.events import Transcript
    from edge_agent.grammar import Grammar


class SpeechRecognizer(Protocol):
    """Turns utterances into text, one at a time.

    Every method but `stop` blocks and is called on pool `asr`'s one thread, never from the loop. `accept` returns
    when the chunk is decoded, within about its duration: who holds cores for the call holds them for all it computes,
    and cancelling between two calls is prompt.
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

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Return what `finish` would if the utterance ended here, or, not `final`, probably would; it can go on.

        Called in a pause. After a `final` one no audio follows until somebody speaks again or `finish` or `start`
        comes. Where somebody does, the partials and the final transcript are those that there would have been without
        it.

        Args:
            thorough: The pause is long already, and probably the end: find out for certain, even where going on will
                then cost more. It may still be not `final`, where that would be too much.

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

    def stop(self) -> None:
        """Make the call that runs end soon: `load`, `start`, `accept`, `preview`, `finish`. Any thread; never blocks.

        That call raises RecognitionError, or returns where it was about to; the next `start` or `load` makes the
        recognizer usable again. Between two calls it does nothing, so that it can't hit the next one.
        """
        ...

    def close(self) -> None:
        """Free the model and end any process of its own. May be called twice."""
        ...


class RunningCall:
    """What recognizers keep of `stop`: a wish that holds for the call that runs, and for no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = False
        self._is_stopped = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Mark a call of the recognizer's thread."""
        with self._lock:
            self._runs = True
        try:
            yield
        finally:
            with self._lock:
                self._runs = self._is_stopped = False

    def stop(self) -> bool:
        """Wish that the call ends; False where none runs. Any thread."""
        with self._lock:
            self._is_stopped = self._runs
            return self._runs

    def is_stopped(self) -> bool:
        """Tell whether the call that runs is to end."""
        return self._is_stopped
