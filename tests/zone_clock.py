"""A clock in some zone of the world, whose time the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


class ZoneClock:
    """Starts when the local clock shows `local`; monotonic time starts at 1000 s."""

    def __init__(self, local: str, zone: str = "UTC") -> None:
        self.zone = ZoneInfo(zone)
        self._utc = datetime.fromisoformat(local).replace(tzinfo=self.zone).astimezone(UTC)
        self._monotonic_s = 1000.0

    def now(self) -> datetime:
        """The present moment in the zone."""
        return self._utc.astimezone(self.zone)

    def localize(self, local: datetime) -> datetime:
        """The instant, as the zone shows it."""
        return local.replace(tzinfo=self.zone).astimezone(UTC).astimezone(self.zone)

    def monotonic(self) -> float:
        """Seconds."""
        return self._monotonic_s

    def pass_time(self, seconds: float) -> None:
        """Let time go by."""
        self._utc += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._utc += timedelta(seconds=seconds)

    def restart(self) -> None:
        """The board booted again: monotonic time counts from the boot."""
        self._monotonic_s = 5.0
