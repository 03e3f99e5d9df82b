"""What the pipeline asks of a voice activity detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk


class VoiceActivityDetector(Protocol):
    """Says of each frame whether it holds a voice. Fast enough (tens of microseconds) to be called on the loop."""

    def is_speech(self, frame: AudioChunk) -> bool:
        """Judge one 20 ms frame at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget the past, after a gap in the audio."""
        ...
