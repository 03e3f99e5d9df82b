"""What the pipeline asks of a speaker or a file to speak into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from edge_agent.audio import AudioChunk


class AudioSink(Protocol):
    """Plays chunks in order. Used from the loop only."""

    @property
    def name(self) -> str:
        """Device or file, for people and logs."""
        ...

    @property
    def played_s(self) -> float:
        """Seconds of what was written since opening that the device has played."""
        ...

    @property
    def pending_s(self) -> float:
        """Seconds written and neither played nor flushed."""
        ...

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            UnknownDeviceError: No such device.
            DeviceError: The device is absent or refuses.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what is pending is dropped."""
        ...

    async def write(self, chunk: AudioChunk) -> None:
        """Queue a chunk of any rate; waits while more than a bounded time is pending.

        Raises:
            DeviceError: The device is lost.
        """
        ...

    async def drain(self) -> None:
        """Wait until the last sample has left the device.

        Raises:
            DeviceError: The device is lost, or does not advance.
        """
        ...

    def flush(self) -> None:
        """Drop what is pending, at once, and end a `hold`; a waiting `write` or `drain` returns."""
        ...

    def hold(self) -> None:
        """Fall silent at once and lose nothing: what is pending stays so, and `write` and `drain` wait."""
        ...

    def resume(self) -> None:
        """End a `hold`: go on with the first sample that was not played."""
        ...

    def recent_level(self, window_s: float) -> float:
        """Return how loud the loudest 20 ms were that left the device in the last `window_s`: RMS, 0 to 1 (full scale).

        The volume counts; 0 where nothing was played. The reference by which an echo is told from a voice.
        """
        ...
