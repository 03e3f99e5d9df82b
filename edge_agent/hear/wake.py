"""What the pipeline asks of a wake word detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk


class WakeWordDetector(Protocol):
    """Listens for several wake words at once.

    Blocking for about a millisecond a frame; called on pool `capture`.
    """

    @property
    def words(self) -> tuple[str, ...]:
        """The words listened for."""
        ...

    def load(self) -> None:
        """Load the models.

        Raises:
            ModelError: A model is absent or can't be read.
        """
        ...

    def detect(self, frame: AudioChunk) -> str | None:
        """Take 16 kHz audio; return the word that was just completed, once for each time it is said."""
        ...

    def reset(self) -> None:
        """Forget what was heard so far."""
        ...

    def close(self) -> None:
        """Free the models. May be called twice."""
        ...
