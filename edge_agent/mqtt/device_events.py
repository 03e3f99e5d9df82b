"""Events of microphone and speaker, such as `microphone_lost` and `speaker_back`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.events import DeviceState
from edge_agent.runtime.rates import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.events import DeviceStateChanged

_BURST = 10
_PER_S = 1 / 120
"""A plug with a loose contact comes and goes for ever; the status says how it is now."""
_NAMES = {
    DeviceState.STALLED: "lost",
    DeviceState.ABSENT: "lost",
    DeviceState.SILENT: "silent",
    DeviceState.CLIPPING: "clipping",
    DeviceState.OVERFLOWING: "overflowing",
}
_WELL = "back"


class DeviceEvents:
    """Makes events of changes, as many as are worth it. Belongs to the loop.

    Args:
        record: Takes an event's name and data.
        clean: Takes out of a reason what must not leave the device.
        clock: Seconds.
    """

    def __init__(
        self,
        record: Callable[[str, Mapping[str, Any]], None],
        clean: Callable[[str], str],
        clock: Callable[[], float],
    ) -> None:
        self._record = record
        self._clean = clean
        self._rates = RateLimiter("device events", _BURST, _PER_S, 2, clock)
        self._held_back: dict[str, int] = {}

    def tell(self, change: DeviceStateChanged) -> None:
        """Hand over that a device fails, or works again; not that it works for the first time."""
        is_well = change.state in {DeviceState.FLOWING, DeviceState.READY}
        if not change.state.is_trouble and not (is_well and change.before.is_trouble):
            return
        if not self._rates.allow(change.device):
            self._held_back[change.device] = self._held_back.get(change.device, 0) + 1
            return
        self._record(
            f"{change.device}_{_NAMES.get(change.state, _WELL)}",
            {
                "device": change.name,
                "state": change.state.value,
                "before": change.before.value,
                "lasted_s": round(change.lasted_s, 1),
                "reason": self._clean(change.reason),
                "held_back": self._held_back.pop(change.device, 0),
            },
        )
