"""What doctor says of GPIO."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boards import Board
from doctor_rig import paper

from edge_agent.app.doctor.pins import Line, check_gpio, look_up
from edge_agent.config.audio import ButtonConfig, GpioConfig, LightConfig, OutputConfig
from edge_agent.config.schema import Config


def wired(**changed: object) -> Config:
    """Return a configuration with a button, a light and a lamp."""
    gpio = GpioConfig(button=ButtonConfig(pin=23), light=LightConfig(pin=24), outputs={"lamp": OutputConfig(pin=17)})
    return Config(gpio=gpio.model_copy(update=changed))


@pytest.fixture
def header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a chip of pins that may be opened, and the libraries for it."""
    Board(tmp_path).write("dev/gpiochip0", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return tmp_path


def free(chip: Path, pin: int) -> Line | None:
    """A pin that nobody has."""
    return Line(f"GPIO{pin}", "", is_used=False)


def test_pins_that_are_free(header: Path) -> None:
    """All are named."""
    found = check_gpio(wired(), paper(header), free)
    assert found.verdict == "ok"
    assert found.message == "button on GPIO23, light on GPIO24, lamp on GPIO17; gpiochip0 can be opened"


def test_a_machine_without_pins(tmp_path: Path) -> None:
    """It matters as far as pins are configured, and asked for for certain."""
    assert check_gpio(Config(), paper(tmp_path)).verdict == "ok"
    assert check_gpio(wired(), paper(tmp_path)).verdict == "warning"
    assert check_gpio(wired(driver="lgpio"), paper(tmp_path)).verdict == "fault"
    assert check_gpio(wired(driver="simulated"), paper(tmp_path)).verdict == "ok"


def test_a_library_that_is_missing(header: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = check_gpio(wired(), paper(header), free)
    assert found.verdict == "warning"
    assert "edge-agent[gpio]" in found.remedy


def test_a_chip_that_may_not_be_opened(header: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is named."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = check_gpio(wired(), paper(header), free)
    assert found.verdict == "warning"
    assert "usermod -aG gpio" in found.remedy


def test_a_pin_that_somebody_has(header: Path) -> None:
    """By name, unless it is the running service itself."""

    def look(chip: Path, pin: int) -> Line | None:
        return Line("", {23: "w1", 17: "lg"}.get(pin, ""), is_used=pin in {23, 17})

    found = check_gpio(wired(), paper(header), look)
    assert found.verdict == "warning"
    assert found.message == "button: GPIO23 is taken by w1; lamp: GPIO17 is taken by lg"
    served = check_gpio(wired(), paper(header, status={}), look)
    assert served.message == "button: GPIO23 is taken by w1"


def test_a_pin_of_a_bus_or_of_a_sound_card(header: Path) -> None:
    """Only while that bus is switched on, and that card is there."""
    config = wired(outputs={"fan": OutputConfig(pin=2), "bell": OutputConfig(pin=19)})
    assert check_gpio(config, paper(header), free).verdict == "ok"
    Board(header).write("dev/i2c-1", "")
    Board(header).write("proc/asound/cards", " 1 [seeed2micvoicec]: bcm2835-i2s-wm8960-hifi")
    found = check_gpio(config, paper(header), free)
    assert found.verdict == "warning"
    assert "fan: GPIO2 belongs to the I2C bus" in found.message
    assert "bell: GPIO19 carries the sound of the HAT" in found.message


def test_what_is_no_chip_tells_nothing(tmp_path: Path) -> None:
    """A plain file, and none."""
    (tmp_path / "file").touch()
    assert look_up(tmp_path / "file", 17) is None
    assert look_up(tmp_path / "absent", 17) is None
