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
    """Continues a chat. Blocking: generators are pulled and closed on a pool, never on the loop.

    Several may be open, one step at a time: they take the model over from each other.
    """

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

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None
    ) -> Generator[str, None, None]:
        """Yield the answer's text in pieces, about a token each; empty ones are steps of the work without text yet.

        Messages are trimmed, oldest turn first and never the system prompt or the last message, until they fit the
        context. Closing the generator abandons the answer.

        Args:
            messages: The chat; the last message is the question.
            most_tokens: Longest answer, where that is less than the configured one.

        Raises:
            GenerationError: The model could not go on.
        """
        ...

    def warm(self, messages: Sequence[ChatMessage]) -> Generator[None, None, None]:
        """Evaluate, step by step, what a chat that begins with `messages` and ends in a question has in common.

        The next `generate` then has less to compute. Ends early where another job has used the model in between.

        Raises:
            GenerationError: The model could not go on.
        """
        ...

    def stop(self, job: Generator[object, None, None] | None = None) -> None:
        """Make the running step of `job` end soon, and the job with it, quietly; without `job`, of all made so far.

        Any thread may call. A stop before the first step counts; one for a job that is over does nothing.
        """
        ...

    def close(self) -> None:
        """Free the model. May be called twice."""
        ...
