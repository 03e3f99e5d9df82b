"""The device's clock and time zone."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class LocalClock:
    """Local time by the C library's rules, and monotonic time.

    The zone is looked at anew each time (`tzset`), so that a device that travels, or whose zone is set while the agent
    runs, needs no restart.
    """

    def now(self) -> datetime:
        """Return the present moment, aware, in the local zone."""
        time.tzset()
        return datetime.now().astimezone()

    def localize(self, local: datetime) -> datetime:
        """Return the instant at which the local clock shows `local`, which is naive."""
        time.tzset()
        # Not local.astimezone(): of a time that is skipped, CPython takes the offset from behind the gap there.
        return datetime.fromtimestamp(local.timestamp(), UTC).astimezone()

    def monotonic(self) -> float:
        """Return seconds that never jump and that go on while the system is suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
