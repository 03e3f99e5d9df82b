"""A question back, where an intent lacks something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.reason.wording import SlotValue

ASKED = "asked"
"""hassil's name for the context in which an answer counts."""
ANSWERS = frozenset(("GiveDuration", "GiveTime"))
"""The intents that are answers: only what they complete can be performed."""
Missing = Literal["duration", "time"]
"""What can be asked for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """An intent that waits for an answer.

    Attributes:
        intent: The intent that was asked for.
        slots: What was said with it.
        missing: What was not.
    """

    intent: str
    slots: Mapping[str, SlotValue]
    missing: Missing

    def answered(self, slots: Mapping[str, SlotValue]) -> dict[str, SlotValue]:
        """Return the intent's slots together with those of the answer."""
        return {**self.slots, **slots}
