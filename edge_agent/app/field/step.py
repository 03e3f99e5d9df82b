"""What a field test consists of: steps with an outcome, and somebody, or nobody, who is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Outcome = Literal["pass", "fail", "skipped"]
Figure = str | int | float | bool | None

STEPS = ("microphone", "speaker", "echo", "button", "light", "commands", "wake_word", "load", "tts", "llm")
"""In the order in which they are done."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step went.

    Attributes:
        name: One of `STEPS`.
        outcome: pass: it was done, and is as it should be; skipped: it was not done, for the reason in `message`.
        message: What was found, in a line.
        figures: What was measured, by names with units.
        parts: Of a step that has several, such as commands: each one's figures.
        took_s: How long it took.
    """

    name: str
    outcome: Outcome
    message: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    parts: Sequence[Mapping[str, Figure]] = ()
    took_s: float = 0.0


class Person(Protocol):
    """Who stands beside the device. Blocking calls; made on a thread."""

    @property
    def is_there(self) -> bool:
        """Whether somebody can be asked to do something."""
        ...

    def tell(self, text: str) -> None:
        """Say what is going on, or what is to be done."""
        ...

    def confirm(self, step: str, question: str) -> bool | None:
        """Ask something that is answered by yes or no; None where nobody answers."""
        ...

    def level(self, rms_dbfs: float, peak_dbfs: float) -> None:
        """Show how loud it is."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        minutes: How long the load lasts.
        out: Where reports are written.
        only: These steps alone; empty: all.
        recordings: Directory of spoken commands to be played instead of spoken: `*.wav`, each with what it says, and
            below that the intent, in a `.txt` beside it; and of wake words in `wake/*.wav`. None: the device's own
            voice speaks them, where nobody is there.
        play_to: Speaker that recordings are played through; None: the configured one.
        wake_times: How often the wake word is to be said.
        publishes: Tell the broker of the result.
        patience_s: How long a person has for a word or a press.
    """

    minutes: float
    out: Path
    only: tuple[str, ...] = ()
    recordings: Path | None = None
    play_to: str | None = None
    wake_times: int = 5
    publishes: bool = True
    patience_s: float = 20.0
