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
        self._names: tuple[str, ...] = ()
        self._pins: dict[str, int] = {}
        self._devices: dict[str, OutputDevice] = {}
        self._factory = factory
        self.change(outputs, factory)

    def change(self, outputs: Mapping[str, OutputConfig], factory: Factory | None) -> None:
        """Have these outputs from now on. A pin that is used before and after stays on or off, whatever its name.

        With another factory all pins are freed first.

        Raises:
            DeviceError: A pin can't be had; the outputs then are those that there were before, or none are claimed
                where the factory is another one.
        """
        if factory is not self._factory:
            self.close()
            self._factory = factory
        claimed = {self._pins[name]: device for name, device in self._devices.items()}
        opened: dict[int, OutputDevice] = {}
        try:
            for name, output in outputs.items():
                if factory is not None and output.pin not in claimed:
                    opened[output.pin] = _opened(name, output, factory)
        except DeviceError:
            for device in opened.values():
                device.close()
            raise
        self._names = tuple(outputs)
        self._pins = {name: output.pin for name, output in outputs.items()}
        self._devices = {}
        for name, output in outputs.items():
            if (kept := claimed.pop(output.pin, None)) is not None:
                _invert(name, kept, output)
                self._devices[name] = kept
            elif output.pin in opened:
                self._devices[name] = opened[output.pin]
        for device in claimed.values():
            device.close()

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


def _opened(name: str, output: OutputConfig, factory: Factory) -> OutputDevice:
    from gpiozero import OutputDevice

    with claiming(f"output {name!r}", output.pin):
        return OutputDevice(
            output.pin, active_high=output.active_high, initial_value=output.initial, pin_factory=factory
        )


def _invert(name: str, device: OutputDevice, output: OutputConfig) -> None:
    """Let the other level mean that it is on, where that has changed; what was on stays on."""
    if device.active_high != output.active_high:
        with claiming(f"output {name!r}", output.pin):
            is_on = bool(device.value)
            device.active_high = output.active_high
            device.value = is_on
