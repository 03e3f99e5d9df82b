"""What the pipeline asks of a microphone or a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from edge_agent.audio import AudioChunk


class AudioSource(Protocol):
    """Yields 20 ms frames at 16 kHz for as long as it is open."""

    @property
    def name(self) -> str:
        """Device or file, for people and logs."""
        ...

    @property
    def dropped_frames(self) -> int:
        """Frames lost since opening, because nobody took them in time or the device overran."""
        ...

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            AudioFileError: The recording can't be read.
            UnknownDeviceError: No such device.
            DeviceError: The device is absent or refuses.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; no callback runs afterwards."""
        ...

    def rest(self, *, resting: bool) -> None:
        """Say whether nobody is being heard.

        While so, frames of a quiet room may come a few at a time, the first of them up to 80 ms late.
        """
        ...

    def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield frames; a recording ends, its last frame filled up with silence.

        Raises:
            DeviceError: The microphone is lost.
        """
        ...
