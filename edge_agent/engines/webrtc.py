"""WebRTC's voice activity detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk


class WebRtcVad:
    """Judges 10, 20 or 30 ms frames by a Gaussian mixture over six bands; about 20 µs a frame.

    Args:
        aggressiveness: 0 lets most pass as speech, 3 the least.
    """

    def __init__(self, aggressiveness: int) -> None:
        self._aggressiveness = aggressiveness
        self.reset()

    def is_speech(self, frame: AudioChunk) -> bool:
        """Judge one frame at 8, 16, 32 or 48 kHz."""
        return bool(self._vad.is_speech(frame.pcm, frame.rate_hz))

    def reset(self) -> None:
        """Forget the noise floor learned so far."""
        import webrtcvad

        self._vad = webrtcvad.Vad(self._aggressiveness)
