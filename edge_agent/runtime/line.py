"""A line to stand in: whoever came first is served first, and no promise is lost when somebody leaves."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Line:
    """Those who wait for something countable, such as places or items. Belongs to the loop's thread.

    The owner keeps the count and calls `promise` whenever it changed. A promise is taken up when the one who waited
    runs again, so all others have to leave as many as `promised` alone until then. If that one was cancelled meanwhile,
    the promise is taken back, and `settle`, the owner's function that calls `promise`, finds the next one.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._places: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self.promised = 0

    def __len__(self) -> int:
        return len(self._places)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a promise and take it up; False means that the line was sent away or the time ran out.

        No time passes between the promise being taken up and the caller going on.
        """
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self._places[place] = None
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._dismiss, place)
        taken = False
        try:
            taken = await place
        finally:
            self._places.pop(place, None)
            if timer is not None:
                timer.cancel()
            if place.done() and not place.cancelled() and place.result():
                self.promised -= 1
                if not taken:
                    self._settle()
        return taken

    def promise(self, free: int) -> None:
        """Promise to those who wait longest, until as many promises are open as there is `free`."""
        while self._places and self.promised < free:
            place, _ = self._places.popitem(last=False)
            if not place.done():
                place.set_result(True)
                self.promised += 1

    def send_away(self) -> None:
        """Let everyone go on who waits, without a promise."""
        while self._places:
            self._dismiss(next(iter(self._places)))

    def _dismiss(self, place: asyncio.Future[bool]) -> None:
        self._places.pop(place, None)
        if not place.done():
            place.set_result(False)
