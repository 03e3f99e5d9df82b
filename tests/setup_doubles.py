"""A scripted person, and a machine for them to set up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import click

from edge_agent.app.doctor.levels import Level, LevelSummary
from edge_agent.app.doctor.result import CheckResult
from edge_agent.app.setup.surroundings import Kind, Machine, SoundDevice
from edge_agent.config.schema import Config
from edge_agent.errors import DeviceError, UnknownDeviceError

ENTER = None
"""Takes what is in brackets."""
GOOD = LevelSummary("Mic", -20.0, -6.0, 0.0, 0.01, 16_000)


class ScriptedPerson:
    """Gives the answers of a script, one a question; asserts in its course that each question was meant.

    Args:
        script: Pairs of a part of the question and the answer; `KeyboardInterrupt` for somebody who has enough.
    """

    def __init__(self, *script: tuple[str, object]) -> None:
        self._script = deque(script)
        self.heard: list[str] = []
        self.warned: list[str] = []
        self.defaults: dict[str, str] = {}
        self.levels: list[Level | None] = []

    def _answer(self, question: str, default: str) -> object:
        assert self._script, f"nobody answers {question!r}"
        part, answer = self._script.popleft()
        assert part in question, f"{question!r} was asked instead of {part!r}"
        self.defaults[question] = default
        if answer is KeyboardInterrupt:
            raise click.Abort
        return answer

    @property
    def is_done(self) -> bool:
        """Whether everything was asked."""
        return not self._script

    def head(self, title: str) -> None:
        """See `Person`."""
        self.heard.append(title)

    def tell(self, text: str) -> None:
        """See `Person`."""
        self.heard.append(text)

    def warn(self, text: str) -> None:
        """See `Person`."""
        self.warned.append(text)

    def ask(self, question: str, default: str) -> str:
        """See `Person`."""
        answer = self._answer(question, default)
        return default if answer is ENTER else str(answer)

    def pick(self, question: str, options: Sequence[str], default: int) -> int:
        """See `Person`; the answer is a part of one option."""
        answer = self._answer(question, options[default])
        if answer is ENTER:
            return default
        matching = [at for at, option in enumerate(options) if str(answer) in option]
        matching = [at for at in matching if options[at].startswith(str(answer))] or matching
        assert len(matching) == 1, f"{answer!r} is not one of {options}"
        return matching[0]

    def confirm(self, question: str, *, default: bool) -> bool:
        """See `Person`."""
        answer = self._answer(question, str(default))
        return default if answer is ENTER else bool(answer)

    def secret(self, question: str) -> str:
        """See `Person`."""
        answer = self._answer(question, "")
        return "" if answer is ENTER else str(answer)

    def show(self, level: Level | None) -> None:
        """See `Person`."""
        self.levels.append(level)


@dataclass
class FakeSound:
    """Two microphones and a speaker."""

    microphones: tuple[SoundDevice, ...] = (
        SoundDevice("USB Mic: Audio (hw:1,0)", "hw:CARD=Mic", is_default=True),
        SoundDevice("HAT: wm8960 (hw:0,0)", "hw:CARD=wm8960", is_default=False),
    )
    speakers: tuple[SoundDevice, ...] = (SoundDevice("USB Speaker: Audio (hw:2,0)", "hw:CARD=Spk", is_default=True),)
    summaries: list[LevelSummary | DeviceError] = field(default_factory=list)
    refusals: list[DeviceError] = field(default_factory=list)
    played: list[tuple[str, int]] = field(default_factory=list)
    listened: list[str] = field(default_factory=list)

    def devices(self, kind: Kind) -> tuple[SoundDevice, ...]:
        """See `Sound`."""
        return self.microphones if kind == "microphone" else self.speakers

    def find(self, kind: Kind, setting: str) -> str:
        """See `Sound`."""
        for device in self.devices(kind):
            if (not setting and device.is_default) or (setting and setting in (device.setting, device.name)):
                return device.name
            if setting and setting.casefold() in device.name.casefold():
                return device.name
        raise UnknownDeviceError(kind, setting, [device.name for device in self.devices(kind)])

    def listen(self, setting: str, seconds: float, on_level: Callable[[Level], None]) -> LevelSummary:
        """See `Sound`."""
        self.listened.append(setting)
        on_level(Level(-30.0, -12.0))
        found = self.summaries.pop(0) if self.summaries else GOOD
        if isinstance(found, DeviceError):
            raise found
        return found

    def play(self, setting: str, volume: int) -> str:
        """See `Sound`."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.played.append((setting, volume))
        return "USB Speaker"


@dataclass
class FakeService:
    """A service that keeps account of what it was told."""

    runs: bool = False
    is_ours: bool = True
    verbs: list[str] = field(default_factory=list)

    def is_running(self) -> bool:
        """See `Service`."""
        return self.runs

    def may_control(self) -> bool:
        """See `Service`."""
        return self.runs and self.is_ours

    def control(self, verb: Literal["stop", "start", "restart"]) -> None:
        """See `Service`."""
        self.verbs.append(verb)
        self.runs = verb != "stop"


@dataclass
class FakeBroker:
    """A broker that answers as told, well in the end."""

    results: list[CheckResult] = field(default_factory=list)
    asked: list[tuple[Config, str | None]] = field(default_factory=list)

    def __call__(self, config: Config, password: str | None) -> CheckResult:
        """See `BrokerCheck`."""
        self.asked.append((config, password))
        return self.results.pop(0) if self.results else CheckResult("broker", "ok", "it answers")


@dataclass
class FakeMachine:
    """All of it."""

    sound: FakeSound = field(default_factory=FakeSound)
    service: FakeService = field(default_factory=FakeService)
    check_broker: FakeBroker = field(default_factory=FakeBroker)

    @property
    def machine(self) -> Machine:
        """For the code under test."""
        return Machine(self.sound, self.service, self.check_broker)
