"""One turn's way to the speaker, which can be shut for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.speak.sink import AudioSink


class Gate:
    """Lets a turn's chunks through to the speaker until it is shut; nothing of that turn can sound afterwards.

    Whoever is late, a task that is being cancelled or an engine that has rendered one more chunk, is refused here.

    Attributes:
        refused: Chunks that came too late.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self._is_shut = False
        self._is_holding = False
        self.refused = 0

    @property
    def played_s(self) -> float:
        """Seconds that the device has played since it was opened, whichever turn they were of."""
        return self._sink.played_s

    @property
    def pending_s(self) -> float:
        """Seconds written and neither played nor flushed."""
        return self._sink.pending_s

    async def write(self, chunk: AudioChunk) -> None:
        """Write to the speaker; drop what comes after the gate was shut."""
        if self._is_shut:
            self.refused += 1
            return
        await self._sink.write(chunk)

    async def drain(self) -> None:
        """Wait until the last sample has left the device; at once where the gate is shut."""
        if not self._is_shut:
            await self._sink.drain()

    def hold(self) -> None:
        """Let the speaker fall silent, and lose nothing."""
        if not self._is_shut:
            self._is_holding = True
            self._sink.hold()

    def resume(self) -> None:
        """Let the speaker go on."""
        if not self._is_shut:
            self._is_holding = False
            self._sink.resume()

    def shut(self) -> None:
        """Drop what is pending, at once, and let nothing more through."""
        if not self._is_shut:
            self._is_shut = True
            self._sink.flush()

    def leave(self) -> None:
        """The turn is over: let nothing more through, and leave no hold behind, which would silence the next one."""
        if self._is_holding:
            self.shut()
        self._is_shut = True
