"""Opening and closing audio streams: blocking calls into a sound system that may hang."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import DeviceError
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pools import CAPTURE_NICENESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.runtime.pool import PoolStatistics

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ANSWER_S = 4.0
"""A sound server that takes longer hangs; a USB device that wakes up takes about one second."""


class StreamThread:
    """One device's thread: a pool of its own, since what hangs must not keep other devices from being opened.

    Calls run in order, none overtakes one that hangs; nobody waits for them for more than 4 s.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # PortAudio's callback thread inherits it from the thread that opens the stream.
        self._pool = Pool(name, niceness=CAPTURE_NICENESS, idle_s=2.0, replaces_stuck=False)

    def statistics(self) -> PoolStatistics:
        """Return the thread as it stands; a call that hangs shows."""
        return self._pool.statistics()

    async def run(self, call: Callable[[], T], device: str) -> T:
        """Return what `call` returns. It is not stopped when the awaiting coroutine is: undo it by a later call.

        Raises:
            DeviceError: It takes too long, or raises that itself.
        """
        running = asyncio.create_task(self._pool.run(call, kind="stream"), name=f"{self._name}.call")
        running.add_done_callback(_retrieve)
        await asyncio.wait({running}, timeout=_ANSWER_S)
        if not running.done():
            raise DeviceError(device, f"the sound system does not answer for {_ANSWER_S:.0f} s")
        return running.result()

    async def close(self, last: Callable[[], None], device: str) -> None:
        """Run `last` behind all that still runs, and end the thread; a hanging one is left behind, and logged."""
        try:
            await self.run(last, device)
        except DeviceError as error:
            _log.warning("%s; left as it is", error)
            self._pool.leave()
        except BaseException:
            self._pool.leave()
            raise
        else:
            await self._pool.close()


def _retrieve(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # the awaiting coroutine may be gone
