"""What an intent will probably answer, found out on copies: nothing is switched, set or said by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import DeviceError
from edge_agent.reason.actions import Actor, Control
from edge_agent.reason.alarms import AlarmBook
from edge_agent.reason.bell import Bell
from edge_agent.reason.timers import TimerBook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reason.ports import Clock, Outputs, Recognized, Status, Switch, Volume
    from edge_agent.reason.templates import IntentSet

_KNOWABLE = frozenset({Control.NONE, Control.MUTE, Control.UNMUTE, Control.STOP})


class _ImaginedOutputs:
    """Outputs that would do what they are told; what a toggle comes to nobody knows."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def names(self) -> Sequence[str]:
        return self._outputs.names()

    def switch(self, name: str, to: Switch) -> bool:
        if to == "toggle" or name not in self._outputs.names():
            raise DeviceError(name, "is not tried")
        return to == "on"


class _ImaginedVolume:
    """A volume as it is now, which can be changed without anyone hearing it."""

    def __init__(self, volume: Volume) -> None:
        self.percent = volume.percent
        self.muted = volume.muted

    def set_percent(self, percent: int) -> None:
        self.percent = percent

    def set_muted(self, muted: bool) -> None:
        self.muted = muted


class Rehearsal:
    """Performs intents on copies of what they would change. A few tenths of a millisecond; belongs to the loop.

    So the reply can be rendered while it is not certain yet that the person has finished. Where the real reply turns
    out another one, a minute later or because a device said no, that one is rendered and spoken.
    """

    def __init__(
        self, intents: IntentSet, bell: Bell, *, clock: Clock, outputs: Outputs, volume: Volume, status: Status
    ) -> None:
        self._intents = intents
        self._bell = bell
        self._clock = clock
        self._outputs = outputs
        self._volume = volume
        self._status = status

    def __call__(self, match: Recognized) -> str | None:
        """Return the reply's text; None where it can't be known beforehand, or is empty."""
        timers, alarms = TimerBook(self._clock, timers=self._bell.timers.timers), AlarmBook(self._clock)
        alarms.restore(self._bell.alarms.alarms)
        actor = Actor(
            self._intents,
            clock=self._clock,
            outputs=_ImaginedOutputs(self._outputs),
            volume=_ImaginedVolume(self._volume),
            status=self._status,
            timers=timers,
            bell=Bell(self._clock, timers, alarms, self._bell.times),
        )
        reply = actor.perform(match)
        return reply.text or None if reply.control in _KNOWABLE else None
