"""The commands: their arguments, what they do, how long they may take, and what is documented of them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.mqtt.controls import Controls, Data

MOST_TEXT = 1000
"""Characters; about a minute and a half of speech."""
_LONGEST_TIMER_S = 7 * 86_400
_LONGEST_PULL_S = 6 * 3600.0
"""The largest model of the catalogue, 2.5 GB, comes in less through a line of a megabit in a second."""
_WHITE = frozenset("\n\t")


class Args(BaseModel):
    """A command's arguments: of the exact type, and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _speakable(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" and character not in _WHITE for character in text):
        raise PydanticCustomError("control_characters", "holds control characters")
    return text.strip()


def _not_blank(text: str) -> str:
    if not text:
        raise PydanticCustomError("blank", "is blank")
    return text


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_speakable), AfterValidator(_not_blank)]


class NoArgs(Args):
    """None."""


class SayArgs(Args):
    """Of `say`."""

    text: Text = Field(description="What is said.")


class AskArgs(Args):
    """Of `ask`."""

    text: Text = Field(description="What is asked, as it would be said.")


class MuteArgs(Args):
    """Of `mute`."""

    muted: bool = Field(default=True, description="False unmutes, so that one topic serves a switch.")


class VolumeArgs(Args):
    """Of `volume`."""

    percent: int = Field(ge=0, le=100, description="Of the loudest.")


class TimerArgs(Args):
    """Of `timer`."""

    action: Literal["set", "cancel", "list"] = Field(description="What is done.")
    name: Annotated[str, AfterValidator(_speakable)] = Field(
        "", max_length=64, description="What the timer is called; optional."
    )
    seconds: float | None = Field(
        None, gt=0, le=_LONGEST_TIMER_S, description="How long it runs: needed by `set`; tells `cancel` which."
    )
    all: bool = Field(default=False, description="With `cancel`: every timer.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.action == "set" and self.seconds is None:
            raise PydanticCustomError("needs", "`set` needs `seconds`")
        if self.action == "cancel" and not (self.name or self.seconds or self.all):
            raise PydanticCustomError("needs", "`cancel` needs `name`, `seconds` or `all`")
        if self.action != "cancel" and self.all:
            raise PydanticCustomError("needless", "`all` belongs to `cancel`")
        if self.action == "list" and (self.name or self.seconds):
            raise PydanticCustomError("needless", "`list` takes neither `name` nor `seconds`")
        return self


class PullModelArgs(Args):
    """Of `pull_model`."""

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The model's name in the catalogue (`edge-agent models list`).",
    )


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        summary: What it does.
        args: The model of its arguments.
        run: Carries it out.
        timeout_s: How long that may take.
        most: So many of it may be under way, and one more is refused as busy; None: it is done at once, and waits for
            its turn.
        ends_service: What follows its result ends the service.
        example: Arguments, for the documentation.
        returns: What `data` holds: names and meanings.
        result: `data` of the example.
    """

    name: str
    summary: str
    args: type[Args]
    run: Callable[[Controls, Any], Awaitable[Data]]
    timeout_s: float
    most: int | None = None
    ends_service: bool = False
    example: dict[str, Any] = field(default_factory=dict)
    returns: dict[str, str] = field(default_factory=dict)
    result: Data = field(default_factory=dict)


async def _timer(controls: Controls, args: TimerArgs) -> Data:
    if args.action == "set" and args.seconds is not None:
        return await controls.set_timer(args.seconds, args.name)
    if args.action == "cancel":
        return await controls.cancel_timers(name=args.name, seconds=args.seconds, everything=args.all)
    return await controls.list_timers()


async def _restart(controls: Controls, _: NoArgs) -> Data:
    return dict(controls.check_restart())


_ONE_TIMER = {"id": 3, "name": "tea", "seconds": 240.0, "left_s": 240.0, "paused": False}

_ALL = (
    Command(
        "say",
        "Says a text aloud, after what is being said. The result comes when it was said.",
        SayArgs,
        lambda controls, args: controls.say(args.text),
        timeout_s=300.0,
        most=8,
        example={"text": "Dinner is ready."},
        returns={"interrupted": "Somebody or something cut it off."},
        result={"interrupted": False},
    ),
    Command(
        "ask",
        "Answers a text as if it had been said, with all that this does, but tells the answer to the sender alone and "
        "says nothing aloud. Whoever speaks to the device goes first.",
        AskArgs,
        lambda controls, args: controls.ask(args.text),
        timeout_s=120.0,
        most=1,
        example={"text": "what time is it"},
        returns={
            "reply": "The answer; null where there is none.",
            "intent": "The intent that answered, or null.",
            "slots": "What the intent was told.",
            "source": "`intent`, `llm` or `none`.",
        },
        result={"reply": "It is half past seven.", "intent": "GetTime", "slots": {}, "source": "intent"},
    ),
    Command(
        "listen",
        "Listens, as after a press of the button.",
        NoArgs,
        lambda controls, _: controls.listen(),
        timeout_s=10.0,
    ),
    Command(
        "stop",
        "Falls silent, as after a stop word; what rings stops ringing.",
        NoArgs,
        lambda controls, _: controls.stop(),
        timeout_s=10.0,
        returns={"silenced": "Something was being said or heard.", "rang": "Something rang."},
        result={"silenced": True, "rang": False},
    ),
    Command(
        "mute",
        "Mutes the microphone, as a long press of the button does.",
        MuteArgs,
        lambda controls, args: controls.mute(muted=args.muted),
        timeout_s=10.0,
        returns={"muted": "Whether it is muted now."},
        result={"muted": True},
    ),
    Command(
        "unmute",
        "Unmutes the microphone.",
        NoArgs,
        lambda controls, _: controls.mute(muted=False),
        timeout_s=10.0,
        returns={"muted": "Whether it is muted now."},
        result={"muted": False},
    ),
    Command(
        "volume",
        "Sets the speaker's volume; a speaker that was silenced by voice is heard again.",
        VolumeArgs,
        lambda controls, args: controls.set_volume(args.percent),
        timeout_s=10.0,
        example={"percent": 40},
        returns={"percent": "The volume now."},
        result={"percent": 40},
    ),
    Command(
        "timer",
        "Sets, cancels or lists timers. What is cancelled while it rings stops ringing.",
        TimerArgs,
        _timer,
        timeout_s=10.0,
        example={"action": "set", "seconds": 240, "name": "tea"},
        returns={
            "timers": "Those that were set, cancelled, or that there are: `id`, `name`, `seconds` (what it was set "
            "to), `left_s`, `paused`."
        },
        result={"timers": [_ONE_TIMER]},
    ),
    Command(
        "restart",
        "Ends the service, and systemd starts it again. The result comes before.",
        NoArgs,
        _restart,
        timeout_s=10.0,
        most=1,
        ends_service=True,
    ),
    Command(
        "pull_model",
        "Downloads a model of the catalogue, checks it, puts it in place and takes it into use where the configuration "
        "chooses it. Behind everything else: it waits while the device is hot or short of memory. What breaks off goes "
        "on where it was when the command is sent again under another id.",
        PullModelArgs,
        lambda controls, args: controls.pull_model(args.name),
        timeout_s=_LONGEST_PULL_S,
        most=1,
        example={"name": "vosk-model-small-en-us-0.15"},
        returns={
            "name": "The model.",
            "kind": "`vosk`, `piper`, `llm` or `wake`.",
            "is_new": "It was not here before, or was another one.",
            "in_use": "The agent uses it from now on.",
            "message": "What became of it, and what to do where it is not in use.",
        },
        result={
            "name": "vosk-model-small-en-us-0.15",
            "kind": "vosk",
            "is_new": True,
            "in_use": True,
            "message": "is here, and in use",
        },
    ),
)

COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}
"""All commands by name."""
