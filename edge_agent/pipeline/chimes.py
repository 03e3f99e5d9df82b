"""Tones beside everything else that goes on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.runtime.tasks import run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edge_agent.runtime.metrics import Metrics
    from edge_agent.runtime.tasks import TrackedTasks
    from edge_agent.speak.earcons import Earcon

    Play = Callable[[Earcon], Coroutine[object, object, None]]

_log = logging.getLogger(__name__)

_WAITING = 2
"""Tones that may wait; more would only be late."""


class Chimes:
    """Plays tones in tasks of their own: one that fails is logged, and costs nothing else. Belongs to the loop."""

    def __init__(self, play: Play | None, tasks: TrackedTasks, metrics: Metrics) -> None:
        self._play = play
        self._tasks = tasks
        self._metrics = metrics
        self._waiting = 0

    def play(self, name: Earcon) -> None:
        """Play a tone; dropped where nothing can be heard, or several wait already."""
        if self._play is not None and self._waiting < _WAITING:
            self._waiting += 1
            self._tasks.create_task(self._sound(self._play, name), name="chime")

    async def _sound(self, play: Play, name: Earcon) -> None:
        try:
            if (error := await run_isolated(play(name), "chime.play", self._metrics)) is not None:
                _log.warning("a tone could not be played: %s", error)
        finally:
            self._waiting -= 1
