"""The speaker over a service's life: opened when first needed, dropped when lost, its volume remembered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from edge_agent.app.device_account import DeviceAccount
from edge_agent.devices.speaker import Speaker
from edge_agent.errors import DeviceError, StalledDeviceError, UnknownDeviceError
from edge_agent.events import DeviceState
from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import AudioConfig
    from edge_agent.pipeline.observer import Observer
    from edge_agent.speak.sink import AudioSink

_log = logging.getLogger(__name__)


class Mouth:
    """Gives each turn the speaker. A lost one is closed, and opened again for the next turn.

    Attributes:
        account: How the speaker is.
        observer: Is told when it comes into another state. To be set.
    """

    def __init__(self, config: AudioConfig) -> None:
        self._device = config.output_device
        self._percent = self._configured_percent = config.volume
        self._muted = False
        self._speaker: Speaker | None = None
        self._is_lost = False
        self._opening = asyncio.Lock()
        self._can_play = True
        self._underruns_before = 0
        self.account = DeviceAccount("speaker", DeviceState.UNTRIED)
        self.observer: Observer = SilentObserver()

    @property
    def device(self) -> str:
        """What is configured."""
        return self._device

    @property
    def is_open(self) -> bool:
        """Whether the device is held at this moment: while something is played, and two seconds longer."""
        return self._speaker is not None and self._speaker.is_open

    @property
    def percent(self) -> int:
        """0 to 100; kept while muted."""
        return self._percent

    @property
    def muted(self) -> bool:
        """Whether nothing is heard."""
        return self._muted

    @property
    def underruns(self) -> int:
        """Times that the device had nothing to play in the middle of an answer."""
        return self._underruns_before + (self._speaker.underruns if self._speaker is not None else 0)

    @property
    def played_s(self) -> float:
        """Seconds that the open speaker has played; 0 while it is closed."""
        return 0.0 if self._speaker is None else self._speaker.played_s

    @property
    def pending_s(self) -> float:
        """Seconds that the open speaker has still to play; 0 while it is closed."""
        return 0.0 if self._speaker is None else self._speaker.pending_s

    @property
    def is_held(self) -> bool:
        """Whether what is pending waits on purpose."""
        return self._speaker is not None and self._speaker.is_held

    async def configure(self, config: AudioConfig) -> None:
        """Speak through the configured device from now on, while no turn goes on; at the volume that is set.

        A volume that is configured anew is set.
        """
        self.configure_volume(config.volume)
        if config.output_device != self._device:
            self._device = config.output_device
            self._can_play = True
            if not self.account.state.is_useless:  # what is lost stays so until it plays again
                self._enter(DeviceState.UNTRIED, self._device)
            await self._drop(self._speaker)

    def configure_volume(self, percent: int) -> None:
        """Set the configured volume where it is another one than before; what people have set stays otherwise."""
        if percent != self._configured_percent:
            self._configured_percent = percent
            self.set_percent(percent)

    async def miss(self, error: DeviceError | UnknownDeviceError) -> None:
        """The speaker was found to be away: close it, so that it is opened anew."""
        self._fail(error)
        await self._drop(self._speaker)

    async def check(self) -> None:
        """Open the speaker where it is not.

        Raises:
            DeviceError: It is absent or refuses.
        """
        await self._opened()

    def set_percent(self, percent: int) -> None:
        """Set the volume, at once."""
        self._percent = percent
        self._apply()

    def set_muted(self, muted: bool) -> None:
        """Silence the speaker, or undo that, at once."""
        self._muted = muted
        self._apply()

    @asynccontextmanager
    async def for_turn(self, _turn_id: int) -> AsyncIterator[tuple[AudioSink, Path | None]]:
        """Open the speaker where it is not, and lend it.

        Raises:
            DeviceError: The speaker is absent or lost.
        """
        speaker = await self._opened()
        try:
            yield speaker, None
        except DeviceError as error:
            await self._fail_with(speaker, error)
            raise
        except UnknownDeviceError as error:
            await self._fail_with(speaker, error)
            raise self._absent(error) from error

    async def play(self, chunk: AudioChunk) -> None:
        """Play a short sound, behind what is pending; returns when it is queued.

        A speaker that is absent or lost is logged, once until it works again, and closed: no sound is worth a turn.
        """
        speaker = None
        try:
            speaker = await self._opened()
            await speaker.write(chunk)
            speaker.finish()
        except (DeviceError, UnknownDeviceError) as error:
            self._say_unplayed(error)
            self._fail(error)
            await self._drop(speaker)
        else:
            self._can_play = True

    def recent_level(self, window_s: float) -> float:
        """Return how loud the loudest 20 ms were that left the speaker in the last `window_s`: RMS, 0 to 1.

        0 where it is closed; see `AudioSink.recent_level`.
        """
        return self._speaker.recent_level(window_s) if self._speaker is not None else 0.0

    async def close(self) -> None:
        """Close the speaker; what is pending is dropped."""
        await self._drop(self._speaker)

    async def _fail_with(self, speaker: Speaker, error: DeviceError | UnknownDeviceError) -> None:
        """Note why a speaker is of no more use, and close it; one that was replaced meanwhile says nothing of now."""
        if speaker is self._speaker:
            self._fail(error)
            await self._drop(speaker)

    async def _drop(self, speaker: Speaker | None) -> None:
        """Close a speaker, unless another one has taken its place."""
        if speaker is None or speaker is not self._speaker:
            return
        self._speaker = None
        self._underruns_before += speaker.underruns
        await speaker.__aexit__(None, None, None)

    async def _opened(self) -> Speaker:
        async with self._opening:
            if self._is_lost:
                await self._drop(self._speaker)
            if self._speaker is None:
                self._is_lost = False
                speaker = Speaker(self._device, volume=self._percent, muted=self._muted, on_lost=self._lose)
                try:
                    await speaker.__aenter__()
                except DeviceError as error:
                    self._fail(error)
                    raise
                except UnknownDeviceError as error:
                    self._fail(error)
                    raise self._absent(error) from error
                _log.info("speaking to %s", speaker.name, extra={"EDGE_DEVICE": speaker.name})
                self._enter(DeviceState.READY, speaker.name)
                speaker.set_volume(self._percent, muted=self._muted)  # it may have changed meanwhile
                self._speaker = speaker
            return self._speaker

    def _lose(self, error: DeviceError) -> None:
        """The open speaker was lost while nobody waited for it; whoever uses it next opens another one."""
        self._is_lost = True
        self._say_unplayed(error)
        self._fail(error)

    def _say_unplayed(self, error: DeviceError | UnknownDeviceError) -> None:
        if self._can_play:
            _log.warning("a sound was not played: %s", error)
        self._can_play = False

    def _fail(self, error: DeviceError | UnknownDeviceError) -> None:
        state = DeviceState.STALLED if isinstance(error, StalledDeviceError) else DeviceState.ABSENT
        self._enter(state, self.account.name or self._device, str(error))

    def _enter(self, state: DeviceState, name: str, reason: str = "") -> None:
        if (change := self.account.enter(state, name, reason)) is not None:
            self.observer.device_changed(change)

    def _absent(self, error: UnknownDeviceError) -> DeviceError:
        """At run time a speaker that is not there is a fault of the world, not of the command line."""
        return DeviceError(self._device or "speaker", str(error))

    def _apply(self) -> None:
        if self._speaker is not None:
            self._speaker.set_volume(self._percent, muted=self._muted)
