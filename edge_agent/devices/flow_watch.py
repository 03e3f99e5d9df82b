"""Notices that a device delivers nothing any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import DeviceError, StalledDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.runtime.channel import Channel

T = TypeVar("T")

_SLACK_S = 1.0
"""What a busy loop may be late by."""
_AGAIN_S = 0.1


class FlowWatch:
    """Closes a channel that nothing comes through any more. Belongs to the loop.

    One timer that looks every second or so: a time-out around each frame costs more than all else that is done with it.

    Args:
        blocks: What is watched.
        name: The device that fills it.
        patience_s: How long it may take for the first to come.
        on_look: Is called when the first has come, and each time it has looked and all was well.

    Attributes:
        error: Why it was closed from here; None where it was not.
    """

    def __init__(self, blocks: Channel[T], name: str, patience_s: float, on_look: Callable[[], None]) -> None:
        self._blocks = blocks
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self._seen_s = self._loop.time()
        self._timer = self._loop.call_later(patience_s, self._look)
        self._on_look = on_look
        self.error: DeviceError | None = None

    @property
    def next_sign_s(self) -> float:
        """Time of the loop until which something comes, or the channel is closed."""
        return self._seen_s + self._patience_s + _SLACK_S

    def saw(self, patience_s: float) -> None:
        """Something came; the next may take `patience_s`."""
        self._seen_s = self._loop.time()
        if patience_s < self._patience_s:
            self._patience_s = patience_s
            self._timer.cancel()
            self._timer = self._loop.call_later(patience_s, self._look)
            self._on_look()

    def give_up(self, error: DeviceError) -> None:
        """Close it, for this reason; what is in it already is still had."""
        if self.error is None:
            self.error = error
        self._blocks.close()

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        left_s = self._seen_s + self._patience_s - self._loop.time()
        if left_s > 0 or len(self._blocks):  # what waits is only not taken
            self._timer = self._loop.call_later(max(left_s, _AGAIN_S), self._look)
            self._on_look()
        else:
            self.give_up(StalledDeviceError(self._name, self._patience_s))
