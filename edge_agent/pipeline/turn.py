"""The turn state machine: pure; facts in, commands out.

              Activated              SpeechBegan            SpeechEnded            ReplyBegan
      IDLE ──────────────▶ LISTENING ───────────▶ HEARING ──────────────▶ THINKING ───────────▶ SPEAKING
       ▲ ▲ ListeningLapsed │   ▲                   │ SpeechDropped          │ TurnEnded            │ TurnEnded
       │ └─────────────────┘   └───────────────────┘                        │                      │
       └─────────────────────(mode always: LISTENING)◀──────────────────────┴──────────────────────┘

A turn's id is given when its first syllable is heard (or an announcement begins) and only grows. `Interrupted` ends
any turn at once. Muting ends a turn that is being heard; one being answered is finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge_agent.events import Endpoint


class State(StrEnum):
    """What the agent is doing."""

    IDLE = "idle"
    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"


Mode = Literal["always", "button", "wake_word"]


# Facts


@dataclass(frozen=True, slots=True)
class Activated:
    """Someone asked for attention: the wake word was said or the button pressed."""

    by: str


@dataclass(frozen=True, slots=True)
class ListeningLapsed:
    """Nobody spoke within the listening time."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The endpointer detected an onset."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The endpointer ended the utterance; its last frame was captured `lag_s` ago."""

    endpoint: Endpoint
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """What had begun was no utterance."""


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The first sample of the turn's reply was handed to the speaker."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over: answered and played out, or failed, or without an answer."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Someone cut in: button, wake word or a command from outside."""

    by: str


@dataclass(frozen=True, slots=True)
class MuteChanged:
    """The microphone was muted or unmuted."""

    muted: bool


@dataclass(frozen=True, slots=True)
class AnnouncementDue:
    """Something is to be said unasked, such as a timer that rang."""

    text: str


Fact = (
    Activated
    | ListeningLapsed
    | SpeechBegan
    | SpeechEnded
    | SpeechDropped
    | ReplyBegan
    | TurnEnded
    | Interrupted
    | MuteChanged
    | AnnouncementDue
)


# Commands


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """Start recognising a new turn's utterance."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class CloseUtterance:
    """The utterance is complete: finish recognising, then answer."""

    turn_id: int
    endpoint: Endpoint
    lag_s: float


@dataclass(frozen=True, slots=True)
class Announce:
    """Say this as a turn of its own."""

    turn_id: int
    text: str


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """Stop everything the turn makes; drop what is not yet played."""

    turn_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResetHearing:
    """Forget audio heard so far: a new listening phase begins."""


@dataclass(frozen=True, slots=True)
class ShowState:
    """Tell people and the light."""

    state: State
    muted: bool


Command = OpenTurn | CloseUtterance | Announce | CancelTurn | ResetHearing | ShowState

_WAITING_LIMIT = 16
"""Announcements kept while a turn goes on; more than the timers anyone sets at once, and bounded."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The machine's whole state."""

    mode: Mode
    state: State
    turn_id: int = 0
    muted: bool = False
    waiting: tuple[str, ...] = ()

    @classmethod
    def begin(cls, mode: Mode) -> Conversation:
        """Return the state at start: listening in mode `always`, else idle."""
        return cls(mode, State.LISTENING if mode == "always" else State.IDLE)

    @property
    def in_turn(self) -> bool:
        """True while a turn is heard, thought about or answered."""
        return self.state in {State.HEARING, State.THINKING, State.SPEAKING}

    @property
    def resting(self) -> State:
        """The state between turns."""
        return State.LISTENING if self.mode == "always" and not self.muted else State.IDLE


Step = tuple[Conversation, tuple[Command, ...]]


def step(now: Conversation, fact: Fact) -> Step:
    """Return the next state and what is to be done. A fact that does not fit the state changes nothing."""
    after, commands = _apply(now, fact)
    if (after.state, after.muted) != (now.state, now.muted):
        commands = (*commands, ShowState(after.state, after.muted))
    return after, commands


def _apply(now: Conversation, fact: Fact) -> Step:  # noqa: C901, PLR0911 - one line a fact
    match fact:
        case Activated():
            return _activated(now, fact)
        case ListeningLapsed():
            return _listening_lapsed(now)
        case SpeechBegan():
            return _speech_began(now)
        case SpeechEnded():
            return _speech_ended(now, fact)
        case SpeechDropped():
            return _speech_dropped(now)
        case ReplyBegan():
            return _reply_began(now, fact)
        case TurnEnded():
            return _turn_ended(now, fact)
        case Interrupted():
            return _interrupted(now, fact)
        case MuteChanged():
            return _mute_changed(now, fact)
        case AnnouncementDue():
            return _announcement_due(now, fact)


def _activated(now: Conversation, fact: Activated) -> Step:
    if now.muted or now.state is State.LISTENING:
        return now, ()
    cancel: tuple[Command, ...] = (CancelTurn(now.turn_id, fact.by),) if now.in_turn else ()
    return replace(now, state=State.LISTENING), (*cancel, ResetHearing())


def _listening_lapsed(now: Conversation) -> Step:
    if now.state is State.LISTENING and now.mode != "always":
        return _rest(now)
    return now, ()


def _speech_began(now: Conversation) -> Step:
    if now.state is not State.LISTENING or now.muted:
        return now, ()
    opened = replace(now, state=State.HEARING, turn_id=now.turn_id + 1)
    return opened, (OpenTurn(opened.turn_id),)


def _speech_ended(now: Conversation, fact: SpeechEnded) -> Step:
    if now.state is not State.HEARING:
        return now, ()
    return replace(now, state=State.THINKING), (CloseUtterance(now.turn_id, fact.endpoint, fact.lag_s),)


def _speech_dropped(now: Conversation) -> Step:
    if now.state is not State.HEARING:
        return now, ()
    return replace(now, state=State.LISTENING), (CancelTurn(now.turn_id, "too short"),)


def _reply_began(now: Conversation, fact: ReplyBegan) -> Step:
    if now.state is not State.THINKING or fact.turn_id != now.turn_id:
        return now, ()
    return replace(now, state=State.SPEAKING), ()


def _turn_ended(now: Conversation, fact: TurnEnded) -> Step:
    if not now.in_turn or fact.turn_id != now.turn_id:
        return now, ()
    return _rest(now)


def _interrupted(now: Conversation, fact: Interrupted) -> Step:
    if not now.in_turn:
        return now, ()
    after, commands = _rest(now)
    return after, (CancelTurn(now.turn_id, fact.by), *commands)


def _mute_changed(now: Conversation, fact: MuteChanged) -> Step:
    after = replace(now, muted=fact.muted)
    if now.state is State.HEARING and fact.muted:
        return replace(after, state=State.IDLE), (CancelTurn(now.turn_id, "muted"),)
    if now.in_turn:
        return after, ()
    return replace(after, state=after.resting), (ResetHearing(),)


def _announcement_due(now: Conversation, fact: AnnouncementDue) -> Step:
    if now.in_turn:
        return replace(now, waiting=(*now.waiting, fact.text)[:_WAITING_LIMIT]), ()
    return _announce(now, fact.text)


def _announce(now: Conversation, text: str) -> Step:
    begun = replace(now, state=State.THINKING, turn_id=now.turn_id + 1)
    return begun, (Announce(begun.turn_id, text),)


def _rest(now: Conversation) -> Step:
    """Go to the state between turns, or on to an announcement that waits."""
    if now.waiting:
        return _announce(replace(now, waiting=now.waiting[1:]), now.waiting[0])
    return replace(now, state=now.resting), (ResetHearing(),)
