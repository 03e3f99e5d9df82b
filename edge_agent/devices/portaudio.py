"""PortAudio: which devices there are, which one is meant, and opening a stream on it without noise.

All calls into the library that open, close or list go through here, one at a time: PortAudio itself is not
thread-safe, and its list of devices can only be renewed while no stream is open.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.errors import DeviceError, UnknownDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

Kind = Literal["microphone", "speaker"]

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
        self._started = False

    def module(self) -> Any:  # noqa: ANN401 - sounddevice has no types
        """Return sounddevice, with PortAudio initialised.

        Raises:
            DeviceError: A library is missing, or PortAudio does not start.
        """
        try:
            import sounddevice
        except ImportError as error:
            raise DeviceError("sound", f"{error}; install it: pip install 'edge-agent[audio]'") from error
        except OSError as error:
            raise DeviceError("sound", "PortAudio is missing; install it: apt install libportaudio2") from error
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

    @staticmethod
    def _initialize(sounddevice: Any) -> None:  # noqa: ANN401
        try:
            sounddevice._initialize()  # noqa: SLF001
        except sounddevice.PortAudioError as error:
            raise DeviceError("sound", f"PortAudio does not start: {_reason(error)}") from error


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
    """Return the device that `wanted` means: its number, its name, part of its name in any case; empty: the default.

    Raises:
        UnknownDeviceError: None or several match.
        DeviceError: The default is asked for and there is none, or PortAudio is missing.
    """
    there = [device for device in list_devices() if device.channels(kind)]
    if not wanted:
        default = next((device for device in there if device.is_default(kind)), None)
        if default is None:
            raise DeviceError(kind, "none is connected; connect one, `edge-agent devices` shows what there is")
        return default
    known = [device.name for device in there]
    if wanted.isdecimal():
        matching = [device for device in there if device.index == int(wanted)]
    else:
        part = wanted.casefold()
        matching = [device for device in there if part in device.name.casefold()]
        exact = [device for device in matching if part == device.name.casefold()]
        matching = exact or matching
    if len(matching) != 1:
        raise UnknownDeviceError(kind, wanted, known, matching=[f"{entry.index}: {entry.name}" for entry in matching])
    return matching[0]


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
        raise DeviceError("sound", f"the sound system does not answer for {_TURN_S:.0f} s")
    try:
        with _quiet():
            yield
    finally:
        _library.lock.release()


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn the C library's `stderr` to nowhere: PortAudio, ALSA and JACK write there while they look around.

    File descriptor 2 stays what it is, so that nothing of Python's is lost, however long such a call takes.
    """
    try:
        stderr = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")
    except (OSError, ValueError):  # a C library where it is no variable: then there is noise
        stderr = None
    if stderr is None or _log.isEnabledFor(logging.DEBUG):
        yield
        return
    before, stderr.value = stderr.value, _nowhere()
    try:
        yield
    finally:
        stderr.value = before


@cache
def _nowhere() -> int | None:
    """Return a FILE that leads to /dev/null, open for as long as the process lives: a thread may still be writing."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype = ctypes.c_void_p
    stream: int | None = fopen(os.devnull.encode(), b"we")
    return stream
