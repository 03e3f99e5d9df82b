"""What the questions need of the machine: sound devices, the broker, the service. Blocking, all of it."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from edge_agent.app.setup.errors import ServiceControlError
from edge_agent.errors import DeviceError, ServiceError
from edge_agent.runtime import loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.doctor.levels import Level, LevelSummary
    from edge_agent.app.doctor.result import CheckResult
    from edge_agent.config.schema import Config

Kind = Literal["microphone", "speaker"]
_SYSTEMCTL_S = 960.0
"""`restart` returns when the service is ready, or has failed: it may ask systemd for 15 minutes while it loads, behind
an old one that ends."""
_RUNNING = frozenset({"active", "activating", "reloading"})


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A device to choose.

    Attributes:
        name: For people.
        setting: For the configuration: finds it again when numbers have changed.
    """

    name: str
    setting: str
    is_default: bool


class Sound(Protocol):
    """Microphones and speakers."""

    def devices(self, kind: Kind) -> tuple[SoundDevice, ...]:
        """Return what is connected; none where there is no sound system."""
        ...

    def find(self, kind: Kind, setting: str) -> str:
        """Return the name of the device that a setting means.

        Raises:
            UnknownDeviceError: None or several match.
            DeviceError: There is none.
        """
        ...

    def listen(self, setting: str, seconds: float, on_level: Callable[[Level], None]) -> LevelSummary:
        """Return how loud a microphone is.

        Raises:
            DeviceError: It can't be used.
            UnknownDeviceError: As for `find`.
        """
        ...

    def play(self, setting: str, volume: int) -> str:
        """Play a test sound and return the speaker's name.

        Raises:
            DeviceError: It can't be used.
            UnknownDeviceError: As for `find`.
        """
        ...


class Service(Protocol):
    """The running service."""

    def is_running(self) -> bool:
        """Tell whether it runs now, by systemd or by hand."""
        ...

    def may_control(self) -> bool:
        """Tell whether it is systemd's and this user may stop and start it."""
        ...

    def control(self, verb: Literal["stop", "start", "restart"]) -> None:
        """Have it stopped or started, and wait for that.

        Raises:
            ServiceControlError: It did not work.
        """
        ...


class BrokerCheck(Protocol):
    """Tries the broker of a configuration."""

    def __call__(self, config: Config, password: str | None) -> CheckResult:
        """Connect once; `password` None: the one that is in place."""
        ...


class RealSound:
    """Sound by PortAudio."""

    def devices(self, kind: Kind) -> tuple[SoundDevice, ...]:
        """See `Sound`."""
        from edge_agent.devices.cards import read_cards, stable_name
        from edge_agent.devices.portaudio import list_devices, refresh_devices

        try:
            refresh_devices()
            found = list_devices()
        except DeviceError:
            return ()
        cards = read_cards()
        return tuple(
            SoundDevice(device.name, stable_name(device.name, cards), device.is_default(kind))
            for device in found
            if device.channels(kind)
        )

    def find(self, kind: Kind, setting: str) -> str:
        """See `Sound`."""
        from edge_agent.devices.portaudio import choose_device

        return choose_device(kind, setting).name

    def listen(self, setting: str, seconds: float, on_level: Callable[[Level], None]) -> LevelSummary:
        """See `Sound`."""
        from edge_agent.app.doctor.levels import measure_levels

        return loop.run(measure_levels(setting, seconds, on_level))

    def play(self, setting: str, volume: int) -> str:
        """See `Sound`."""
        from edge_agent.app.doctor.levels import play_tone

        return loop.run(play_tone(setting, volume))


class RealService:
    """The service that answers on the local socket, and systemd's unit."""

    def is_running(self) -> bool:
        """See `Service`."""
        from edge_agent.gateway.client import ask_service
        from edge_agent.gateway.places import sockets_to_ask

        if self._state() in _RUNNING:
            return True
        try:
            ask_service(sockets_to_ask(), {"get": "status"}, timeout_s=3.0)
        except ServiceError:
            return False
        return True

    def may_control(self) -> bool:
        """See `Service`."""
        import os

        return os.geteuid() == 0 and self._state() in _RUNNING

    def control(self, verb: Literal["stop", "start", "restart"]) -> None:
        """See `Service`."""
        try:
            subprocess.run(  # noqa: S603 - fixed arguments, no shell
                ["systemctl", verb, "edge-agent"],  # noqa: S607 - found on the path, as the one that is asked
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SYSTEMCTL_S,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceControlError(verb, f"is not done after {_SYSTEMCTL_S:.0f} s") from error
        except (subprocess.SubprocessError, OSError) as error:
            raise ServiceControlError(verb) from error

    @staticmethod
    def _state() -> str:
        from edge_agent.app.doctor.result import Surroundings

        return (Surroundings().unit or {}).get("ActiveState", "")


@dataclass(frozen=True, slots=True)
class Machine:
    """All of it."""

    sound: Sound
    service: Service
    check_broker: BrokerCheck


def real_machine() -> Machine:
    """Return this machine."""
    return Machine(RealSound(), RealService(), check_broker)


def check_broker(config: Config, password: str | None) -> CheckResult:
    """Connect to the broker as the service would, with a password that is not in place yet; see `BrokerCheck`."""
    from edge_agent.app.doctor import broker
    from edge_agent.app.doctor.result import Surroundings

    if not password:
        return broker.check_broker(config, Surroundings())
    # The link reads it from a file, as the service does; this one is private, and gone when the broker has answered.
    with tempfile.TemporaryDirectory(prefix="edge-agent-setup-") as directory:
        path = Path(directory, "mqtt-password")
        path.touch(mode=0o600)
        path.write_text(f"{password}\n", encoding="utf-8")
        mqtt = config.mqtt.model_copy(update={"password_file": path})
        return broker.check_broker(config.model_copy(update={"mqtt": mqtt}), Surroundings())
