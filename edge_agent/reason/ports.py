"""What the intents need of the device. Implementations must answer at once: they are called on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Switch = Literal["on", "off", "toggle"]


class Recognized(Protocol):
    """An intent that was understood."""

    @property
    def intent(self) -> str:
        """The intent's name."""
        ...

    @property
    def slots(self) -> Mapping[str, str | int | float]:
        """Values of the slots that were said."""
        ...


class Clock(Protocol):
    """The time of day, and time that only goes forward."""

    def now(self) -> datetime:
        """The present moment, aware, in the local zone."""
        ...

    def localize(self, local: datetime) -> datetime:
        """Return the instant at which the local clock shows `local`, which is naive, aware.

        Of a time that occurs twice, `local.fold` says which. A time that is skipped is counted with the offset from
        before the gap, so that what comes back shows another time (PEP 495).
        """
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean something."""
        ...


class Outputs(Protocol):
    """GPIO outputs by name."""

    def names(self) -> Sequence[str]:
        """Names, in the configuration's order."""
        ...

    def switch(self, name: str, to: Switch) -> bool:
        """Switch an output and return whether it is on now.

        Raises:
            DeviceError: The output does not exist, or its pin said no.
        """
        ...


class Volume(Protocol):
    """The speaker's volume."""

    @property
    def percent(self) -> int:
        """0 to 100; kept while muted."""
        ...

    @property
    def muted(self) -> bool:
        """Whether nothing is heard."""
        ...

    def set_percent(self, percent: int) -> None:
        """Set the volume, 0 to 100.

        Raises:
            DeviceError: The device said no.
        """
        ...

    def set_muted(self, muted: bool) -> None:
        """Silence the speaker, or undo that.

        Raises:
            DeviceError: The device said no.
        """
        ...


class Status(Protocol):
    """How the device is. A figure that can't be had is None."""

    def uptime_s(self) -> float:
        """Seconds since the agent started."""
        ...

    def temperature_c(self) -> float | None:
        """The processor's temperature in degrees Celsius."""
        ...

    def memory_free_bytes(self) -> int | None:
        """Memory that can still be had without swapping."""
        ...
