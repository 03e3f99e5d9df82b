"""Shows the agent's state on one LED, or on a red, green and blue one."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge_agent.devices.pins import claiming
from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from gpiozero import Factory, OutputDevice

    from edge_agent.config.audio import LightConfig

_log = logging.getLogger(__name__)

FAULT_S = 3.0
"""A fault is shown this long, then the state again."""

_SEEN_AS_ON = 0.25
"""Levels from here on switch an LED on that can't be dimmed."""

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Levels that are gone through again and again.

    Attributes:
        colour: Red, green and blue at full level, 0 to 1; a single LED ignores it.
        steps: Level, 0 to 1, and seconds it lasts. One step alone is a steady light.
    """

    colour: Colour
    steps: tuple[tuple[float, float], ...]


def _pulse(period_s: float, steps: int) -> tuple[tuple[float, float], ...]:
    """Return one breath: dark to bright and back, a raised cosine."""
    return tuple(
        (round((1 - math.cos(2 * math.pi * index / steps)) / 2, 3), round(period_s / steps, 3))
        for index in range(steps)
    )


_BLUE, _GREEN, _AMBER, _CYAN, _RED = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.5, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 0.0)

STATE_PATTERNS: Mapping[str, Pattern] = {
    "idle": Pattern(_BLUE, ((0.0, 1.0),)),
    "listening": Pattern(_BLUE, ((_SEEN_AS_ON, 1.0),)),
    "hearing": Pattern(_GREEN, ((1.0, 1.0),)),
    "thinking": Pattern(_AMBER, ((1.0, 0.15), (0.0, 0.15))),
    "speaking": Pattern(_CYAN, _pulse(2.0, 40)),
}
"""By `edge_agent.pipeline.turn.State`."""
MUTED = Pattern(_RED, ((1.0, 0.12), (0.0, 0.18), (1.0, 0.12), (0.0, 1.58)))
FAULT = Pattern(_RED, ((1.0, 0.05), (0.0, 0.05)))

_SHOWN_WHILE_MUTED = frozenset({"thinking", "speaking"})


def pattern_of(state: str, *, muted: bool) -> Pattern:
    """Return what shows a state. A muted microphone does not hide that an answer is made or given."""
    return MUTED if muted and state not in _SHOWN_WHILE_MUTED else STATE_PATTERNS[state]


class StateLight:
    """The light; use as `async with`. Without a configured pin or without GPIO it does nothing.

    One task plays the patterns; a steady light costs nothing. Belongs to the loop's thread.

    Args:
        config: Its pins.
        factory: The board's pins.
        fault_s: How long a fault is shown.
    """

    def __init__(self, config: LightConfig | None, factory: Factory | None, *, fault_s: float = FAULT_S) -> None:
        self._config = config
        self._factory = factory
        self._fault_s = fault_s
        self._leds: list[_Led] = []
        self._shown = STATE_PATTERNS["idle"]
        self._fault_until = -math.inf
        self._changed = asyncio.Event()
        self._playing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Claim the pins.

        Raises:
            DeviceError: A pin is busy or does not exist.
        """
        if self._config is None or self._factory is None:
            return self
        pins = self._config.rgb_pins or (() if self._config.pin is None else (self._config.pin,))
        try:
            for pin in pins:
                self._leds.append(_Led(pin, self._factory))
        except DeviceError:
            self._close_leds()
            raise
        if self._leds:
            self._playing = asyncio.create_task(self._play_loop(), name="light")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch the light off and free its pins."""
        try:
            if self._playing is not None:
                self._playing.cancel()
                await asyncio.wait([self._playing])
                if not self._playing.cancelled():
                    self._playing.result()
        finally:
            self._close_leds()

    def show(self, state: str, *, muted: bool) -> None:
        """Show a state from now on."""
        self._shown = pattern_of(state, muted=muted)
        self._changed.set()

    def show_fault(self) -> None:
        """Flicker for a while, whatever the state."""
        self._fault_until = asyncio.get_running_loop().time() + self._fault_s
        self._changed.set()

    async def _play_loop(self) -> None:
        playing, step = self._pattern(), 0
        try:
            while True:
                level, duration_s = playing.steps[step]
                self._set(playing.colour, level)
                await self._rest(None if len(playing.steps) == 1 else duration_s)
                if (now_due := self._pattern()) is playing:
                    step = (step + 1) % len(playing.steps)
                else:
                    playing, step = now_due, 0
        except DeviceError as error:
            _log.error("%s; the light stays as it is", error)

    def _pattern(self) -> Pattern:
        return FAULT if asyncio.get_running_loop().time() < self._fault_until else self._shown

    async def _rest(self, duration_s: float | None) -> None:
        """Wait for the time to pass or for something else to be shown."""
        try:
            async with asyncio.timeout(duration_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _set(self, colour: Colour, level: float) -> None:
        if len(self._leds) == 1:
            self._leds[0].set(level)
            return
        for led, part in zip(self._leds, colour, strict=True):
            led.set(part * level)

    def _close_leds(self) -> None:
        while self._leds:
            self._leds.pop().close()


class _Led:
    """One LED between a pin and ground; dimmed where the driver can.

    Raises:
        DeviceError: The pin is busy or does not exist.
    """

    def __init__(self, pin: int, factory: Factory) -> None:
        from gpiozero import OutputDevice, PinPWMUnsupported, PWMOutputDevice

        self._pin = pin
        self._level: float | None = None
        self._dims = True
        with claiming("gpio.light", pin):
            try:
                self._device: OutputDevice = PWMOutputDevice(pin, pin_factory=factory)
            except PinPWMUnsupported:
                self._dims = False
                self._device = OutputDevice(pin, pin_factory=factory)

    def set(self, level: float) -> None:
        """Set the brightness, 0 to 1.

        Raises:
            DeviceError: The pin said no.
        """
        if level == self._level:
            return
        with claiming("gpio.light", self._pin):
            self._device.value = level if self._dims else level >= _SEEN_AS_ON
        self._level = level

    def close(self) -> None:
        """Free the pin; the LED goes out."""
        self._device.close()
