"""What the pipeline asks of a speech synthesizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_agent.audio import AudioChunk


class SpeechSynthesizer(Protocol):
    """Renders one sentence at a time. Blocking: generators are pulled and closed on a pool, never on the loop."""

    @property
    def name(self) -> str:
        """Engine and voice, for people and logs."""
        ...

    @property
    def most_threads(self) -> int | None:
        """Compute threads that it can make use of; None: as many as it is granted."""
        ...

    def load(self) -> None:
        """Load the voice. May be called again.

        Raises:
            ModelError: The voice is absent, incomplete or corrupt.
            EngineError: The engine is not installed or did not start.
        """
        ...

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Yield chunks as soon as they are rendered, at the voice's own rate.

        Closing the generator abandons the rest of the sentence and ends any process of its own.

        Raises:
            SynthesisError: The voice could not render `sentence`.
        """
        ...

    def stop(self, job: Generator[AudioChunk, None, None] | None = None) -> None:
        """Make the running step of `job` end soon, and the job with it, quietly; without `job`, of all made so far.

        Any thread may call. A stop before the first step counts; one for a job that is over does nothing.
        """
        ...

    def close(self) -> None:
        """Free the voice. May be called twice."""
        ...
