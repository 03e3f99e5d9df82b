"""Switching outputs by name on simulated pins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gpiozero import Factory, OutputDevice

from edge_agent.config.audio import OutputConfig
from edge_agent.devices.outputs import GpioOutputs
from edge_agent.devices.pins import open_pin_factory
from edge_agent.errors import DeviceError


@pytest.fixture
def factory() -> Iterator[Factory]:
    """A simulated board."""
    board = open_pin_factory("simulated")
    assert board is not None
    with board:
        yield board


def test_switching_drives_the_pin_and_returns_the_new_state(factory: Factory) -> None:
    """On, off and toggle, seen at the pin."""
    outputs = GpioOutputs({"lamp": OutputConfig(pin=17)}, factory)
    pin = factory.pin(17)
    assert (outputs.state("lamp"), bool(pin.state)) == (False, False)
    for to, expected in (("on", True), ("on", True), ("toggle", False), ("toggle", True), ("off", False)):
        assert outputs.switch("lamp", to) is expected  # type: ignore[arg-type]  # a literal from the table
        assert outputs.state("lamp") is expected
        assert bool(pin.state) is expected


def test_an_active_low_output_is_on_at_low_level(factory: Factory) -> None:
    """A relay board that switches on at low level starts off, at high level."""
    outputs = GpioOutputs({"heater": OutputConfig(pin=22, active_high=False)}, factory)
    pin = factory.pin(22)
    assert (outputs.state("heater"), bool(pin.state)) == (False, True)
    assert outputs.switch("heater", "on")
    assert not pin.state


def test_outputs_begin_in_their_initial_state_and_keep_the_order(factory: Factory) -> None:
    """`initial` holds from the start; names come as configured."""
    configured = {"lamp": OutputConfig(pin=17, initial=True), "fan": OutputConfig(pin=4), "bell": OutputConfig(pin=5)}
    outputs = GpioOutputs(configured, factory)
    assert outputs.names() == ("lamp", "fan", "bell")
    assert [outputs.state(name) for name in outputs.names()] == [True, False, False]


def test_without_gpio_the_answer_can_be_spoken() -> None:
    """Names are still known to the intents; the reason reads well aloud."""
    outputs = GpioOutputs({"lamp": OutputConfig(pin=17)}, None)
    assert outputs.names() == ("lamp",)
    with pytest.raises(DeviceError) as caught:
        outputs.switch("lamp", "on")
    assert (caught.value.device, caught.value.reason) == ("gpio", "this machine has no GPIO pins")
    outputs.close()


def test_an_unknown_output_is_refused(factory: Factory) -> None:
    """The name is in the message."""
    with pytest.raises(DeviceError, match="no output called 'lump'"):
        GpioOutputs({"lamp": OutputConfig(pin=17)}, factory).switch("lump", "on")


def test_a_busy_pin_names_output_and_pin_and_frees_the_others(factory: Factory) -> None:
    """All or nothing: what was claimed before is free again."""
    configured = {"fan": OutputConfig(pin=4), "lamp": OutputConfig(pin=17)}
    with OutputDevice(17, pin_factory=factory), pytest.raises(DeviceError, match=r"output 'lamp' on pin 17: "):
        GpioOutputs(configured, factory)
    GpioOutputs(configured, factory).close()


def test_a_pin_that_the_board_lacks_is_a_clear_error(factory: Factory) -> None:
    """BCM 53 exists on compute modules only."""
    with pytest.raises(DeviceError, match=r"output 'lamp' on pin 53: .*not a valid pin"):
        GpioOutputs({"lamp": OutputConfig(pin=53)}, factory)


def test_closing_frees_the_pins_and_may_be_repeated(factory: Factory) -> None:
    """The pins are inputs again; a later switch has no pins."""
    outputs = GpioOutputs({"lamp": OutputConfig(pin=17, initial=True)}, factory)
    pin = factory.pin(17)
    outputs.close()
    outputs.close()
    assert pin.function == "input"
    with pytest.raises(DeviceError):
        outputs.switch("lamp", "on")


def test_pins_that_stay_keep_their_level(factory: Factory) -> None:
    """One is added, one goes, one gets another name, one means the other level: what is on stays on throughout."""
    outputs = GpioOutputs(
        {name: OutputConfig(pin=pin) for name, pin in (("lamp", 5), ("fan", 6), ("bell", 7))}, factory
    )
    for name in outputs.names():
        outputs.switch(name, "on")
    after = {
        "light": OutputConfig(pin=5),
        "fan": OutputConfig(pin=6, active_high=False),
        "pump": OutputConfig(pin=8, initial=True),
    }
    outputs.change(after, factory)
    assert outputs.names() == ("light", "fan", "pump")
    assert [outputs.state(name) for name in outputs.names()] == [True, True, True]
    assert [bool(factory.pin(pin).state) for pin in (5, 6, 8)] == [True, False, True]
    OutputDevice(7, pin_factory=factory).close()  # it is free
    outputs.close()


def test_a_change_that_fails_changes_nothing(factory: Factory) -> None:
    """What was claimed for it is free again, and the outputs that there were are switched."""
    outputs = GpioOutputs({"lamp": OutputConfig(pin=5)}, factory)
    outputs.switch("lamp", "on")
    with OutputDevice(9, pin_factory=factory), pytest.raises(DeviceError, match="output 'pump' on pin 9"):
        outputs.change({"fan": OutputConfig(pin=6), "pump": OutputConfig(pin=9)}, factory)
    assert (outputs.names(), outputs.state("lamp")) == (("lamp",), True)
    OutputDevice(6, pin_factory=factory).close()
    outputs.close()


def test_another_board_frees_all_pins_first(factory: Factory) -> None:
    """Without one the names are known; with one again they are switched."""
    outputs = GpioOutputs({"lamp": OutputConfig(pin=5)}, factory)
    outputs.change({"lamp": OutputConfig(pin=5)}, None)
    OutputDevice(5, pin_factory=factory).close()
    with pytest.raises(DeviceError, match="no GPIO pins"):
        outputs.switch("lamp", "on")
    outputs.change({"lamp": OutputConfig(pin=5)}, factory)
    assert outputs.switch("lamp", "on")
    outputs.close()
