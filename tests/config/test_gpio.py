"""What the configuration of pins refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config.load import load_config
from edge_agent.errors import ConfigError


def problems_of(tmp_path: Path, text: str) -> list[str]:
    """Return the problems' lines, without the file's name."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        (
            "[gpio.outputs.lamp]\npin = 17\n[gpio.outputs.fan]\npin = 17\n",
            "gpio.outputs.lamp.pin",
            "gpio.outputs.fan.pin",
        ),
        ("[gpio.button]\npin = 17\n[gpio.outputs.lamp]\npin = 17\n", "gpio.button.pin", "gpio.outputs.lamp.pin"),
        ("[gpio.button]\npin = 17\n[gpio.light]\npin = 17\n", "gpio.button.pin", "gpio.light.pin"),
        (
            "[gpio.light]\nrgb_pins = [5, 6, 17]\n[gpio.outputs.lamp]\npin = 17\n",
            "gpio.light.rgb_pins",
            "gpio.outputs.lamp.pin",
        ),
        ("[gpio.light]\nrgb_pins = [5, 6, 5]\n", "gpio.light.rgb_pins", "gpio.light.rgb_pins"),
    ],
)
def test_a_pin_with_two_users_is_refused_with_both_keys(tmp_path: Path, text: str, first: str, second: str) -> None:
    """The line names the pin and both keys."""
    [line] = problems_of(tmp_path, text)
    pin = 5 if "5, 6, 5" in text else 17
    assert f"pin {pin} is used twice: by {first} and by {second}" in line


@pytest.mark.parametrize("text", ["[gpio.light]\n", "[gpio.light]\npin = 5\nrgb_pins = [5, 6, 13]\n"])
def test_a_light_is_either_single_or_coloured(tmp_path: Path, text: str) -> None:
    """None or both of the two keys are refused."""
    [line] = problems_of(tmp_path, text)
    assert line.startswith("gpio.light: ")
    assert "either pin or rgb_pins" in line


def test_a_pin_beyond_the_header_is_refused(tmp_path: Path) -> None:
    """Each member of rgb_pins is checked like any pin."""
    [line] = problems_of(tmp_path, "[gpio.light]\nrgb_pins = [5, 6, 54]\n")
    assert line.startswith("gpio.light.rgb_pins.2: ")


@pytest.mark.parametrize("value", ["1.5", "-0.1", "{ okay_nabu = 2 }"])
def test_a_sensitivity_beyond_0_to_1_is_refused(tmp_path: Path, value: str) -> None:
    """For all words and for a single one."""
    [line] = problems_of(tmp_path, f"[activation]\nsensitivity = {value}\n")
    assert line.startswith("activation.sensitivity: sensitivity is from 0 (strict) to 1 (eager)")


def test_the_documents_example_is_a_configuration(tmp_path: Path) -> None:
    """What docs/gpio.md shows can be copied."""
    text = (Path(__file__).parents[2] / "docs" / "gpio.md").read_text(encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    gpio = load_config(path, {}).gpio
    assert gpio.button is not None
    assert gpio.light is not None
    assert set(gpio.outputs) == {"lamp", "fan"}
