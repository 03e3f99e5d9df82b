"""What the board says of itself, from /proc and /sys."""

from __future__ import annotations

import time
from pathlib import Path

_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_MEMORY = Path("/proc/meminfo")


class BoardStatus:
    """Uptime of the agent, temperature and memory of the board.

    Reads of /proc and /sys are in memory: no disk waits.
    """

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def uptime_s(self) -> float:
        """Seconds since the agent started."""
        return time.monotonic() - self._started_at

    def temperature_c(self) -> float | None:
        """Processor temperature; None where the board has no sensor."""
        try:
            return int(_TEMPERATURE.read_text()) / 1000
        except (OSError, ValueError):
            return None

    def memory_free_bytes(self) -> int | None:
        """Memory that programs can still have (MemAvailable); None where /proc does not say."""
        try:
            lines = _MEMORY.read_text().splitlines()
        except OSError:
            return None
        for line in lines:
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
        return None
