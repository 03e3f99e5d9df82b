"""Things that are switched by name: a pin each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.devices.pins import claiming
from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpiozero import Factory, OutputDevice

    from edge_agent.config.audio import OutputConfig
    from edge_agent.reason.ports import Switch


class GpioOutputs:
    """GPIO outputs by name. Answers at once; belongs to the loop's thread.

    Without a factory the names are known, and switching says that there are no pins.

    Raises:
        DeviceError: A pin can't be had; those claimed before it are free again.
    """

    def __init__(self, outputs: Mapping[str, OutputConfig], factory: Factory | None) -> None:
        self._names = tuple(outputs)
        self._pins: dict[str, int] = {name: output.pin for name, output in outputs.items()}
        self._devices: dict[str, OutputDevice] = {}
        if factory is None:
            return
        from gpiozero import OutputDevice

        try:
            for name, output in outputs.items():
                with claiming(f"output {name!r}", output.pin):
                    self._devices[name] = OutputDevice(
                        output.pin,
                        active_high=output.active_high,
                        initial_value=output.initial,
                        pin_factory=factory,
                    )
        except DeviceError:
            self.close()
            raise

    def names(self) -> tuple[str, ...]:
        """Names, in the configuration's order."""
        return self._names

    def switch(self, name: str, to: Switch) -> bool:
        """Switch an output and return whether it is on now.

        Raises:
            DeviceError: There is no such output or no pins, or the pin said no.
        """
        device = self._device(name)
        with claiming(f"output {name!r}", self._pins[name]):
            on = not device.value if to == "toggle" else to == "on"
            device.value = on
        return on

    def state(self, name: str) -> bool:
        """Return whether an output is on.

        Raises:
            DeviceError: There is no such output or no pins, or the pin said no.
        """
        device = self._device(name)
        with claiming(f"output {name!r}", self._pins[name]):
            return bool(device.value)

    def close(self) -> None:
        """Free the pins: they become inputs, so what hangs on them is usually switched off. May be called twice."""
        while self._devices:
            self._devices.popitem()[1].close()

    def _device(self, name: str) -> OutputDevice:
        if name not in self._names:
            raise DeviceError("gpio", f"there is no output called {name!r}")
        if name not in self._devices:
            raise DeviceError("gpio", "this machine has no GPIO pins")
        return self._devices[name]
