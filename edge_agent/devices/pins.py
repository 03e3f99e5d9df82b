"""Opens the board's pins, or simulated ones; nothing is set globally."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpiozero import Factory

_log = logging.getLogger(__name__)

Driver = Literal["auto", "lgpio", "simulated"]

_DEVICES = Path("/dev")
_SIMULATED_BOARD = "a02082"
"""Revision code of a Raspberry Pi 3B: the usual 40-pin header, BCM 0 to 27."""


def open_pin_factory(driver: Driver) -> Factory | None:
    """Return what makes pins: close it when done. None (logged, with the reason) where `auto` finds no GPIO.

    `simulated` pins only remember their level; they are for trying things out and for tests.

    Raises:
        DeviceError: `lgpio` was asked for and this machine's pins can't be used.
    """
    if driver == "simulated":
        from gpiozero.pins.mock import MockFactory, MockPWMPin

        return MockFactory(revision=_SIMULATED_BOARD, pin_class=MockPWMPin)
    try:
        return _open_board()
    except DeviceError as error:
        if driver == "lgpio":
            raise DeviceError(
                error.device, f'{error.reason}; set gpio.driver = "auto" to go on without, or "simulated" to try'
            ) from error
        _log.info('no GPIO here: %s; set gpio.driver = "simulated" to try without', error.reason)
        return None


@contextmanager
def claiming(user: str, pin: int) -> Iterator[None]:
    """Turn what gpiozero and lgpio raise inside into an error that names the user and the pin.

    Raises:
        DeviceError: The pin is busy, does not exist or said no.
    """
    try:
        yield
    except _driver_errors() as error:
        raise DeviceError("gpio", f"{user} on pin {pin}: {_first_line(error)}") from error


def _open_board() -> Factory:
    from gpiozero import GPIOZeroError
    from gpiozero.pins.local import get_pi_revision

    chips = sorted(_DEVICES.glob("gpiochip*"))
    if not chips:
        raise DeviceError("gpio", f"no {_DEVICES}/gpiochip*")
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        raise DeviceError("gpio", f"{chips[0]} may not be opened (add the user to group gpio: docs/gpio.md)")
    try:
        # Asked before lgpio is loaded, which starts a thread: many a PC has a gpiochip and no header.
        get_pi_revision()
        factory_class = _load_lgpio()
        factory = factory_class()
    except ImportError as error:
        raise DeviceError("gpio", _first_line(error)) from error
    except _driver_errors() as error:
        raise DeviceError("gpio", _first_line(error)) from error
    try:
        _log.info("GPIO of %s", factory.board_info.description)
    except GPIOZeroError as error:
        factory.close()
        raise DeviceError("gpio", _first_line(error)) from error
    return factory


def _load_lgpio() -> type[Factory]:
    """Import lgpio without what it does to the process.

    When loaded it changes into $LG_WD and makes a named pipe there, for ever. Once both ends of the pipe are open its
    name is not needed, so a directory that is removed at once will do; and the working directory is put back.
    """
    if "lgpio" not in sys.modules:
        chosen = os.environ.get("LG_WD")
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with tempfile.TemporaryDirectory(prefix="edge-agent-lgpio-", dir=_runtime_dir()) as directory:
                os.environ["LG_WD"] = directory
                try:
                    import lgpio  # noqa: F401
                finally:
                    os.fchdir(here)
        finally:
            os.close(here)
            if chosen is None:
                os.environ.pop("LG_WD", None)
            else:
                os.environ["LG_WD"] = chosen
    from gpiozero.pins.lgpio import LGPIOFactory

    factory: type[Factory] = LGPIOFactory
    return factory


def _runtime_dir() -> str | None:
    """Return the user's runtime directory; None for the system's temporary one."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    return directory if directory and os.access(directory, os.W_OK) else None


def _driver_errors() -> tuple[type[Exception], ...]:
    from gpiozero import GPIOZeroError

    common: tuple[type[Exception], ...] = (GPIOZeroError, OSError)
    lgpio = sys.modules.get("lgpio")
    return common if lgpio is None else (*common, lgpio.error)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].strip("'") if text else type(error).__name__
