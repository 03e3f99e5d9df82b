"""Judges what a microphone delivers: sound, nothing but zeros, distorted sound, sound with holes. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.events import DeviceState

if TYPE_CHECKING:
    from edge_agent.devices.sound_tally import SoundTally

HARDWARE_SILENT_S = 10.0
"""A converter that works is never quiet to the last bit: its own noise is more. Zeros are a switch, or a defect."""
SERVER_SILENT_S = 60.0
"""A sound server gives exact zeros whenever nothing plays into what is listened to, as in the monitor of a sink."""
_LOOKS = 15
"""What is judged by: half a minute, at a look every two seconds."""
_FEWEST_LOOKS = 5
_CLIPPED, _CLIPPED_NO_MORE = 0.001, 0.0002
"""Shares of samples at full scale. 0.1 % of half a minute is 30 ms: no door that slams, and less than a sentence that
is spoken into a microphone whose gain is too high."""
_LOST_FRAMES = 25
"""Half a second in half a minute."""
_OFFSET = 0.05
"""Share of full scale, -26 dB: it takes away headroom, and hides quiet voices from whatever measures loudness."""


@dataclass(frozen=True, slots=True)
class _Look:
    looked_at: int
    clipped: int
    lost: int
    offset: float


class SoundWatch:
    """Judges by the last half minute, over as many openings of the device as there are in it.

    Args:
        silent_after_s: So much of nothing but zeros is no pause any more.
    """

    def __init__(self, silent_after_s: float) -> None:
        self.silent_after_s = silent_after_s
        self._looks: deque[_Look] = deque(maxlen=_LOOKS)
        self._silent_before_s = 0.0
        self._silent_s = 0.0
        self._seen = _Look(0, 0, 0, 0.0)
        self._clips = False

    @property
    def silent_s(self) -> float:
        """For how long nothing but zeros has come."""
        return self._silent_s

    @property
    def clipped_share(self) -> float:
        """Share of the samples of the last half minute that are at full scale."""
        looked_at = sum(look.looked_at for look in self._looks)
        return sum(look.clipped for look in self._looks) / looked_at if looked_at else 0.0

    @property
    def lost_frames(self) -> int:
        """Frames that were lost in the last half minute."""
        return sum(look.lost for look in self._looks)

    @property
    def offset(self) -> float:
        """Mean of the last half minute, as a share of full scale."""
        return sum(look.offset for look in self._looks) / len(self._looks) if self._looks else 0.0

    @property
    def has_offset(self) -> bool:
        """Whether the sound is shifted so far that it does harm."""
        return len(self._looks) == _LOOKS and abs(self.offset) > _OFFSET

    def reopened(self) -> None:
        """The device was opened anew: its counts begin at nothing, the zeros from before go on."""
        self._seen = _Look(0, 0, 0, 0.0)
        self._silent_before_s = self._silent_s

    def look(self, tally: SoundTally, lost_frames: int) -> DeviceState:
        """Return how the sound is, of what was counted since the device was opened; to be called every two seconds."""
        seen, self._seen = self._seen, _Look(tally.looked_at, tally.clipped, lost_frames, 0.0)
        self._looks.append(
            _Look(
                max(0, tally.looked_at - seen.looked_at),
                max(0, tally.clipped - seen.clipped),
                max(0, lost_frames - seen.lost),
                tally.offset,
            )
        )
        if tally.has_sounded:
            self._silent_before_s = 0.0
        self._silent_s = self._silent_before_s + tally.silent_s
        if self._silent_s >= self.silent_after_s:
            return DeviceState.SILENT
        if self._is_clipping():
            return DeviceState.CLIPPING
        return DeviceState.OVERFLOWING if self.lost_frames >= _LOST_FRAMES else DeviceState.FLOWING

    def _is_clipping(self) -> bool:
        share = self.clipped_share
        self._clips = share > (_CLIPPED_NO_MORE if self._clips else _CLIPPED) and len(self._looks) >= _FEWEST_LOOKS
        return self._clips
