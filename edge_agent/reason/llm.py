"""What the pipeline asks of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class LanguageModel(Protocol):
    """Continues a chat. Blocking: pulled and closed on the llm lane, never on the loop."""

    @property
    def name(self) -> str:
        """Engine and model, for people and logs."""
        ...

    def load(self) -> None:
        """Load the model. May be called again.

        Raises:
            ModelError: The model is absent or corrupt.
            GenerationError: The engine did not start.
        """
        ...

    def generate(self, messages: Sequence[ChatMessage]) -> Generator[str, None, None]:
        """Yield the answer's text in pieces, about a token each; empty ones are steps of the work without text yet.

        Messages are trimmed, oldest turn first and never the system prompt or the last message, until they fit the
        context. Closing the generator abandons the answer.

        Raises:
            GenerationError: The model could not go on.
        """
        ...

    def close(self) -> None:
        """Free the model. May be called twice."""
        ...
