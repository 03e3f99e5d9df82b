"""Knows of a speaker that is away before the next answer needs it, and finds it when it comes back."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from edge_agent.app.device_account import Repetition
from edge_agent.devices.portaudio import SOUND_SYSTEM, choose_device, devices_changed
from edge_agent.errors import DeviceError, JobTimeoutError, UnknownDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.mouth import Mouth
    from edge_agent.runtime.pool import Pool

_log = logging.getLogger(__name__)

_EVERY_S = 60.0
_FIRST_S = 5.0
_REFRESH_EVERY_S = 600.0
_LOOK_S = 10.0


class SpeakerWatch:
    """Looks every minute whether the speaker is still listed and its card still there: nothing is opened for that.

    Opening would cost a click of the amplifier, and keep others from the device. Only a speaker that is away is
    opened to try it, after 5 s, 10 s … a minute. Devices can be looked for anew only while the microphone is closed
    too, so that is asked for as rarely as can be: when a sound card has come or gone, else every ten minutes.

    Args:
        mouth: Has the speaker.
        pool: Where PortAudio and the kernel are asked.
        want_refresh: Asks for devices to be looked for anew.
    """

    def __init__(self, mouth: Mouth, pool: Pool, want_refresh: Callable[[], None]) -> None:
        self._mouth = mouth
        self._pool = pool
        self._want_refresh = want_refresh
        self._told = Repetition()

    async def watch_loop(self) -> NoReturn:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_S
        retry_s, refreshed_s = _FIRST_S, loop.time()
        while True:
            await asyncio.sleep(pause_s)
            if self._mouth.is_open or await self._is_well():
                pause_s, retry_s, refreshed_s = _EVERY_S, _FIRST_S, loop.time()
                continue
            pause_s, retry_s = retry_s, min(2 * retry_s, _EVERY_S)
            if loop.time() - refreshed_s >= _REFRESH_EVERY_S or await self._has_changed():
                refreshed_s = loop.time()
                self._want_refresh()
                pause_s = min(pause_s, _FIRST_S)

    async def _is_well(self) -> bool:
        if not self._mouth.account.state.is_trouble and await self._is_listed():
            self._told.reset()
            return True
        return await self._is_back()

    async def _has_changed(self) -> bool:
        """Whether a card has come or gone since devices were looked for."""
        try:
            return await self._pool.run(devices_changed, kind="devices.cards", timeout_s=_LOOK_S)
        except JobTimeoutError:
            return False

    async def _is_listed(self) -> bool:
        """Look without opening it; where it is away, have it closed and opened anew for the next answer."""
        look = partial(choose_device, "speaker", self._mouth.device)
        try:
            await self._pool.run(look, kind="devices.speaker", timeout_s=_LOOK_S)
        except JobTimeoutError:
            return True  # nothing is known; a sound system that hangs is told of by the microphone
        except (DeviceError, UnknownDeviceError) as error:
            if isinstance(error, DeviceError) and error.device == SOUND_SYSTEM:
                return True  # the same
            await self._mouth.miss(error)
            return False
        return True

    async def _is_back(self) -> bool:
        try:
            await self._mouth.check()
        except DeviceError as error:
            if self._told.is_due(asyncio.get_running_loop().time()):
                _log.warning("nothing can be said: %s (it is tried again and again)", error)
            return False
        return True
