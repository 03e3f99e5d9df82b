"""Who wants to know what the conversation is doing: console, JSON lines, light, later MQTT."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.events import DeviceStateChanged
    from edge_agent.pipeline.commands import State
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.runtime.pressure import PressureState


_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Called on the loop, in order; must not block."""

    def state_changed(self, state: State, *, muted: bool) -> None:
        """The agent went over to another state."""
        ...

    def partial_heard(self, turn_id: int, text: str) -> None:
        """The transcript so far of the utterance being spoken."""
        ...

    def heard(self, report: TurnReport) -> None:
        """The final transcript and its endpoint are in the report."""
        ...

    def sentence_ready(self, turn_id: int, sentence: str) -> None:
        """One sentence of the reply is about to be synthesized."""
        ...

    def turn_ended(self, report: TurnReport) -> None:
        """The turn is over; the report is complete."""
        ...

    def fault(self, message: str) -> None:
        """Something failed and the conversation goes on without it."""
        ...

    def pressure_changed(self, pressure: PressureState) -> None:
        """The device can afford less, or more again."""
        ...

    def device_changed(self, change: DeviceStateChanged) -> None:
        """The microphone or the speaker failed, or works again."""
        ...


class SilentObserver:
    """Does nothing; for observers that care for a part only."""

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Do nothing."""

    def partial_heard(self, turn_id: int, text: str) -> None:
        """Do nothing."""

    def heard(self, report: TurnReport) -> None:
        """Do nothing."""

    def sentence_ready(self, turn_id: int, sentence: str) -> None:
        """Do nothing."""

    def turn_ended(self, report: TurnReport) -> None:
        """Do nothing."""

    def fault(self, message: str) -> None:
        """Do nothing."""

    def pressure_changed(self, pressure: PressureState) -> None:
        """Do nothing."""

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Do nothing."""


class Observers:
    """Passes everything on to several observers, in order. A defect of one costs neither the others nor the turn."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.state_changed(state, muted=muted))

    def partial_heard(self, turn_id: int, text: str) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.partial_heard(turn_id, text))

    def heard(self, report: TurnReport) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.heard(report))

    def sentence_ready(self, turn_id: int, sentence: str) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.sentence_ready(turn_id, sentence))

    def turn_ended(self, report: TurnReport) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.turn_ended(report))

    def fault(self, message: str) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.fault(message))

    def pressure_changed(self, pressure: PressureState) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.pressure_changed(pressure))

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Pass on."""
        self._pass_on(lambda observer: observer.device_changed(change))

    def _pass_on(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except OSError:
                raise  # standard output is gone: the command ends, and says so
            except Exception:  # noqa: BLE001 - to isolate them is the point here; the traceback is in the log
                _log.exception("%s failed, and is passed over this once", type(observer).__name__)
