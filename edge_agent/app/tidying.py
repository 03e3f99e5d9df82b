"""When Python looks for garbage: before anybody listens, then between turns, and only among what is new.

A full collection looks at every object that may hold others, while the event loop and all threads wait: 102,000 of them
in the embedded default, 92 ms on an x86-64 core (AMD EPYC), the first time: longer than the microphone's buffer. Python
begins one of its own accord when what has been added is a quarter of what there is, in whatever turn that comes, and
garbage of thousands of turns waits for it. Nearly all of those objects live as long as the service: when its engines
are loaded and the microphone is not open yet, and after each change of the configuration, they are left out of later
collections (https://docs.python.org/3/library/gc.html#gc.freeze). Those take 1 to 2 ms there and come once a minute;
Python's own, which go on coming when they like, are as short.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.vitality import Signs

EVERY_S = 60.0
_AGAIN_S = 1.0
"""After a look at a bad moment."""


class Collector(Protocol):
    """What frees the garbage. Blocking, with everything else at rest."""

    def settle(self) -> None:
        """Free all garbage, and leave what there is then out of later collections."""
        ...

    def extend(self) -> None:
        """Free what of the rest is garbage, and leave what then is new out of later collections, too."""
        ...

    def collect(self) -> None:
        """Free what of the rest is garbage."""
        ...


class PythonCollector:
    """`gc`."""

    def settle(self) -> None:
        """See `Collector`."""
        gc.unfreeze()
        self.extend()

    def extend(self) -> None:
        """See `Collector`."""
        gc.collect()
        gc.freeze()

    def collect(self) -> None:
        """See `Collector`."""
        gc.collect()


class Tidying:
    """Collects garbage once a minute between turns. Belongs to the loop.

    Args:
        signs: Returns what can be seen of the agent; None while there is none yet.
        is_warm: Returns whether its engines are in memory, the language model included.
        collector: Frees the garbage.
    """

    def __init__(
        self, signs: Callable[[], Signs | None], is_warm: Callable[[], bool], collector: Collector | None = None
    ) -> None:
        self._signs = signs
        self._is_warm = is_warm
        self._collector = collector or PythonCollector()
        self._settled_at: int | None = None
        self._is_fresh = False

    def settle(self) -> None:
        """Settle what was loaded, before anybody listens with it."""
        self._collector.settle()
        self._is_fresh = True

    async def run_loop(self) -> None:
        """Tidy up until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            while (seen := self._signs()) is None or not self._is_convenient(seen):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_AGAIN_S)
            if self._is_fresh:
                self._collector.extend()  # by what was loaded behind the start: the language model
            elif seen.changes == self._settled_at:
                self._collector.collect()
            else:
                self._collector.settle()
            self._is_fresh, self._settled_at = False, seen.changes

    def _is_convenient(self, seen: Signs) -> bool:
        return seen.turn is None and not seen.is_changing and self._is_warm()
