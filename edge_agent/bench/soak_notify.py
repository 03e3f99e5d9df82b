"""The service manager's side of sd_notify(3): what the watched service says, and when."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FEED = "WATCHDOG=1"
_READY = "READY=1"
_STATUS = "STATUS="


@dataclass(slots=True)
class Told:
    """What a service has told its manager. Times are of the monotonic clock.

    Attributes:
        ready_at_s: When it said for the first time that it is ready.
        fed_at_s: Each WATCHDOG=1.
        status: The last status line.
    """

    ready_at_s: float | None = None
    fed_at_s: list[float] = field(default_factory=list)
    status: str = ""

    def take(self, message: str, at_s: float) -> None:
        """Note one datagram, of a line an assignment."""
        for line in message.split("\n"):
            if line == _FEED:
                self.fed_at_s.append(at_s)
            elif line == _READY and self.ready_at_s is None:
                self.ready_at_s = at_s
            elif line.startswith(_STATUS):
                self.status = line.removeprefix(_STATUS)

    def gaps_s(self, until_s: float) -> list[float]:
        """Return how long each wait for a WATCHDOG=1 was, from being ready until `until_s`; empty where none came.

        The manager's watchdog runs from READY=1 on, and each WATCHDOG=1 starts it anew.
        """
        if not self.fed_at_s:
            return []
        began_s = self.fed_at_s[0] if self.ready_at_s is None else self.ready_at_s
        moments = [began_s, *(at_s for at_s in self.fed_at_s if began_s < at_s <= until_s), until_s]
        return [after - before for before, after in pairwise(moments)]


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, told: Told) -> None:
        self._told = told

    def datagram_received(self, data: bytes, _address: object) -> None:
        self._told.take(data.decode(errors="replace"), time.monotonic())


@asynccontextmanager
async def notify_socket(path: Path) -> AsyncIterator[Told]:
    """Listen at `path`, which has less than 108 bytes, until left; the file stays."""
    import socket

    told = Told()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        listener.settimeout(0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Receiver(told), sock=listener)
    except BaseException:
        listener.close()
        raise
    try:
        yield told
    finally:
        transport.close()
