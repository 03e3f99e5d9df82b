"""The state light: what its patterns look like, and that they are played."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from itertools import combinations

import pytest
from gpiozero import Factory, OutputDevice, PinError
from gpiozero.pins.mock import MockFactory, MockPin

from edge_agent.config.audio import LightConfig
from edge_agent.devices.light import FAULT, MUTED, STATE_PATTERNS, Pattern, StateLight, pattern_of
from edge_agent.devices.pins import open_pin_factory
from edge_agent.errors import DeviceError
from edge_agent.pipeline.commands import State

LONG_S = 10.0
SINGLE = LightConfig(pin=24)


@pytest.fixture
def factory() -> Iterator[Factory]:
    """A simulated board; its pins can be dimmed."""
    board = open_pin_factory("simulated")
    assert board is not None
    with board:
        yield board


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for a long time at the most."""
    async with asyncio.timeout(LONG_S):
        while not condition():  # noqa: ASYNC110 - pins have no event to wait for
            await asyncio.sleep(0.001)


def flashes_per_s(pattern: Pattern) -> float:
    """Return how often the light comes on in a second."""
    levels = [level > 0 for level, _ in pattern.steps]
    rises = sum(1 for before, now in zip([levels[-1], *levels], levels, strict=False) if now and not before)
    return rises / sum(duration_s for _, duration_s in pattern.steps)


def seen(pattern: Pattern) -> tuple[float, float, float]:
    """Return what tells patterns apart on a LED of one colour: mean level, flashes a second, share of the time lit."""
    total_s = sum(duration_s for _, duration_s in pattern.steps)
    mean = sum(level * duration_s for level, duration_s in pattern.steps) / total_s
    lit = sum(duration_s for level, duration_s in pattern.steps if level > 0) / total_s
    return round(mean, 2), round(flashes_per_s(pattern), 2), round(lit, 2)


def test_every_state_has_a_pattern() -> None:
    """A new state of the pipeline fails here, not on the device."""
    assert set(STATE_PATTERNS) == {state.value for state in State}


def test_patterns_differ_on_a_led_of_one_colour() -> None:
    """Any two differ in brightness by a half or more, or in rhythm by a factor of two or more."""
    for one, other in combinations([*STATE_PATTERNS.values(), MUTED, FAULT], 2):
        (mean_a, rate_a, _), (mean_b, rate_b, _) = seen(one), seen(other)
        slow, fast = sorted((rate_a, rate_b))
        assert abs(mean_a - mean_b) >= 0.25 or fast >= 2 * slow > 0 or (slow == 0 and fast > 0), (one, other)


def test_the_figures_of_the_patterns() -> None:
    """Dark, dim, bright, fast blink, slow pulse, double blink, rapid flicker."""
    assert {name: seen(pattern) for name, pattern in STATE_PATTERNS.items()} == {
        "idle": (0.0, 0.0, 0.0),
        "listening": (0.25, 0.0, 1.0),
        "hearing": (1.0, 0.0, 1.0),
        "thinking": (0.5, 3.33, 0.5),
        "speaking": (0.5, 0.5, 0.98),
    }
    assert seen(MUTED) == (0.12, 1.0, 0.12)
    assert seen(FAULT) == (0.5, 10.0, 0.5)


def test_levels_and_durations_are_in_range() -> None:
    """Pattern data can't make the driver fail or the task spin."""
    for pattern in (*STATE_PATTERNS.values(), MUTED, FAULT):
        assert all(0 <= level <= 1 and duration_s >= 0.02 for level, duration_s in pattern.steps)
        assert all(0 <= part <= 1 for part in pattern.colour)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("idle", MUTED), ("listening", MUTED), ("hearing", MUTED), ("thinking", None), ("speaking", None)],
)
def test_a_mute_is_shown_while_nothing_is_answered(state: str, expected: Pattern | None) -> None:
    """An answer that is being given is finished and shown, though the microphone is muted already."""
    assert pattern_of(state, muted=True) is (expected or STATE_PATTERNS[state])
    assert pattern_of(state, muted=False) is STATE_PATTERNS[state]


async def test_steady_states_are_dim_and_bright(factory: Factory) -> None:
    """Listening is dim, hearing bright, idle dark."""
    async with StateLight(SINGLE, factory) as light:
        pin = factory.pin(24)
        for state, level in (("listening", 0.25), ("hearing", 1.0), ("idle", 0.0)):
            light.show(state, muted=False)
            await until(lambda level=level: pin.state == level)  # type: ignore[misc]  # bound in the loop


async def test_a_blink_goes_on_and_off_again_and_again(factory: Factory) -> None:
    """Thinking: levels alternate for as long as it is shown."""
    async with StateLight(SINGLE, factory) as light:
        pin = factory.pin(24)
        light.show("thinking", muted=False)
        await until(lambda: len(pin.states) >= 5)
        assert [state.state for state in pin.states[1:5]] == [1.0, 0.0, 1.0, 0.0]


async def test_a_pulse_is_dimmed_up_and_down(factory: Factory) -> None:
    """Speaking: levels between dark and bright."""
    async with StateLight(SINGLE, factory) as light:
        pin = factory.pin(24)
        light.show("speaking", muted=False)
        await until(lambda: len(pin.states) >= 4)
        levels = [state.state for state in pin.states[1:4]]
        assert levels == [level for level, _ in STATE_PATTERNS["speaking"].steps[1:4]]


async def test_a_fault_flickers_then_the_state_comes_back(factory: Factory) -> None:
    """A state shown meanwhile waits for the fault to be seen."""
    async with StateLight(SINGLE, factory, fault_s=0.2) as light:
        pin = factory.pin(24)
        light.show("listening", muted=False)
        await until(lambda: pin.state == 0.25)
        light.show_fault()
        light.show("hearing", muted=False)
        light.show("listening", muted=False)
        await until(lambda: len(pin.states) >= 4)
        await until(lambda: pin.state == 0.25)
        levels = [state.state for state in pin.states]
        assert levels[:4] == [0.0, 0.25, 1.0, 0.0]
        assert levels[-1] == 0.25


async def test_three_leds_show_the_colour(factory: Factory) -> None:
    """Hearing is green, whatever was before."""
    async with StateLight(LightConfig(rgb_pins=(5, 6, 13)), factory) as light:
        light.show("hearing", muted=False)
        await until(lambda: [factory.pin(number).state for number in (5, 6, 13)] == [0.0, 1.0, 0.0])
        light.show("listening", muted=False)
        await until(lambda: [factory.pin(number).state for number in (5, 6, 13)] == [0.0, 0.0, 0.25])


async def test_pins_that_can_not_be_dimmed_are_switched() -> None:
    """Without PWM the dim light is on."""
    with MockFactory(revision="a02082", pin_class=MockPin) as factory:
        async with StateLight(SINGLE, factory) as light:
            pin = factory.pin(24)
            light.show("listening", muted=False)
            await until(lambda: pin.state is True)


@pytest.mark.parametrize("config", [None, SINGLE])
async def test_without_config_or_gpio_nothing_happens(config: LightConfig | None, factory: Factory) -> None:
    """Neither is an error."""
    async with StateLight(config, None if config else factory) as light:
        light.show("hearing", muted=False)
        light.show_fault()
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "light"] == []


async def test_leaving_switches_off_and_leaves_no_task_and_no_thread(factory: Factory) -> None:
    """The pins are free again."""
    threads_before = set(threading.enumerate())
    async with StateLight(SINGLE, factory) as light:
        pin = factory.pin(24)
        light.show("thinking", muted=False)
        await until(lambda: pin.state == 1.0)
    assert pin.state == 0
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "light"] == []
    assert set(threading.enumerate()) <= threads_before
    OutputDevice(24, pin_factory=factory).close()


async def test_a_busy_pin_is_a_clear_error_and_frees_the_others(factory: Factory) -> None:
    """Of three pins two were claimed already."""
    with OutputDevice(13, pin_factory=factory), pytest.raises(DeviceError, match=r"gpio\.light on pin 13: "):
        async with StateLight(LightConfig(rgb_pins=(5, 6, 13)), factory):
            pass
    OutputDevice(5, pin_factory=factory).close()


async def test_a_pin_that_fails_later_is_logged_and_harms_nobody(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The light stops; the conversation goes on."""
    async with StateLight(SINGLE, factory) as light:
        pin = factory.pin(24)

        def fail(value: float) -> None:
            raise PinError("gone")

        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(pin, "_set_state", fail)
            light.show("hearing", muted=False)
            await until(lambda: bool(caplog.records))
        light.show("idle", muted=False)
    assert caplog.records[0].getMessage() == "gpio: gpio.light on pin 24: gone; the light stays as it is"
