"""The button: levels to events, and edges from another thread to the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from gpiozero import Factory, OutputDevice

from edge_agent.config.audio import ButtonConfig
from edge_agent.devices.button import ButtonEvent, PressDetector, TalkButton
from edge_agent.devices.pins import open_pin_factory
from edge_agent.errors import DeviceError

PRESSED, RELEASED, HELD = ButtonEvent.PRESSED, ButtonEvent.RELEASED, ButtonEvent.HELD
LONG_S = 10.0


@pytest.fixture
def factory() -> Iterator[Factory]:
    """A simulated board."""
    board = open_pin_factory("simulated")
    assert board is not None
    with board:
        yield board


def events_of(levels: str, *, bounce_s: float = 0.05, hold_s: float = 1.0) -> list[tuple[float, ButtonEvent]]:
    """Play a level diagram, 10 ms a character (# is down), and return the events with their times."""
    detector = PressDetector(bounce_s=bounce_s, hold_s=hold_s, down=levels[0] == "#")
    events: list[tuple[float, ButtonEvent]] = []
    before = levels[0]
    for step, level in enumerate(levels):
        now_s = step / 100
        found = detector.change(down=level == "#", now_s=now_s) if level != before else detector.pass_time(now_s)
        events += [(now_s, event) for event in found]
        before = level
    return events


def test_a_short_press_is_pressed_then_released() -> None:
    """Both are told at once, without waiting for the contacts to settle."""
    assert events_of("..##########....") == [(0.02, PRESSED), (0.12, RELEASED)]


def test_bounce_is_ignored_on_both_edges() -> None:
    """Only the first edge of each burst counts."""
    assert events_of("..#.#.########.#.#........") == [(0.02, PRESSED), (0.14, RELEASED)]


def test_a_press_shorter_than_the_bounce_is_released_when_it_settled() -> None:
    """Nothing stays pressed for ever: the level found after the bounce is believed."""
    assert events_of("..#.........") == [(0.02, PRESSED), (0.07, RELEASED)]


def test_a_hold_is_told_once_and_then_its_release() -> None:
    """After `hold_s` comes held; what letting go means then is for the listener to say."""
    assert events_of("." + "#" * 250 + "." * 20) == [(0.01, PRESSED), (1.01, HELD), (2.51, RELEASED)]


def test_the_press_after_a_hold_is_an_ordinary_one() -> None:
    """A hold leaves no trace."""
    events = events_of("." + "#" * 120 + "." * 20 + "#" * 20 + "." * 20)
    assert [event for _, event in events] == [PRESSED, HELD, RELEASED, PRESSED, RELEASED]


def test_a_button_that_is_down_at_start_counts_from_its_next_press() -> None:
    """A stuck or wrongly wired button neither talks nor mutes."""
    assert events_of("#" * 150 + "." * 10 + "#" * 10 + "." * 10) == [(1.6, PRESSED), (1.7, RELEASED)]


def test_a_late_loop_tells_what_was_due_in_order() -> None:
    """Time that passed unseen is caught up with: first the hold, then the release."""
    detector = PressDetector(bounce_s=0.05, hold_s=1.0)
    assert detector.change(down=True, now_s=0.0) == [PRESSED]
    assert detector.change(down=False, now_s=5.0) == [HELD, RELEASED]
    assert detector.pass_time(9.0) == []
    assert detector.deadline is None


async def next_of(button: TalkButton, count: int) -> list[ButtonEvent]:
    """Return the next events."""
    events = button.events()
    async with asyncio.timeout(LONG_S):
        return [await anext(events) for _ in range(count)]


async def from_another_thread(call: object) -> None:
    """Do as the driver does: call from a thread that is not the loop's."""
    thread = threading.Thread(target=call)  # type: ignore[arg-type]  # a pin's method
    thread.start()
    while thread.is_alive():  # noqa: ASYNC110 - a thread has no event to wait for
        await asyncio.sleep(0.001)


async def test_edges_from_the_drivers_thread_reach_the_loop(factory: Factory) -> None:
    """Down is low level: the button pulls the pin to ground."""
    config = ButtonConfig(pin=23, hold_s=LONG_S, bounce_s=0)
    async with TalkButton(config, factory) as button:
        pin = factory.pin(23)
        assert pin.pull == "up"
        await from_another_thread(pin.drive_low)
        await from_another_thread(pin.drive_high)
        assert await next_of(button, 2) == [PRESSED, RELEASED]


async def test_a_hold_comes_by_itself(factory: Factory) -> None:
    """Nothing but time has to pass; the release follows."""
    async with TalkButton(ButtonConfig(pin=23, hold_s=0.02, bounce_s=0), factory) as button:
        pin = factory.pin(23)
        pin.drive_low()
        assert await next_of(button, 2) == [PRESSED, HELD]
        pin.drive_high()
        pin.drive_low()
        assert await next_of(button, 2) == [RELEASED, PRESSED]


async def test_a_reader_that_sleeps_costs_no_memory(factory: Factory) -> None:
    """Of a hundred presses nobody reads, the newest few are kept."""
    async with TalkButton(ButtonConfig(pin=23, hold_s=LONG_S, bounce_s=0), factory) as button:
        pin = factory.pin(23)
        for _ in range(100):
            pin.drive_low()
            pin.drive_high()
        await asyncio.sleep(0)
    waiting = [event async for event in button.events()]
    assert waiting == [PRESSED, RELEASED] * 8


async def test_closing_ends_the_events_frees_the_pin_and_leaves_no_thread(factory: Factory) -> None:
    """A hold that was under way is forgotten."""
    threads_before = set(threading.enumerate())
    async with TalkButton(ButtonConfig(pin=23, hold_s=0.02, bounce_s=0), factory) as button:
        factory.pin(23).drive_low()
        assert await next_of(button, 1) == [PRESSED]
    assert [event async for event in button.events()] == []
    assert set(threading.enumerate()) <= threads_before
    OutputDevice(23, pin_factory=factory).close()


async def test_a_busy_pin_is_a_clear_error(factory: Factory) -> None:
    """The key and the pin are named."""
    with OutputDevice(23, pin_factory=factory), pytest.raises(DeviceError, match=r"gpio\.button on pin 23: "):
        async with TalkButton(ButtonConfig(pin=23), factory):
            pass
