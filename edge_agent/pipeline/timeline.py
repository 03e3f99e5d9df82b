"""What happened within a turn, and when: for the flight recorder and the bench's waterfall."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_MARKS = 64
"""A turn has a dozen; one that is interrupted again and again must not grow without end."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One stage's work, or one decision.

    Attributes:
        stage: Such as `asr.preview`, `endpoint`, `llm.prefill`, `tts`, `interruption`.
        at_s: When it began, in seconds from the turn's first input sample.
        until_s: When it ended; None where it took no time.
        detail: The reason or the outcome, in words.
    """

    stage: str
    at_s: float
    until_s: float | None = None
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "stage": self.stage,
            "at_s": round(self.at_s, 3),
            "until_s": None if self.until_s is None else round(self.until_s, 3),
            "detail": self.detail,
        }


@dataclass(slots=True)
class Timeline:
    """The marks of one turn in the order in which they were made; the first 64 are kept, the others counted."""

    marks: list[Mark] = field(default_factory=list)
    left_out: int = 0

    def mark(self, stage: str, at_s: float, until_s: float | None = None, detail: str = "") -> None:
        """Add one."""
        if len(self.marks) < MOST_MARKS:
            self.marks.append(Mark(stage, at_s, until_s, detail))
        else:
            self.left_out += 1
