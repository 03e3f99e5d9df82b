"""Hears through the microphone for ever, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.errors import DeviceError, JobTimeoutError, UnknownDeviceError

if TYPE_CHECKING:
    from edge_agent.app.status import StatusBook
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.pool import Pool

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_REFRESH_S = 10.0


class Listening:
    """Keeps a microphone open and hands what it hears to the ears.

    Attributes:
        trouble: Why nothing is heard; empty while a microphone is open.
    """

    def __init__(self, ears: Ears, observer: Observer, book: StatusBook, pool: Pool) -> None:
        self._ears = ears
        self._observer = observer
        self._book = book
        self._pool = pool
        self.trouble = ""

    async def listen_loop(self, device: str) -> None:
        """Listen to that microphone for ever; reopen it, with a growing pause, when it is absent or lost."""
        retry_s = _FIRST_RETRY_S
        self.trouble = ""
        while True:
            try:
                async with Microphone(device) as microphone:
                    _log.info("listening to %s", microphone.name)
                    self._book.hear(microphone)
                    self.trouble = ""
                    retry_s = _FIRST_RETRY_S
                    await self._ears.listen(microphone, patient=False)
            except (DeviceError, UnknownDeviceError, JobTimeoutError) as error:
                self.trouble = str(error)
                message = f"{error}; trying again in {retry_s:.0f} s"
                _log.warning("%s", message)
                self._observer.fault(message)
            finally:
                self._ears.abandon()
                self._book.hear(None)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            await self._pool.run(refresh_devices, kind="devices.refresh", timeout_s=_REFRESH_S)
