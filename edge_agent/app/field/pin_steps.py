"""Button and light, where there are any."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.field.step import StepResult
from edge_agent.devices.button import ButtonEvent, TalkButton
from edge_agent.devices.light import StateLight
from edge_agent.devices.pins import open_pin_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpiozero import Factory

    from edge_agent.app.field.step import Person
    from edge_agent.config.audio import GpioConfig
    from edge_agent.runtime.pool import Pool

_SHOWN = ("listening", "hearing", "thinking", "speaking")
_SHOWN_S = 1.5


async def try_button(gpio: GpioConfig, person: Person, pool: Pool, patience_s: float) -> StepResult:
    """Wait for a press, and for its end."""
    if gpio.button is None:
        return StepResult("button", "skipped", "none is configured (gpio.button.pin)")
    if not person.is_there:
        return StepResult("button", "skipped", "nobody is there to press it")
    with _pins(gpio) as factory:
        if factory is None:
            return StepResult("button", "fail", f"on GPIO{gpio.button.pin}, and this machine has no GPIO")
        async with TalkButton(gpio.button, factory) as button:
            await pool.run(partial(person.tell, f"press the button (within {patience_s:.0f} s)"), kind="field.tell")
            pressed_s = await _pressed(button, patience_s)
    figures = {"pin": gpio.button.pin, "held_ms": None if pressed_s is None else round(1000 * pressed_s)}
    if pressed_s is None:
        return StepResult("button", "fail", f"no press on GPIO{gpio.button.pin} within {patience_s:.0f} s", figures)
    return StepResult("button", "pass", f"pressed on GPIO{gpio.button.pin} for {1000 * pressed_s:.0f} ms", figures)


async def try_light(gpio: GpioConfig, person: Person, pool: Pool) -> StepResult:
    """Show the states; somebody has to see them."""
    if gpio.light is None:
        return StepResult("light", "skipped", "none is configured (gpio.light.pin or rgb_pins)")
    with _pins(gpio) as factory:
        if factory is None:
            return StepResult("light", "fail", "it is configured, and this machine has no GPIO")
        async with StateLight(gpio.light, factory) as light:
            for state in _SHOWN:
                light.show(state, muted=False)
                await asyncio.sleep(_SHOWN_S)
    seen = await pool.run(partial(person.confirm, "light", "did the light change four times"), kind="field.ask")
    if seen is None:
        return StepResult("light", "skipped", "it was switched, and nobody said whether it was seen")
    if not seen:
        return StepResult("light", "fail", "it was switched, and nobody saw it: check its wires (docs/hardware.md)")
    return StepResult("light", "pass", "seen")


async def _pressed(button: TalkButton, patience_s: float) -> float | None:
    """Return how long the button was down; None where it was not pressed, or not let go, in time."""
    began_s: float | None = None
    try:
        async with asyncio.timeout(patience_s):
            async for event in button.events():
                if event is ButtonEvent.PRESSED:
                    began_s = time.monotonic()
                elif event is ButtonEvent.RELEASED and began_s is not None:
                    return time.monotonic() - began_s
    except TimeoutError:
        pass
    return None


@contextmanager
def _pins(gpio: GpioConfig) -> Iterator[Factory | None]:
    factory = open_pin_factory(gpio.driver)
    try:
        yield factory
    finally:
        if factory is not None:
            factory.close()
