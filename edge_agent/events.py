"""Facts that stages tell each other: frozen, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class EndpointReason(StrEnum):
    """Why an utterance ended."""

    SILENCE = "silence"
    GRAMMAR_COMPLETE = "grammar_complete"
    MAX_LENGTH = "max_length"
    END_OF_INPUT = "end_of_input"
    BUTTON = "button"


class Completeness(StrEnum):
    """What the words so far say about whether more will follow.

    Attributes:
        COMPLETE: A whole command that no template continues.
        OPEN: Nothing can be said: a whole sentence may be one, and may go on.
        UNFINISHED: Grammar or syntax wants more: "set a timer for", "the".
    """

    COMPLETE = "complete"
    OPEN = "open"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and why an utterance ended. Times are seconds from its first sample, pre-roll included.

    Attributes:
        why: The decision in words, for logs and the flight recorder: "silence 520 ms of the learned 500 ms".
    """

    reason: EndpointReason
    silence_s: float
    speech_end_s: float
    decided_s: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognized word; times are seconds from the utterance's first sample."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recognizer made of an utterance.

    Attributes:
        text: Lower-case words; empty where nothing was understood.
        confidence: 0 to 1, None where the engine has no figure (partials).
        words: The words with their times, where the engine gives them.
        in_grammar: True if the closed reading won over the free one; False marks free dictation, which no
            command may be taken from without a match of its own.
        alternatives: Other readings worth trying, best first.
        final: False for partials.
        doubtful: The closed reading that was rejected, for who has reason to expect just that.
    """

    text: str
    confidence: float | None = None
    words: tuple[Word, ...] = ()
    in_grammar: bool = False
    alternatives: tuple[str, ...] = ()
    final: bool = True
    notes: dict[str, float] = field(default_factory=dict)
    doubtful: str = ""


class DeviceState(StrEnum):
    """How a microphone or a speaker is.

    Attributes:
        OPENING: A microphone that has delivered nothing yet.
        FLOWING: A microphone delivers sound.
        SILENT: It delivers nothing but zeros.
        CLIPPING: It delivers sound that is distorted.
        OVERFLOWING: It delivers sound, of which parts are lost.
        UNTRIED: A speaker that has played nothing yet, and is listed.
        READY: A speaker plays, or did so when it was asked last.
        STALLED: It is open and does nothing.
        ABSENT: It can't be opened, or was lost.
    """

    OPENING = "opening"
    FLOWING = "flowing"
    SILENT = "silent"
    CLIPPING = "clipping"
    OVERFLOWING = "overflowing"
    UNTRIED = "untried"
    READY = "ready"
    STALLED = "stalled"
    ABSENT = "absent"

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should know."""
        return self not in {DeviceState.OPENING, DeviceState.FLOWING, DeviceState.UNTRIED, DeviceState.READY}

    @property
    def is_useless(self) -> bool:
        """Whether nothing can be heard, or said."""
        return self in {DeviceState.SILENT, DeviceState.STALLED, DeviceState.ABSENT}


@dataclass(frozen=True, slots=True)
class DeviceStateChanged:
    """A microphone or a speaker came into another state.

    Attributes:
        name: Of the device, as far as it is known.
        reason: In words, with what to do; empty where all is well.
        lasted_s: How long it was as it was `before`.
    """

    device: Literal["microphone", "speaker"]
    name: str
    state: DeviceState
    before: DeviceState
    reason: str
    lasted_s: float
