"""Timers that ring: waits for the next one and has it announced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from edge_agent.app.brain import Brain
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.pipeline.run import Runner
    from edge_agent.pipeline.turn import State


class Ringing(SilentObserver):
    """Observes turns, since any of them may have changed a timer."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._changed = asyncio.Event()

    async def ring_loop(self, runner: Runner) -> None:
        """Announce timers as they fall due."""
        while True:
            for timer in self._brain.timers.pop_due():
                runner.announce(self._brain.actor.announce(timer))
            self._changed.clear()
            try:
                async with asyncio.timeout(self._brain.timers.next_due_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Look again: intents act before the reply is spoken, and every turn changes the state then."""
        self._changed.set()

    def turn_ended(self, report: TurnReport) -> None:
        """Look again."""
        self._changed.set()
