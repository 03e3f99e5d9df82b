"""Whether a board was slowed down while it was measured: figures of a hot or a busy board hold for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.runtime.sensors import Throttled

if TYPE_CHECKING:
    from edge_agent.runtime.sensors import Reading

_NOW = {
    Throttled.UNDER_VOLTAGE: "the voltage was too low: use the power supply that belongs to the board",
    Throttled.FREQUENCY_CAPPED: "the firmware capped the clock",
    Throttled.THROTTLED: "the firmware throttled the processor",
    Throttled.SOFT_TEMPERATURE_LIMIT: "the firmware's temperature limit was reached: cool the board",
}
_BUSY_PERCENT = 20.0
_BUSY_LOAD = 0.5


class HeatWatch:
    """Is shown readings, and keeps what was wrong with any of them.

    Args:
        hot_c: Temperature from which the agent itself takes cores away (`pressure.hot_c`).
        before: A reading from before anything was measured: whether others use the processor can only be told by it.
    """

    def __init__(self, hot_c: float, before: Reading) -> None:
        self._hot_c = hot_c
        self._reasons: dict[str, None] = {}
        if (before.cpu_stall_percent or 0.0) > _BUSY_PERCENT or (before.load_per_core or 0.0) > _BUSY_LOAD:
            self._reasons["other programs used the processor: end them"] = None
        self.hottest_c: float | None = None

    @property
    def tainted(self) -> tuple[str, ...]:
        """Why the figures are not to be trusted."""
        return tuple(self._reasons)

    def look(self, reading: Reading) -> None:
        """Take a reading that was made just after something was measured."""
        for flag, reason in _NOW.items():
            if reading.throttled is not None and flag in reading.throttled:
                self._reasons[reason] = None
        temperature_c = reading.temperature_c
        if temperature_c is None:
            return
        self.hottest_c = max(temperature_c, self.hottest_c or temperature_c)
        limit_c = min(self._hot_c, reading.soft_limit_c or self._hot_c)
        if temperature_c >= limit_c:
            self._reasons[f"it was {limit_c:.0f} °C hot or hotter: cool the board"] = None
