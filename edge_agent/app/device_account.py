"""What is known of a microphone or a speaker, and how often one says the same of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from edge_agent.events import DeviceState, DeviceStateChanged

if TYPE_CHECKING:
    from collections.abc import Callable

_REPEATED_AT_S = (5.0, 60.0, 600.0, 3600.0)
_REPEATED_EVERY_S = 6 * 3600.0
"""A device that is away for a week is so in some thirty lines of the log."""


class DeviceAccount:
    """The state of one device, since when, and why. Belongs to the loop.

    Attributes:
        name: The device, as far as it is known.
        state: How it is.
        reason: Why, in words with what to do; empty where all is well.
        reopened: How often it works again after it did not.
    """

    def __init__(
        self,
        device: Literal["microphone", "speaker"],
        state: DeviceState,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device: Literal["microphone", "speaker"] = device
        self._clock = clock
        self._since_s = clock()
        self.name = ""
        self.state = state
        self.reason = ""
        self.reopened = 0

    @property
    def for_s(self) -> float:
        """How long it has been in its state."""
        return self._clock() - self._since_s

    def enter(self, state: DeviceState, name: str, reason: str = "") -> DeviceStateChanged | None:
        """Note the state, and return the change if it is one."""
        self.name, self.reason = name, reason
        if state is self.state:
            return None
        change = DeviceStateChanged(self._device, name, state, self.state, reason, self.for_s)
        self.reopened += self.state.is_useless and not state.is_useless
        self.state, self._since_s = state, self._clock()
        return change


class Repetition:
    """Tells when to say the same again: after 5 s, a minute, ten, an hour, then four times a day. Pure."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._due_s = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether it was said at all."""
        return self._began_s is not None

    def is_due(self, now_s: float) -> bool:
        """Return whether to say it now; it then counts as said."""
        if self._began_s is None:
            self._began_s = now_s
        elif now_s < self._due_s:
            return False
        age_s = now_s - self._began_s
        later = (at_s for at_s in _REPEATED_AT_S if at_s > age_s)
        self._due_s = self._began_s + next(later, age_s + _REPEATED_EVERY_S)
        return True

    def reset(self) -> None:
        """What is said next is new."""
        self._began_s = None
