"""Push to talk, hold to mute: one button between a pin and ground."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from edge_agent.devices.pins import claiming
from edge_agent.runtime.channel import Channel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from gpiozero import DigitalInputDevice, Factory

    from edge_agent.config.audio import ButtonConfig

_MOST_WAITING = 16
"""Events that may wait for a reader; older ones are dropped then: nobody wants yesterday's presses answered."""


class ButtonEvent(StrEnum):
    """What the user did with the button."""

    PRESSED = "pressed"
    RELEASED = "released"
    HELD = "held"


class PressDetector:
    """Levels to events, on no clock of its own.

        level    ▁▁▁█▁█████▁█▁▁▁▁▁▁▁▁▁▁▁▁▁██████████████████▁▁▁
        events      pressed  released     pressed    held     released

    A change is believed at once; those in the `bounce_s` after it are not, and the level found then is.

    Args:
        bounce_s: How long contacts bounce.
        hold_s: Held this long, a press becomes a hold.
        down: The level at the beginning; a button that is down then is ignored until it was let go.
    """

    def __init__(self, *, bounce_s: float, hold_s: float, down: bool = False) -> None:
        self._bounce_s = bounce_s
        self._hold_s = hold_s
        self._level = down
        self._down = down
        self._settles_at: float | None = None
        self._held_at: float | None = None
        self._release_counts = False

    @property
    def deadline(self) -> float | None:
        """When `pass_time` has to be called next, if nothing else happens; None for never."""
        return min((at for at in (self._settles_at, self._held_at) if at is not None), default=None)

    def change(self, *, down: bool, now_s: float) -> list[ButtonEvent]:
        """Take a change of level and return the events that it makes."""
        events = self.pass_time(now_s)
        self._level = down
        return events + self._believe(now_s)

    def pass_time(self, now_s: float) -> list[ButtonEvent]:
        """Return the events that were due until now, in their order."""
        events: list[ButtonEvent] = []
        while (due_at := self.deadline) is not None and due_at <= now_s:
            if due_at == self._settles_at:
                self._settles_at = None
                events += self._believe(due_at)
            else:
                self._held_at = None
                events.append(ButtonEvent.HELD)
        return events

    def _believe(self, now_s: float) -> list[ButtonEvent]:
        if self._settles_at is not None or self._level == self._down:
            return []
        self._down = self._level
        self._settles_at = now_s + self._bounce_s
        if self._down:
            self._held_at = now_s + self._hold_s
            self._release_counts = True
            return [ButtonEvent.PRESSED]
        self._held_at = None
        return [ButtonEvent.RELEASED] if self._release_counts else []


class TalkButton:
    """The button; use as `async with`, then iterate over `events()`.

    The driver's thread reaches the loop by `call_soon_threadsafe` alone. Nothing is polled and no thread is started.
    """

    def __init__(self, config: ButtonConfig, factory: Factory) -> None:
        self._config = config
        self._factory = factory
        self._channel: Channel[ButtonEvent] = Channel(_MOST_WAITING, on_full="drop_oldest")
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Claim the pin.

        Raises:
            DeviceError: The pin is busy or does not exist.
        """
        from gpiozero import DigitalInputDevice

        self._loop = asyncio.get_running_loop()
        with claiming("gpio.button", self._config.pin):
            device = DigitalInputDevice(self._config.pin, pull_up=True, pin_factory=self._factory)
        self._device: DigitalInputDevice = device
        self._detector = PressDetector(
            bounce_s=self._config.bounce_s, hold_s=self._config.hold_s, down=bool(device.is_active)
        )
        device.when_activated = self._tell_down
        device.when_deactivated = self._tell_up
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the pin; `events` ends."""
        self._device.close()
        if self._timer is not None:
            self._timer.cancel()
        self._channel.close()

    def events(self) -> AsyncIterator[ButtonEvent]:
        """Iterate over what the user does, until the button is closed. For one reader."""
        return aiter(self._channel)

    # The driver's thread calls these two.

    def _tell_down(self) -> None:
        self._loop.call_soon_threadsafe(self._change, True, time.monotonic())  # noqa: FBT003 - call_soon has no keywords

    def _tell_up(self) -> None:
        self._loop.call_soon_threadsafe(self._change, False, time.monotonic())  # noqa: FBT003

    def _change(self, down: bool, now_s: float) -> None:
        self._report(self._detector.change(down=down, now_s=now_s))

    def _pass_time(self) -> None:
        self._report(self._detector.pass_time(time.monotonic()))

    def _report(self, events: list[ButtonEvent]) -> None:
        for event in events:
            self._channel.offer(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._detector.deadline
        if deadline is not None and not self._channel.closed:
            self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._pass_time)
