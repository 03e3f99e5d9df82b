"""Which pins are opened, and what is said where there are none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpiozero import Device, OutputDevice

from edge_agent.devices import pins
from edge_agent.devices.pins import claiming, open_pin_factory
from edge_agent.errors import DeviceError


@pytest.fixture
def no_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any GPIO chip."""
    monkeypatch.setattr(pins, "_DEVICES", tmp_path)


@pytest.fixture
def foreign_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GPIO chip, but not a Raspberry Pi's: many a PC has one."""
    monkeypatch.setattr(pins, "_DEVICES", tmp_path)
    (tmp_path / "gpiochip0").touch()

    def no_revision() -> int:
        from gpiozero import PinUnknownPi

        raise PinUnknownPi("unable to locate Pi revision\nin several places")

    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", no_revision)
    return tmp_path / "gpiochip0"


def test_auto_without_gpio_says_so_once_and_gives_none(no_chips: None, caplog: pytest.LogCaptureFixture) -> None:
    """One line: what is missing, and what to set to go on."""
    with caplog.at_level(logging.INFO):
        assert open_pin_factory("auto") is None
    [record] = caplog.records
    assert record.getMessage().startswith("no GPIO here: no ")
    assert 'gpio.driver = "simulated"' in record.getMessage()


def test_lgpio_without_gpio_is_an_error_with_a_remedy(no_chips: None) -> None:
    """Who asks for real pins is not given none."""
    with pytest.raises(DeviceError, match=r'^gpio: no .*gpiochip\*; set gpio\.driver = "auto"'):
        open_pin_factory("lgpio")


def test_a_chip_that_is_not_a_raspberry_pis_is_left_alone(foreign_chip: Path) -> None:
    """The first line of gpiozero's reason is given; lgpio, which would start a thread, is not even loaded."""
    loaded_before = "lgpio" in sys.modules
    with pytest.raises(DeviceError, match=r"^gpio: unable to locate Pi revision; set gpio\.driver"):
        open_pin_factory("lgpio")
    assert ("lgpio" in sys.modules) == loaded_before


def test_a_chip_that_may_not_be_opened_names_the_group(foreign_chip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest trouble on a real board: the user is not in group gpio."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DeviceError, match=r"gpiochip0 may not be opened \(add the user to group gpio"):
        open_pin_factory("lgpio")


def test_the_real_lgpio_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """In a process of its own it refuses a chip that is absent, stays in its directory and leaves no file behind."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "run").mkdir()
    program = """
import os
import gpiozero.pins.local
from edge_agent.devices import pins

gpiozero.pins.local.LocalPiFactory._get_revision = lambda self: 0xA02082
try:
    pins._load_lgpio()(chip=250)
except pins._driver_errors() as error:
    print(pins._first_line(error))
print(os.getcwd(), os.environ.get("LG_WD"))
"""
    environ = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path / "run"), "TMPDIR": str(tmp_path / "run")}
    package_root = str(Path(pins.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        env={**environ, "PYTHONPATH": package_root},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["can not open gpiochip", f"{home} None"]
    assert not list(home.iterdir())
    assert not list((tmp_path / "run").iterdir())


def test_simulated_pins_remember_their_level_and_set_nothing_global() -> None:
    """Two factories are two boards; gpiozero's process-wide default stays unset."""
    one, other = open_pin_factory("simulated"), open_pin_factory("simulated")
    assert one is not None
    assert other is not None
    with one, other, OutputDevice(17, pin_factory=one) as lamp, OutputDevice(17, pin_factory=other) as twin:
        lamp.on()
        assert (lamp.value, twin.value) == (1, 0)
        assert Device.pin_factory is None


def test_a_claim_that_fails_names_its_user_and_the_pin() -> None:
    """Whatever gpiozero raises becomes one clear line."""
    factory = open_pin_factory("simulated")
    assert factory is not None
    with (
        factory,
        OutputDevice(17, pin_factory=factory),
        pytest.raises(DeviceError, match=r"^gpio: output 'lamp' on pin 17: .*already in use"),
        claiming("output 'lamp'", 17),
    ):
        OutputDevice(17, pin_factory=factory)


def test_importing_the_devices_does_not_import_gpiozero() -> None:
    """The heavy import waits until pins are wanted."""
    program = (
        "import sys; import edge_agent.devices.pins, edge_agent.devices.outputs, edge_agent.devices.button, "
        "edge_agent.devices.light; print([name for name in ('gpiozero', 'lgpio', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
