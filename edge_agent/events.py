"""Facts that stages tell each other: frozen, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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
