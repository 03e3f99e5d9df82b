"""The board's pins: whether they can be reached, and whether the configured ones are anybody else's."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.app.doctor.result import Surroundings, Verdict
    from edge_agent.config.audio import GpioConfig
    from edge_agent.config.schema import Config

_CHIP_INFO = 0x8044B401
_LINE_INFO = 0xC100B405
"""GPIO_GET_CHIPINFO_IOCTL and GPIO_V2_GET_LINEINFO_IOCTL (linux/gpio.h)."""
_CHIP_FORM = "32s32sI"
_LINE_FORM = "32s32sIIQ"
_LINE_BYTES = 256
_IS_USED = 1
_HEADER_LABELS = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")
"""Drivers of the chip that a Raspberry Pi's header hangs on: up to the 3, the 4, the 5."""
_OWN_CONSUMERS = frozenset({"lg", "lgpio"})
_SOUND_PINS = range(18, 22)
_SOUND_HATS = ("seeed", "wm8960", "iqaudio", "hifiberry", "googlevoicehat", "rpi-codeczero", "codeczero")
_BUSES = (
    ((2, 3), "dev/i2c-1", "the I2C bus"),
    (tuple(range(7, 12)), "dev/spidev0.0", "the SPI bus"),
    ((14, 15), "dev/serial0", "the serial port"),
)
"""Pins of the header with a second use, and the device file that is there while that is switched on."""


@dataclass(frozen=True, slots=True)
class Line:
    """One pin as the kernel sees it; `consumer` is empty where nobody has it."""

    name: str
    consumer: str
    is_used: bool


def check_gpio(
    config: Config, around: Surroundings, look: Callable[[Path, int], Line | None] | None = None
) -> CheckResult:
    """Look whether the configured pins can be used."""
    gpio = config.gpio
    pins = dict(configured_pins(gpio))
    chips = sorted((around.root / "dev").glob("gpiochip*"))
    figures = {"driver": gpio.driver, "chips": len(chips), "pins": ", ".join(f"{n}={p}" for n, p in pins.items())}
    if gpio.driver == "simulated":
        return CheckResult("gpio", "ok", f"simulated; {_told(pins)}", figures=figures)
    must: Verdict = "fault" if pins and gpio.driver == "lgpio" else "warning" if pins else "ok"
    if not chips:
        remedy = 'take the pins out of the configuration, or try with gpio.driver = "simulated"' if pins else ""
        return CheckResult("gpio", must, f"this machine has none (no /dev/gpiochip*); {_told(pins)}", remedy, figures)
    if importlib.util.find_spec("lgpio") is None or importlib.util.find_spec("gpiozero") is None:
        remedy = "pip install 'edge-agent[gpio]', in the service's environment"
        return CheckResult("gpio", must, f"lgpio or gpiozero is not installed; {_told(pins)}", remedy, figures)
    closed = [chip for chip in chips if not os.access(chip, os.R_OK | os.W_OK)]
    if len(closed) == len(chips):
        remedy = 'sudo usermod -aG gpio "$USER"   (then log in again); the service\'s user: see the line "user"'
        return CheckResult("gpio", "warning" if pins else "ok", f"you may not open {chips[0]}", remedy, figures)
    complaints = [*_claimed(around, pins, look or look_up), *_double_uses(around, pins)]
    if complaints:
        remedy = "choose other pins, or switch the other use off in /boot/firmware/config.txt (docs/hardware.md)"
        return CheckResult("gpio", "warning", "; ".join(complaints), remedy, figures)
    return CheckResult("gpio", "ok", f"{_told(pins)}; {chips[0].name} can be opened", figures=figures)


def configured_pins(gpio: GpioConfig) -> Iterator[tuple[str, int]]:
    """Yield each configured pin with what it is for."""
    if gpio.button is not None:
        yield "button", gpio.button.pin
    if gpio.light is not None:
        if gpio.light.pin is not None:
            yield "light", gpio.light.pin
        yield from zip(("light.red", "light.green", "light.blue"), gpio.light.rgb_pins or (), strict=False)
    yield from ((name, output.pin) for name, output in gpio.outputs.items())


def look_up(chip: Path, pin: int) -> Line | None:
    """Return what the kernel says of a pin of `chip`, where that is the one with the header; None otherwise."""
    try:
        opened = os.open(chip, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        about = fcntl.ioctl(opened, _CHIP_INFO, bytes(struct.calcsize(_CHIP_FORM)))
        _, label, count = struct.unpack(_CHIP_FORM, about)
        if not _text(label).startswith(_HEADER_LABELS) or pin >= count:
            return None
        request = struct.pack(_LINE_FORM, b"", b"", pin, 0, 0).ljust(_LINE_BYTES, b"\0")
        name, consumer, _, _, flags = struct.unpack_from(_LINE_FORM, fcntl.ioctl(opened, _LINE_INFO, request))
    except OSError:
        return None
    finally:
        os.close(opened)
    return Line(_text(name), _text(consumer), bool(flags & _IS_USED))


def _claimed(around: Surroundings, pins: dict[str, int], look: Callable[[Path, int], Line | None]) -> Iterator[str]:
    chips = sorted((around.root / "dev").glob("gpiochip*"))
    for user, pin in pins.items():
        for chip in chips:
            line = look(chip, pin)
            if line is None:
                continue
            is_ours = line.consumer in _OWN_CONSUMERS and around.is_served
            if line.is_used and not is_ours:
                yield f"{user}: GPIO{pin} is taken by {line.consumer or 'the kernel'}"
            break


def _double_uses(around: Surroundings, pins: dict[str, int]) -> Iterator[str]:
    cards = (around.files.read("proc/asound/cards") or "").casefold()
    has_hat = any(name in cards for name in _SOUND_HATS)
    for user, pin in pins.items():
        if has_hat and pin in _SOUND_PINS:
            yield f"{user}: GPIO{pin} carries the sound of the HAT (I2S: 18 to 21)"
        for taken, device, what in _BUSES:
            if pin in taken and (around.root / device).exists():
                yield f"{user}: GPIO{pin} belongs to {what}, which is switched on (/{device})"


def _told(pins: dict[str, int]) -> str:
    return ", ".join(f"{user} on GPIO{pin}" for user, pin in pins.items()) or "no pin is configured"


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
