"""Hears through the microphone for ever, whatever happens to it.

opening ─▶ flowing ◀─▶ silent, clipping, overflowing      the pipeline goes on taking frames
             │  ▲
             ▼  │ devices are looked for again, after 1 s, 2 s, 4 s … 30 s
      stalled, absent
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.device_account import Repetition
from edge_agent.devices.cards import hardware_of, is_numbered, read_cards, stable_name
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.devices.sound_watch import HARDWARE_SILENT_S, SERVER_SILENT_S, SoundWatch
from edge_agent.errors import DeviceError, EdgeAgentError, JobTimeoutError, StalledDeviceError, UnknownDeviceError
from edge_agent.events import DeviceState

if TYPE_CHECKING:
    from edge_agent.app.status import StatusBook
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.pool import Pool

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_WORKS_S = 30.0
"""A microphone that has worked for so long is reopened at once when it fails; one that fails again and again is not."""
_REFRESH_S = 10.0
_CHANGING_S = 12.0
"""Opening or closing takes no longer."""
_SLACK_S = 1.0
_LONGEST_SILENCE_S = 600.0
_GONE = (DeviceState.STALLED, DeviceState.ABSENT)
_REMEDIES = {
    DeviceState.SILENT: "delivers nothing but zeros: is it muted, or its switch off? see docs/devices.md",
    DeviceState.CLIPPING: "distorts: lower its capture volume (`alsamixer`, F4), or speak from further away",
    DeviceState.OVERFLOWING: "loses sound: this board is too busy; `edge-agent status` says what with",
}


class _ReopenError(DeviceError):
    """The microphone works, and is opened again all the same."""


class Listening:
    """Keeps a microphone open and hands what it hears to the ears. Belongs to the loop.

    Attributes:
        trouble: Why nothing is heard; empty while a microphone delivers frames, be they zeros.
    """

    def __init__(self, ears: Ears, observer: Observer, book: StatusBook, pool: Pool) -> None:
        self._ears = ears
        self._observer = observer
        self._book = book
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._microphone: Microphone | None = None
        self._promised_s = 0.0
        self._retry_s = _FIRST_RETRY_S
        self._flowing_since_s: float | None = None
        self._is_refresh_wanted = False
        self._is_advised = False
        self._told: dict[DeviceState, Repetition] = {}
        self._offset_told = Repetition()
        self._sound = SoundWatch(SERVER_SILENT_S)
        self._reopen_at_s = self._reopen_pause_s = SERVER_SILENT_S
        self.trouble = ""

    @property
    def next_sign_s(self) -> float:
        """Time of the loop until which a frame comes, or whatever is waited for instead of one ends."""
        return self._promised_s if self._microphone is None else self._microphone.next_sign_s

    def want_refresh(self) -> None:
        """Look for devices again as soon as nobody speaks: that takes the microphone for a tenth of a second."""
        self._is_refresh_wanted = True

    async def listen_loop(self, device: str) -> None:
        """Listen to that microphone for ever; reopen it, with a growing pause, when it is absent or lost."""
        self._retry_s = _FIRST_RETRY_S
        self._told.clear()
        if not self._book.microphone.state.is_useless:  # what is lost stays so until sound flows again
            self._enter(DeviceState.OPENING, device)
        self.trouble = ""
        self._sound = SoundWatch(SERVER_SILENT_S)
        self._is_advised = not is_numbered(device)
        try:
            while True:
                error = await self._listen(device)
                if error is not None:
                    self._fail(error, device)
                    self._promise(self._retry_s)
                    await asyncio.sleep(self._retry_s)
                    self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
                await self._refresh()
        finally:
            self._book.hear(None)

    async def _listen(self, device: str) -> EdgeAgentError | None:
        """Listen until the microphone fails, and return why; None where it is only to be opened again."""
        self._promise(_CHANGING_S)
        try:
            async with Microphone(device) as microphone:
                self._opened(microphone)
                await self._advise(device, microphone.name)
                await self._ears.listen(microphone, patient=False)
        except _ReopenError as error:
            _log.debug("%s", error)
        except (DeviceError, UnknownDeviceError, JobTimeoutError) as error:
            return error
        finally:
            self._ears.abandon()
            self._microphone = None
        return None

    def _promise(self, within_s: float) -> None:
        self._promised_s = self._loop.time() + within_s + _SLACK_S

    def _opened(self, microphone: Microphone) -> None:
        microphone.on_look = partial(self._look, microphone)
        self._microphone = microphone
        is_hardware = hardware_of(microphone.name) is not None
        self._sound.silent_after_s = HARDWARE_SILENT_S if is_hardware else SERVER_SILENT_S
        self._sound.reopened()
        self._flowing_since_s = None
        self._book.hear(microphone, self._sound)

    def _look(self, microphone: Microphone) -> None:
        """Frames come: see how they are, and whether the microphone is to be opened anew."""
        now_s = self._loop.time()
        if self._flowing_since_s is None:
            self._flowing_since_s = now_s
            self._say_flowing(microphone.name)
        elif now_s - self._flowing_since_s >= _WORKS_S:
            self._retry_s = _FIRST_RETRY_S
        self.trouble = ""
        state = self._sound.look(microphone.tally, microphone.dropped_frames)
        self._enter(state, microphone.name, _REMEDIES.get(state, ""))
        if self._sound.has_offset and self._offset_told.is_due(now_s):
            offset = 100 * self._sound.offset
            _log.warning("%s has a constant offset of %.0f %% of full scale; is it broken?", microphone.name, offset)
        if microphone.is_calm and (self._is_refresh_wanted or self._is_reopening_due()):
            microphone.give_up(_ReopenError(microphone.name, "is opened again, and devices are looked for"))

    def _is_reopening_due(self) -> bool:
        """Whether zeros have come for so long that opening the device anew may help; ever more rarely."""
        silent_s = self._sound.silent_s
        if silent_s < self._sound.silent_after_s:
            self._reopen_at_s = self._reopen_pause_s = self._sound.silent_after_s
            return False
        if silent_s < self._reopen_at_s:
            return False
        self._reopen_pause_s = min(2 * self._reopen_pause_s, _LONGEST_SILENCE_S)
        self._reopen_at_s = silent_s + self._reopen_pause_s
        return True

    def _say_flowing(self, name: str) -> None:
        if self._book.microphone.state in {DeviceState.OPENING, *_GONE}:
            _log.info("listening to %s", name, extra={"EDGE_DEVICE": name})

    def _fail(self, error: EdgeAgentError, device: str) -> None:
        self.trouble = str(error)
        self._book.hear(None)
        # What takes too long is not the device but what listens to it; that comes to the same.
        is_stalled = isinstance(error, (StalledDeviceError, JobTimeoutError))
        state = DeviceState.STALLED if is_stalled else DeviceState.ABSENT
        self._enter(state, self._book.microphone.name or device, self.trouble)

    def _enter(self, state: DeviceState, name: str, reason: str = "") -> None:
        """Note a state, tell of it where it is another one, and log it as often as that is worth."""
        change = self._book.microphone.enter(state, name, reason)
        if change is not None:
            self._observer.device_changed(change)
        now_s = self._loop.time()
        if not state.is_trouble:
            if state is DeviceState.FLOWING and self._book.microphone.for_s > _WORKS_S:
                for gone in _GONE:
                    self._told.pop(gone, None)
        elif self._told.setdefault(state, Repetition()).is_due(now_s):
            self._log(state, name, reason)

    def _log(self, state: DeviceState, name: str, reason: str) -> None:
        if state in _GONE:
            message = f"{reason}; trying again in {self._retry_s:.0f} s"
            _log.warning("%s", message, extra={"EDGE_DEVICE": name})
            self._observer.fault(message)
        else:
            # Zeros of a sound server may be nothing but a long pause.
            is_sure = state is not DeviceState.SILENT or self._sound.silent_after_s < SERVER_SILENT_S
            _log.log(logging.WARNING if is_sure else logging.INFO, "%s %s", name, reason, extra={"EDGE_DEVICE": name})

    async def _refresh(self) -> None:
        """Look for devices anew; the microphone is closed, so that this works unless the speaker is open."""
        self._is_refresh_wanted = False
        self._promise(_REFRESH_S)
        try:
            await self._pool.run(refresh_devices, kind="devices.refresh", timeout_s=_REFRESH_S)
        except JobTimeoutError as error:
            _log.warning("devices were not looked for again: %s", error)

    async def _advise(self, device: str, name: str) -> None:
        """Say once that a number is no name."""
        if self._is_advised:
            return
        self._is_advised = True
        cards = await self._pool.run(read_cards, kind="devices.cards")
        _log.warning(
            'audio.input_device = "%s" names a number, which changes when devices are plugged in or out; "%s" does not',
            device,
            stable_name(name, cards),
        )
