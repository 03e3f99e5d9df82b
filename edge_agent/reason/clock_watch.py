"""Notices that the wall clock was set: by hand, or by NTP on a board without a clock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.reason.ports import Clock

LEAST_STEP_S = 2.0
"""Less is a clock that is being slewed, or two readings that are not made at once."""


class ClockWatch:
    """Compares the wall clock with monotonic time. Pure: it looks when it is asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = self._now_s()

    def step_s(self) -> float:
        """Return by how much the wall clock was set forward since it was last asked; 0 where that is not worth it.

        Small changes add up until they are.
        """
        step_s = self._now_s() - self._offset_s
        if abs(step_s) <= LEAST_STEP_S:
            return 0.0
        self._offset_s += step_s
        return step_s

    def _now_s(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
