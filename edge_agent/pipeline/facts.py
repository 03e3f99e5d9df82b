"""What the turn state machine is told, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge_agent.events import Endpoint

Invitation = Literal["nothing", "follow_up", "question"]
"""What the agent listens for after an answer: nothing, more of the same, or the answer to its question."""


@dataclass(frozen=True, slots=True)
class Activated:
    """Someone asked for attention: the wake word was said or the button pressed."""

    by: str


@dataclass(frozen=True, slots=True)
class ListeningLapsed:
    """Nobody spoke within the listening time."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The endpointer detected an onset; the utterance's first sample was captured `since_s` ago."""

    since_s: float = 0.0


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
class ModeChanged:
    """From now on something else makes the agent listen."""

    mode: Literal["always", "button", "wake_word"]


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over: answered and played out, or failed, or without an answer.

    Attributes:
        then: Whether people may go on without activation, and why.
    """

    turn_id: int
    then: Invitation = "nothing"


@dataclass(frozen=True, slots=True)
class InterruptionConfirmed:
    """What was said while a turn was answered is meant for the agent: real words."""

    turn_id: int
    by: str


@dataclass(frozen=True, slots=True)
class InterruptionDismissed:
    """What sounded while a turn was answered was a cough, or a listener's "mhm"."""

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
    """Something is to be said unasked, such as a timer that rang; an alert rings until somebody reacts."""

    text: str
    alert: bool = False


Fact = (
    Activated
    | ListeningLapsed
    | SpeechBegan
    | SpeechEnded
    | SpeechDropped
    | ReplyBegan
    | TurnEnded
    | InterruptionConfirmed
    | InterruptionDismissed
    | Interrupted
    | MuteChanged
    | ModeChanged
    | AnnouncementDue
)
