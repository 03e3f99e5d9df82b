"""How late the loop is: the time that anything ready has to wait for its turn."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NoReturn

from edge_agent.runtime.histogram import RecentHistogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_WINDOW_S = 60.0


class LoopLag:
    """Sleeps `every_s` over and over and measures how much later it wakes. Belongs to the loop's thread.

    Args:
        every_s: Between two measurements; four a second cost nothing that can be seen.
        clock: Seconds that never jump; not the loop's own, which stands still while a callback runs.
        sleep: Waits that long on the same clock.
    """

    def __init__(
        self,
        every_s: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._sleep = sleep
        self._recent = RecentHistogram(_WINDOW_S)
        self._measured_s = 0.0
        self._due_s: float | None = None

    async def watch_loop(self) -> NoReturn:
        """Measure until cancelled."""
        try:
            while True:
                self._due_s = self._clock() + self._every_s
                await self._sleep(self._every_s)
                now_s = self._clock()
                self._measured_s = max(0.0, now_s - self._due_s)
                self._recent.add(self._measured_s, now_s)
        finally:
            self._due_s = None

    @property
    def latest_s(self) -> float:
        """Lateness of the last waking, or of the one that is overdue where that is more; 0 before the first."""
        overdue_s = 0.0 if self._due_s is None else self._clock() - self._due_s
        return max(self._measured_s, overdue_s)

    @property
    def p99_s(self) -> float | None:
        """Lateness that 99 of 100 wakings of the last one to two minutes did not exceed; None before the first."""
        return self._recent.percentile(0.99)
