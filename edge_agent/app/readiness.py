"""What the service manager is told: when the service is ready, and in one plain line what it does at the moment.

READY=1 is sent when the engines are in memory, the language model included, and sound flows, or the first attempt at
the microphone has failed. A device without its microphone is no failed start: timers, button, typed questions and MQTT
work, `Listening` tries again for ever, and a manager that ran into its start timeout would kill and restart a service
that no restart can help, over and over. Such a service is ready, and its status begins with "deaf:".
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.runtime.pressure import Rung

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.agent import Agent
    from edge_agent.runtime.notify import Notifier
    from edge_agent.runtime.pressure import PressureState

_log = logging.getLogger(__name__)

_FRAMES = 10
"""Frames that prove that sound flows: 0.2 s of it."""
_LOOK_S = 0.25
_LOOK_READY_S = 1.0
_EXTEND_EVERY_S = 10.0
_EXTEND_BY_S = 60.0
_LONGEST_START_S = 900.0
"""The largest model loads from a slow card in less; from then on the manager's own timeout counts down."""


@dataclass(frozen=True, slots=True)
class View:
    """What a status line is made of.

    Attributes:
        microphone: Its name; empty while none is open.
        trouble: Why nothing usable is heard; empty while it is.
        is_warm: Whether the engines are in memory, the language model included.
        changing: What is being changed; empty while nothing is.
        broker: Its address, where one is configured and not reachable; else empty.
        pressure: What the device is short of; empty while it is not.
        verdict: Why the watchdog is not fed; empty while it is.
        notice: What the owner should know of the configuration.
    """

    microphone: str = ""
    trouble: str = ""
    is_muted: bool = False
    is_warm: bool = False
    changing: str = ""
    broker: str = ""
    pressure: str = ""
    verdict: str = ""
    notice: str = ""


def status_line(view: View) -> str:
    """Say it in one line, the most important first."""
    parts = [f"not alive: {view.verdict}"] if view.verdict else []
    if view.changing:
        parts.append(f"changing the configuration: {view.changing}")
    if view.trouble:
        parts.append(f"deaf: {view.trouble}")
    elif view.is_muted:
        parts.append(f"microphone muted: {view.microphone}" if view.microphone else "microphone muted")
    elif view.microphone:
        parts.append(f"listening on {view.microphone}")
    else:
        parts.append("opening the microphone")
    if not view.is_warm:
        parts.append("loading the language model")
    if view.broker:
        parts.append(f"broker {view.broker} not reachable")
    if view.pressure:
        parts.append(f"pressure {view.pressure}")
    if view.notice:
        parts.append(view.notice)
    return "; ".join(parts)


class Readiness:
    """Tells the service manager of starting, changing and ending, and keeps its status line true. Belongs to the loop.

    Args:
        notifier: The way to the service manager.
        verdict: Returns why the watchdog is not fed; empty while it is.

    Attributes:
        notice: What is said at the end of the status line; see `View`.
    """

    def __init__(self, notifier: Notifier, verdict: Callable[[], str] = lambda: "") -> None:
        self._notifier = notifier
        self._verdict = verdict
        self._agent: Agent | None = None
        self._changing = ""
        self._is_ready = self._is_ending = False
        self._told = ""
        self._began_s: float | None = None
        self._extended_s = 0.0
        self.notice = ""

    @property
    def is_ready(self) -> bool:
        """Whether the service manager was told so."""
        return self._is_ready

    def attend(self, agent: Agent) -> None:
        """The agent is there: its engines are loaded, but for the language model, which may take longer."""
        self._agent = agent
        agent.on_changing = self._change

    def end(self, why: str) -> None:
        """The service ends."""
        self._is_ending = True
        self._notifier.stopping(why)

    async def run_loop(self) -> None:
        """Look and tell until cancelled; returns at once where there is nobody to tell."""
        if not self._notifier.is_heard:
            return
        loop = asyncio.get_running_loop()
        self._began_s = self._began_s or loop.time()
        while not self._is_ending:
            self.look(loop.time())
            await asyncio.sleep(_LOOK_READY_S if self._is_ready else _LOOK_S)

    def look(self, now_s: float) -> None:
        """Tell what has changed; before the service is ready also that it takes longer."""
        agent = self._agent
        if agent is None:
            line = "loading recognizer, voice and wake word"
        else:
            line = status_line(self._view(agent))
            if not self._is_ready and agent.is_warm and (agent.trouble or agent.frames_heard >= _FRAMES):
                self._is_ready = self._notifier.ready(line)
                self._told = line if self._is_ready else ""
                if self._is_ready:
                    _log.info("ready: %s", line)
        if not self._is_ready and (agent is None or not agent.is_warm or self._began_s is None):
            self._ask_for_time(now_s)  # for loading; what keeps a warm agent from being ready is no matter of time
        if line != self._told and self._notifier.status(line):
            self._told = line

    def _ask_for_time(self, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = now_s
        is_due = not self._extended_s or now_s - self._extended_s >= _EXTEND_EVERY_S
        if is_due and now_s - self._began_s + _EXTEND_BY_S <= _LONGEST_START_S and self._notifier.extend(_EXTEND_BY_S):
            self._extended_s = now_s

    def _change(self, what: str) -> None:
        self._changing = what
        if not self._is_ready or self._is_ending or self._agent is None:
            return
        line = status_line(self._view(self._agent))
        was_sent = self._notifier.reloading(line) if what else self._notifier.ready(line)
        self._told = line if was_sent else ""

    def _view(self, agent: Agent) -> View:
        known, pressure = agent.book.describe(), agent.pressure
        broker = known["broker"] or {}
        return View(
            microphone=known["audio"]["microphone"] or "",
            trouble=agent.trouble,
            is_muted=known["muted"],
            is_warm=agent.is_warm,
            changing=self._changing,
            broker="" if agent.link_is_well() is not False else str(broker.get("broker", "")) or "of mqtt.host",
            pressure="" if pressure is None else _in_short(pressure),
            verdict=self._verdict(),
            notice=self.notice,
        )


def _in_short(pressure: PressureState) -> str:
    """Name the rung and what the device is short of; without the figures, which change all the time."""
    if pressure.rung is Rung.NORMAL:
        return ""
    short_of = dict.fromkeys(reason.replace(":", " ").split()[0] for reason in pressure.reasons if reason)
    return " ".join([pressure.rung.label, *([f"({', '.join(short_of)})"] if short_of else [])])
