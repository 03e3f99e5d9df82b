"""The questions about microphone, speaker and volume, with a meter and a test sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.doctor.levels import MOST_CLIPPED_SHARE, QUIET_DBFS
from edge_agent.app.setup.answers import parse_volume
from edge_agent.app.setup.person import ask_until
from edge_agent.errors import DeviceError, UnknownDeviceError

if TYPE_CHECKING:
    from edge_agent.app.doctor.levels import LevelSummary
    from edge_agent.app.setup.person import Person
    from edge_agent.app.setup.surroundings import Kind, Service, Sound

LISTEN_S = 4.0
_MOST_SHOWN = 20
"""Of the devices, with which a list still fits a terminal."""
_AGAIN = ("again", "try again")
_LOUDER = ("louder", "change the volume")
_OTHER = ("other", "choose another one")
_TAKE = ("take", "use it all the same")


@dataclass(slots=True)
class SoundQuestions:
    """Asks one person about one machine.

    Attributes:
        tries: Devices are tried, too, not only chosen.
        has_stopped_service: The service was stopped so that its devices can be tried; whoever asks starts it again.
    """

    person: Person
    sound: Sound
    service: Service
    tries: bool = True
    has_stopped_service: bool = False

    def microphone(self, current: str) -> str:
        """Return which microphone is to be used, after it was listened to."""
        self.person.head("Microphone")
        while True:
            setting = self._choose("microphone", current)
            if setting is None:
                return current
            if not self.tries or self._is_taken(setting):
                return setting
            current = setting

    def speaker(self, current: str, volume: int) -> tuple[str, int]:
        """Return which speaker is to be used and how loud, after something was played."""
        self.person.head("Speaker and volume")
        while True:
            setting = self._choose("speaker", current)
            volume = self._volume(volume)
            if setting is None:
                return current, volume
            taken = self._loudness(setting, volume) if self.tries else volume
            if taken is not None:
                return setting, taken
            current = setting

    def _volume(self, volume: int) -> int:
        return ask_until(self.person, "Volume in per cent", str(volume), parse_volume)

    def _is_taken(self, setting: str) -> bool:
        """Have a microphone tried until it is well, or taken all the same; False: another one is to be chosen."""
        while problem := self._listen(setting):
            self.person.warn(problem)
            match self._what_now(_AGAIN, _OTHER, _TAKE):
                case "other":
                    return False
                case "take":
                    return True
        return True

    def _loudness(self, setting: str, volume: int) -> int | None:
        """Have a speaker tried, and return the volume; None: another one is to be chosen."""
        while True:
            if self._play(setting, volume):
                if self.person.confirm("Did you hear three rising notes, loud enough?", default=True):
                    return volume
                what = self._what_now(_AGAIN, _LOUDER, _OTHER, _TAKE)
            else:
                what = self._what_now(_AGAIN, _OTHER, _TAKE)
            match what:
                case "louder":
                    volume = self._volume(volume)
                case "other":
                    return None
                case "take":
                    return volume

    def _what_now(self, *options: tuple[str, str]) -> str:
        return options[self.person.pick("What now?", [text for _, text in options], 0)][0]

    def _choose(self, kind: Kind, current: str) -> str | None:
        """Return the setting of the device that was chosen; None where there is none to choose."""
        found = self.sound.devices(kind)[:_MOST_SHOWN]
        if not found:
            kept = f"; {current!r} is kept" if current else ""
            self.person.warn(f"No {kind} is connected{kept}. Connect one and run this again.")
            return None
        default = next((device.name for device in found if device.is_default), None)
        options = [] if default is None else [(f"the system's default ({default})", "")]
        # The default is said once, unless it has a name of its own that stays.
        options += [
            (device.name, device.setting)
            for device in found
            if not (device.is_default and device.setting == device.name)
        ]
        try:
            wanted = self.sound.find(kind, current)
        except (DeviceError, UnknownDeviceError):
            wanted = ""
            if current:
                options.append((f"{current}, which is configured and not connected", current))
        settings = [setting for _, setting in options]
        if current in settings:
            at = settings.index(current)
        else:
            at = next((place for place, (name, _) in enumerate(options) if name == wanted), 0)
            if wanted and at < len(options):
                options[at] = (options[at][0], current)  # the owner's own way of naming it stays
        return options[self.person.pick(f"Which {kind}?", [name for name, _ in options], at)][1]

    def _listen(self, setting: str) -> str:
        """Return what is wrong with a microphone; empty: nothing."""
        self.person.tell(f"Say something: the meter runs for {LISTEN_S:.0f} seconds.")
        try:
            summary = self.sound.listen(setting, LISTEN_S, self.person.show)
        except (DeviceError, UnknownDeviceError) as error:
            return self._away(str(error))
        finally:
            self.person.show(None)
        if problem := problem_with(summary):
            return problem
        self.person.tell(f"Good: {summary.name} hears you, {round(summary.peak_dbfs)} dB at the loudest.")
        return ""

    def _play(self, setting: str, volume: int) -> bool:
        """Play the test sound; False where the speaker refuses, which was told."""
        try:
            self.sound.play(setting, volume)
        except (DeviceError, UnknownDeviceError) as error:
            self.person.warn(self._away(str(error)))
            return False
        return True

    def _away(self, why: str) -> str:
        """Say why a device can't be tried; where the service has it, offer to have it stopped."""
        if not self.service.is_running():
            return why
        if not self.service.may_control():
            return f"{why} The running service may hold it: `sudo systemctl stop edge-agent`, then try again."
        self.person.warn(why)
        if not self.person.confirm("The running service may hold it. Stop it until we are done?", default=True):
            return "It was not tried: the running service may hold it."
        self.has_stopped_service = True
        self.service.control("stop")
        return "The service has stopped."


def problem_with(summary: LevelSummary) -> str:
    """Return what is wrong with what a microphone delivered while somebody spoke; empty: nothing."""
    if summary.zero_share == 1:
        return f"{summary.name} delivers nothing but zeros: is it muted, or its switch off? (alsamixer, F4)"
    if summary.clipped_share > MOST_CLIPPED_SHARE:
        return f"{summary.name} is overdriven: turn its gain down (alsamixer, F4), or step back."
    if summary.peak_dbfs < QUIET_DBFS:
        loudest = f"{round(summary.peak_dbfs)} dB at the loudest"
        return f"{summary.name} hears next to nothing ({loudest}): is it the right one? Its gain: alsamixer, F4."
    return ""
