"""Timers and alarms that ring: announced again and again until somebody reacts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.actions import Actor
    from edge_agent.reason.ports import Clock

REACTIONS = frozenset(("Stop", "NeverMind", "CancelTimer", "CancelAlarm", "Snooze"))
"""Whoever says one of these has noticed."""


class Announcer(Protocol):
    """Speaks unasked; the runner."""

    def announce(self, text: str, *, alert: bool = False) -> None:
        """Say `text` as a turn of its own; an `alert` begins with a tone, and is answered without the wake word."""
        ...

    async def rested(self) -> None:
        """Wait until no turn is going on."""
        ...


class Ringing(SilentObserver):
    """Watches clock and turns for what rings. Belongs to the loop.

    Args:
        actor: Has the bell, and the words.
        clock: The bell's clock.
        repeat_s: Silence before an announcement is repeated.
    """

    def __init__(self, actor: Actor, clock: Clock, *, repeat_s: float) -> None:
        self._actor = actor
        self._bell = actor.bell
        self._clock = clock
        self._repeat_s = repeat_s
        self._again_at_s = 0.0
        self._tells_missed = False
        self._changed = asyncio.Event()

    def configure(self, actor: Actor, *, repeat_s: float) -> None:
        """Announce in the words of `actor`, whose bell is the same, and so often, from now on."""
        self._actor = actor
        self._repeat_s = repeat_s

    def changed(self) -> None:
        """Look again: a timer or an alarm changed."""
        self._changed.set()

    async def ring_loop(self, announcer: Announcer) -> None:
        """Announce what falls due, and what was missed once somebody is there to hear it."""
        while True:
            self._changed.clear()
            if self._is_time():
                await announcer.rested()
                self._bell.look()  # whoever spoke meanwhile may have reacted
                if ringing := self._bell.ringing:
                    announcer.announce(self._actor.announce(*ringing), alert=True)
                    await announcer.rested()
                self._again_at_s = self._clock.monotonic() + self._repeat_s
            elif self._tells_missed and not self._bell.ringing:
                self._tells_missed = False
                await announcer.rested()
                if text := self._actor.tell_missed():
                    announcer.announce(text)
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def turn_ended(self, report: TurnReport) -> None:
        """Notice a reaction: an alert was cut off, by whatever, or somebody said something that stops it."""
        if report.alert:
            if report.interrupted:
                self._bell.stop()
        elif report.heard is not None:
            if report.intent in REACTIONS:
                self._bell.stop()
            self._bell.utterance_over()
            # Noise is heard as nothing, and nobody may be there.
            self._tells_missed = self._tells_missed or (self._bell.has_missed and bool(report.heard))
        self._changed.set()

    def _is_time(self) -> bool:
        """Whether something rings that was not announced, or not for a while."""
        is_new = self._bell.look()
        return is_new or (bool(self._bell.ringing) and self._clock.monotonic() >= self._again_at_s)

    def _wait_s(self) -> float | None:
        wait_s = self._bell.next_look_s()
        if self._bell.ringing and wait_s is not None:
            wait_s = min(wait_s, max(0.0, self._again_at_s - self._clock.monotonic()))
        return wait_s
