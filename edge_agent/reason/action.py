"""What an intent of the user's own does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge_agent.reason.wording import Wording


@dataclass(frozen=True, slots=True)
class GpioSwitch:
    """An output, by its name in the configuration, and what becomes of it."""

    output: str
    switch: Literal["on", "off", "toggle"]


@dataclass(frozen=True, slots=True)
class Action:
    """What one of the user's intents does.

    Attributes:
        replies: What is said; of several, the next one each time.
        gpio: An output to switch.
        event: Name of an event to publish with the slots.
        hint: Given, the language model answers, with this hint; the reply is for when there is no model.
    """

    replies: tuple[Wording, ...] = ()
    gpio: GpioSwitch | None = None
    event: str | None = None
    hint: Wording | None = None
