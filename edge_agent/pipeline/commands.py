"""What the turn state machine orders, and the states that it is in."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """Start recognising a new turn's utterance, whose first sample was captured `since_s` ago."""

    turn_id: int
    since_s: float = 0.0


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
    alert: bool = False


@dataclass(frozen=True, slots=True)
class HoldReply:
    """Let the turn's answer fall silent, and keep it."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class ResumeReply:
    """Let the turn's answer go on where it fell silent."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class Chime:
    """Play a short tone."""

    name: Literal["listening", "nothing"]


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


Command = OpenTurn | CloseUtterance | Announce | HoldReply | ResumeReply | Chime | CancelTurn | ResetHearing | ShowState
