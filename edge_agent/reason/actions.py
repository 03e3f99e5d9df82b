"""Does what was understood, and says so. Synchronous and done in milliseconds; all I/O goes through the ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from edge_agent.errors import DeviceError
from edge_agent.reason.alarm_talk import AlarmTalk
from edge_agent.reason.alarms import AlarmBook
from edge_agent.reason.ask import Ask
from edge_agent.reason.bell import Bell
from edge_agent.reason.spoken import about_s, speech
from edge_agent.reason.time_of_day import When
from edge_agent.reason.timer_talk import TimerTalk, duration_s
from edge_agent.reason.wording import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.reason.action import Action
    from edge_agent.reason.bell import Ringer
    from edge_agent.reason.ports import Clock, Outputs, Recognized, Status, Switch, Volume
    from edge_agent.reason.templates import IntentSet
    from edge_agent.reason.timers import TimerBook
    from edge_agent.reason.wording import SlotValue

    Slots = Mapping[str, SlotValue]

_VOLUME_STEP = 10
_FULL_VOLUME = 100
_MEMORY_STEP_MB = 50
_SWITCHES: dict[str, Switch] = {"on": "on", "off": "off", "toggle": "toggle"}


class Control(StrEnum):
    """What the pipeline does besides speaking."""

    NONE = "none"
    STOP = "stop"
    REPEAT = "repeat"
    MUTE = "mute"
    UNMUTE = "unmute"
    HAND_OVER = "hand_over"


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event for the world, made by one of the user's intents."""

    name: str
    slots: Mapping[str, SlotValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an intent came to.

    Attributes:
        text: What is said. With REPEAT it is for when nothing was said before, with HAND_OVER for when there is no
            language model; empty where the intent has no such text.
        control: What the pipeline does besides.
        hint: With HAND_OVER, what the language model is told beside the user's words.
        event: What is published.
        asks: The text asks for something that the intent lacks, and this is what waits for the answer.
    """

    text: str
    control: Control = Control.NONE
    hint: str = ""
    event: PublishedEvent | None = None
    asks: Ask | None = None


class Actor:
    """Performs recognized intents: the built-in ones, and the user's by their actions.

    Without a `bell`, the timers get one, and alarms, of their own.
    """

    def __init__(
        self,
        intents: IntentSet,
        *,
        clock: Clock,
        outputs: Outputs,
        volume: Volume,
        status: Status,
        timers: TimerBook,
        bell: Bell | None = None,
    ) -> None:
        self._actions = intents.actions
        self._speech = speech(intents.language)
        self._answers = Answers(intents.responses)
        self.bell = bell or Bell(clock, timers, AlarmBook(clock))
        self._timers = TimerTalk(self.bell, self._speech, self._answers)
        self._alarms = AlarmTalk(self.bell, clock, self._speech, self._answers, self._timers)
        self._clock = clock
        self._outputs = outputs
        self._volume = volume
        self._status = status
        self._builtin: dict[str, Callable[[Slots], Reply | str]] = {
            "GetTime": lambda _: self._say("time", time=self._speech.time(clock.now())),
            "GetDate": lambda _: self._say("date", date=self._speech.date(clock.now().date())),
            "SetTimer": self._set_timer,
            "CancelTimer": self._timers.cancel,
            "PauseTimer": self._timers.pause,
            "ResumeTimer": self._timers.resume,
            "TimerStatus": self._timers.status,
            "SetAlarm": self._set_alarm,
            "CancelAlarm": self._alarms.cancel,
            "AlarmStatus": self._alarms.status,
            "Snooze": self._alarms.snooze,
            "SetVolume": lambda slots: self._set_volume(whole(slots.get("volume"), volume.percent)),
            "VolumeUp": lambda slots: self._set_volume(volume.percent + whole(slots.get("step"), _VOLUME_STEP)),
            "VolumeDown": lambda slots: self._set_volume(volume.percent - whole(slots.get("step"), _VOLUME_STEP)),
            "Mute": lambda _: self._set_muted(muted=True),
            "Unmute": lambda _: self._set_muted(muted=False),
            "Stop": lambda _: Reply(self._say("stopped"), Control.STOP),
            "NeverMind": lambda _: self._say("never_mind"),
            "Repeat": lambda _: Reply(self._say("nothing_to_repeat"), Control.REPEAT),
            "DeviceStatus": self._device_status,
            "SwitchOutput": self._switch_output,
            "Help": self._help,
        }

    @property
    def builtin_intents(self) -> frozenset[str]:
        """Names of the intents that need no action of their own."""
        return frozenset(self._builtin)

    def touches_devices(self, intent: str) -> bool:
        """Tell whether an intent switches an output, which may hang; anything else is done in memory."""
        action = self._actions.get(intent)
        return intent == "SwitchOutput" if action is None else action.gpio is not None

    def perform(self, match: Recognized) -> Reply:
        """Do what was understood. A device that says no is told about in the reply.

        Raises:
            ValueError: The intent is neither built in nor has it an action.
        """
        if action := self._actions.get(match.intent):
            return self._act(match.intent, action, match.slots)
        if match.intent not in self._builtin:
            raise ValueError(f"the intent {match.intent!r} has no action")
        outcome = self._builtin[match.intent](match.slots)
        return outcome if isinstance(outcome, Reply) else Reply(outcome)

    def announce(self, *items: Ringer) -> str:
        """Return what is said while these timers and alarms ring."""
        return self._alarms.announce(items)

    def tell_missed(self) -> str:
        """Return what rang and nobody heard, empty where there is nothing; it counts as told."""
        return self._alarms.tell_missed()

    def fixed(self, name: str) -> str:
        """Return a response that has no slots, such as `not_understood`.

        Raises:
            KeyError: There is no such response.
        """
        return self._answers.say(name, {})

    def _say(self, name: str, **slots: SlotValue) -> str:
        return self._answers.say(name, slots)

    def _act(self, intent: str, action: Action, slots: Slots) -> Reply:
        text = self._answers.choose(f"intent {intent}", action.replies, slots) if action.replies else ""
        if action.gpio:
            failure, state = self._switch(action.gpio.output, action.gpio.switch)
            text = failure or text or state
        event = PublishedEvent(action.event, dict(slots)) if action.event else None
        if action.hint:
            return Reply(text, Control.HAND_OVER, hint=action.hint.render(slots), event=event)
        return Reply(text or self._say("done"), event=event)

    def _set_timer(self, slots: Slots) -> Reply:
        asks = None if duration_s(slots) else Ask("SetTimer", dict(slots), "duration")
        return Reply(self._timers.set(slots), asks=asks)

    def _set_alarm(self, slots: Slots) -> Reply:
        asks = None if When.said(slots) else Ask("SetAlarm", dict(slots), "time")
        return Reply(self._alarms.set(slots), asks=asks)

    def _switch_output(self, slots: Slots) -> str:
        output, to = str(slots.get("output", "")), _SWITCHES.get(str(slots.get("switch")), "toggle")
        failure, state = self._switch(output, to)
        return failure or state

    def _switch(self, output: str, to: Switch) -> tuple[str, str]:
        """Switch; return what to say if that failed, and what to say of the new state."""
        spoken = output.replace("_", " ")
        try:
            is_on = self._outputs.switch(output, to)
        except DeviceError as error:
            return self._say("output_failed", output=spoken, reason=error.reason), ""
        return "", self._say("output_on" if is_on else "output_off", output=spoken)

    def _set_volume(self, percent: int) -> Reply | str:
        percent = min(max(percent, 0), _FULL_VOLUME)
        was_muted = self._volume.muted
        try:
            if was_muted:
                self._volume.set_muted(False)
            self._volume.set_percent(percent)
        except DeviceError as error:
            return self._say("volume_failed", reason=error.reason)
        text = self._say("volume_set", volume=self._speech.number(percent))
        return Reply(text, Control.UNMUTE) if was_muted else text

    def _set_muted(self, *, muted: bool) -> Reply | str:
        try:
            self._volume.set_muted(muted)
        except DeviceError as error:
            return self._say("volume_failed", reason=error.reason)
        return Reply(self._say("muted"), Control.MUTE) if muted else Reply(self._say("unmuted"), Control.UNMUTE)

    def _device_status(self, slots: Slots) -> str:
        figures = self._figures()
        match slots.get("aspect"):
            case "temperature":
                return self._say_known("status_temperature", "temperature", figures)
            case "memory":
                return self._say_known("status_memory", "memory", figures)
            case "uptime":
                return self._answers.say("status_uptime", figures)
            case _:
                return self._answers.say("status", figures)

    def _say_known(self, response: str, figure: Literal["temperature", "memory"], figures: Slots) -> str:
        return self._answers.say(response if figure in figures else f"{response}_unknown", figures)

    def _figures(self) -> dict[str, SlotValue]:
        """The device's figures in words; those that can't be had are not in it."""
        figures: dict[str, SlotValue] = {"uptime": self._speech.duration(about_s(self._status.uptime_s()))}
        if (temperature_c := self._status.temperature_c()) is not None:
            figures["temperature"] = self._speech.number(round(temperature_c))
        if (free_bytes := self._status.memory_free_bytes()) is not None:
            free_mb = free_bytes / 1e6
            step_mb = _MEMORY_STEP_MB if free_mb > _MEMORY_STEP_MB else 1
            figures["memory"] = self._speech.number(round(free_mb / step_mb) * step_mb)
        return figures

    def _help(self, _: Slots) -> str:
        names = [name.replace("_", " ") for name in self._outputs.names()]
        return self._say("help", **({"outputs": self._speech.listing(names)} if names else {}))


def whole(value: SlotValue | None, default: int) -> int:
    """A slot as a whole number; `default` where it was not said."""
    return default if value is None else round(float(value))
