"""PortAudio: which devices there are, which one is meant, and opening a stream on it without noise.

All calls into the library that open, close or list go through here, one at a time: PortAudio itself is not
thread-safe, and its list of devices can only be renewed while no stream is open.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.devices.cards import hardware_of, is_there, look_up, read_cards
from edge_agent.devices.hush import hushed
from edge_agent.errors import DeviceError, UnknownDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.devices.cards import SoundCard

_log = logging.getLogger(__name__)

Kind = Literal["microphone", "speaker"]

SOUND_SYSTEM = "sound"
"""Stands for the device in errors that are no single device's."""
_TURN_S = 4.0
"""Whoever waits longer for another's call finds PortAudio hanging in a sound server."""


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A device as PortAudio lists it; `index` holds until the next refresh."""

    index: int
    name: str
    host_api: str
    input_channels: int
    output_channels: int
    default_rate_hz: int
    is_default_input: bool
    is_default_output: bool

    def channels(self, kind: Kind) -> int:
        """Number of channels in one direction."""
        return self.input_channels if kind == "microphone" else self.output_channels

    def is_default(self, kind: Kind) -> bool:
        """Whether it is what an empty name means."""
        return self.is_default_input if kind == "microphone" else self.is_default_output


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """Rate and channels to open a device with; samples are 16-bit."""

    rate_hz: int
    channels: int


class _Library:
    """The library's state in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open_streams = 0
        self.cards: tuple[SoundCard, ...] | None = None
        self.call: int | None = None
        self._calls = 0
        self._depth = 0
        self._started = False

    def enter(self) -> None:
        """A call begins; with the lock held."""
        self._depth += 1
        if self._depth == 1:
            self._calls += 1
            self.call = self._calls

    def leave(self) -> None:
        """It has returned."""
        self._depth -= 1
        if not self._depth:
            self.call = None

    def module(self) -> Any:  # noqa: ANN401 - sounddevice has no types
        """Return sounddevice, with PortAudio initialised.

        Raises:
            DeviceError: A library is missing, or PortAudio does not start.
        """
        if self.cards is None:
            self.cards = read_cards()  # before: the import itself looks for devices
        try:
            import sounddevice
        except ImportError as error:
            raise DeviceError(SOUND_SYSTEM, f"{error}; install it: pip install 'edge-agent[audio]'") from error
        except OSError as error:
            raise DeviceError(SOUND_SYSTEM, "PortAudio is missing; install it: apt install libportaudio2") from error
        if not self._started and not sounddevice._initialized:  # noqa: SLF001 - it has no public name
            self._initialize(sounddevice)
        self._started = True
        return sounddevice

    def restart(self) -> bool:
        """Look for devices anew; return False where that is impossible now."""
        if self.open_streams:
            return False
        try:
            with _exclusively():
                if self.open_streams:
                    return False
                sounddevice = self.module()
                sounddevice._terminate()  # noqa: SLF001 - there is no other way to look for devices again
                self._started = False
                self._initialize(sounddevice)
                self._started = True
        except DeviceError as error:
            _log.debug("devices were not looked for again: %s", error)
            return False
        return True

    def _initialize(self, sounddevice: Any) -> None:  # noqa: ANN401
        self.cards = read_cards()  # before, so that a card that comes meanwhile is a change
        try:
            sounddevice._initialize()  # noqa: SLF001
        except sounddevice.PortAudioError as error:
            raise DeviceError(SOUND_SYSTEM, f"PortAudio does not start: {_reason(error)}") from error


_library = _Library()


def list_devices() -> tuple[AudioDevice, ...]:
    """Return what PortAudio found when it was started or refreshed. Blocking, up to a second the first time.

    Raises:
        DeviceError: PortAudio is missing or does not start.
    """
    with _exclusively():
        sounddevice = _library.module()
        host_apis = [host_api["name"] for host_api in sounddevice.query_hostapis()]
        default_input, default_output = sounddevice.default.device
        found = []
        for index, entry in enumerate(sounddevice.query_devices()):
            found.append(
                AudioDevice(
                    index=index,
                    name=entry["name"],
                    host_api=host_apis[entry["hostapi"]],
                    input_channels=entry["max_input_channels"],
                    output_channels=entry["max_output_channels"],
                    default_rate_hz=round(entry["default_samplerate"]),
                    is_default_input=index == default_input,
                    is_default_output=index == default_output,
                )
            )
        return tuple(found)


def choose_device(kind: Kind, wanted: str) -> AudioDevice:
    """Return the device that `wanted` means.

    That is its number, its stable name (see `edge_agent.devices.cards`), its name, or part of its name in any case;
    empty: the default.

    Raises:
        UnknownDeviceError: None or several match.
        DeviceError: The default is asked for and there is none; the card is another one than when devices were looked
            for; or PortAudio is missing.
    """
    there = [device for device in list_devices() if device.channels(kind)]
    cards = read_cards()
    if not wanted:
        chosen = next((device for device in there if device.is_default(kind)), None)
        if chosen is None:
            raise DeviceError(kind, "none is connected; connect one, `edge-agent devices` shows what there is")
    else:
        matching = _matching(wanted, there, cards)
        if len(matching) != 1:
            known = [device.name for device in there]
            listed = [f"{device.index}: {device.name}" for device in matching]
            raise UnknownDeviceError(kind, wanted, known, matching=listed)
        chosen = matching[0]
    if not is_there(chosen.name, cards):
        # Its number may be another card's by now, and sound would come out of the wrong one.
        raise DeviceError(chosen.name, "is gone, or has another number; devices are to be looked for again")
    return chosen


def _matching(wanted: str, there: Sequence[AudioDevice], cards: Sequence[SoundCard]) -> list[AudioDevice]:
    if (name := look_up(wanted, cards)) is not None:
        places = [(device, hardware_of(device.name)) for device in there]
        on_card = [
            device
            for device, place in places
            if place is not None and place[0] == name.number and name.device in {None, place[1]}
        ]
        return on_card if name.device is not None else on_card[:1]  # a card's first device is its main one
    if wanted.isdecimal():
        return [device for device in there if device.index == int(wanted)]
    part = wanted.casefold()
    matching = [device for device in there if part in device.name.casefold()]
    return [device for device in matching if part == device.name.casefold()] or matching


def choose_format(kind: Kind, device: AudioDevice, rates_hz: tuple[int, ...]) -> StreamFormat:
    """Return the first format that `device` takes: mono at one of `rates_hz`, else its own rate with more channels.

    Raises:
        DeviceError: It takes none of them.
    """
    own_hz, most = device.default_rate_hz, device.channels(kind)
    # Rate before channels: mixing is cheaper than resampling.
    wanted = [
        StreamFormat(rate_hz, channels) for rate_hz in (*rates_hz, own_hz) for channels in (1, 2) if channels <= most
    ]
    wanted.append(StreamFormat(own_hz, most))
    with _exclusively():
        sounddevice = _library.module()
        check = sounddevice.check_input_settings if kind == "microphone" else sounddevice.check_output_settings
        refusal = None
        for candidate in dict.fromkeys(wanted):
            try:
                check(device.index, candidate.channels, "int16", None, candidate.rate_hz)
            except (sounddevice.PortAudioError, ValueError) as error:
                refusal = refusal or error
            else:
                return candidate
    raise DeviceError(device.name, f"can't be opened: {_reason(refusal)}; is it connected, and not in use?")


def open_stream(device: AudioDevice, build: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - sounddevice has no types
    """Start the stream that `build` makes of the sounddevice module, and return it. Blocking.

    Raises:
        DeviceError: The device refuses.
    """
    with _exclusively():
        sounddevice = _library.module()
        try:
            stream = build(sounddevice)
            try:
                stream.start()
            except sounddevice.PortAudioError:
                stream.close(ignore_errors=True)
                raise
        except (sounddevice.PortAudioError, ValueError) as error:
            reason = f"can't be opened: {_reason(error)}; is it connected, and not in use?"
            raise DeviceError(device.name, reason) from error
        _library.open_streams += 1
        return stream


def close_stream(stream: Any) -> None:  # noqa: ANN401
    """Stop a stream that `open_stream` returned, dropping what it holds; no callback runs afterwards. Blocking."""
    with _exclusively():
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        _library.open_streams -= 1


def refresh_devices() -> bool:
    """Look for devices again, so that one that was plugged in is found; False where a stream is open. Blocking."""
    return _library.restart()


def call_in_progress() -> int | None:
    """Return the number of the call that holds PortAudio now; None where none does.

    One that stays the same for minutes hangs for good: no later call gets its turn in this process.
    """
    return _library.call


def devices_changed() -> bool:
    """Whether a sound card has come or gone since devices were looked for. Blocking, in memory alone."""
    return _library.cards is not None and _library.cards != read_cards()


def _reason(error: Exception | None) -> str:
    """Return the driver's words, or else PortAudio's, without sounddevice's prefix and numbers."""
    match error.args if error is not None else ():
        case (_, _, (_, _, str(driver))) if driver:
            return driver.splitlines()[0]
        case (text, *_):
            return str(text).split(": ", 1)[-1].splitlines()[0]
        case _:
            return "no reason given"


@contextmanager
def _exclusively() -> Iterator[None]:
    """Hold PortAudio alone, and keep its noise off stderr."""
    if not _library.lock.acquire(timeout=_TURN_S):
        raise DeviceError(SOUND_SYSTEM, f"the sound system does not answer for {_TURN_S:.0f} s")
    _library.enter()
    try:
        with hushed():
            yield
    finally:
        _library.leave()
        _library.lock.release()
