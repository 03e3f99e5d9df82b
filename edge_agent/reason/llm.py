"""What the pipeline asks of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from edge_agent.config.engines import LlmConfig

CALL_OPENING = "{"
"""What every tool call begins with, and no sentence that is spoken."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class PromptCost:
    """What the prompt of one answer cost.

    Attributes:
        tokens: Its length.
        reused: How many of them, from the first on, were evaluated before.
        restored: How many of these were read from disk.
    """

    tokens: int
    reused: int
    restored: int = 0

    @property
    def evaluated(self) -> int:
        """How many tokens had to be evaluated."""
        return self.tokens - self.reused

    def __str__(self) -> str:
        read = f", {self.restored} from disk" if self.restored else ""
        return f"prefill {self.evaluated} of {self.tokens} tokens{read}"


class LanguageModel(Protocol):
    """Continues a chat. Blocking: generators are pulled and closed on a pool, never on the loop.

    Several may be open, one step at a time: they take the model over from each other.
    """

    @property
    def name(self) -> str:
        """Engine and model, for people and logs."""
        ...

    @property
    def prompt_cost(self) -> PromptCost | None:
        """What the prompt cost that was begun last; None before the first."""
        ...

    def load(self) -> None:
        """Load the model. May be called again, and after `close`.

        Raises:
            ModelError: The model is absent or corrupt.
            GenerationError: The engine did not start.
        """
        ...

    def tune(self, config: LlmConfig) -> None:
        """Answer as `config` says from the next answer on; what says how the model is loaded is not looked at."""
        ...

    def room(self, messages: Sequence[ChatMessage]) -> float:
        """Return which part of the context a chat of `messages` leaves free; negative where it is longer. Blocking.

        Raises:
            GenerationError: The model is not loaded.
        """
        ...

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None, call_grammar: str | None = None
    ) -> Generator[str, None, None]:
        """Yield the answer's text in pieces, about a token each; empty ones are steps of the work without text yet.

        Messages are trimmed, oldest turn first and never the system prompt or the last message, until they fit the
        context. Closing the generator abandons the answer.

        Args:
            messages: The chat; the last message is the question.
            most_tokens: Longest answer, where that is less than the configured one.
            call_grammar: GBNF of a tool call, whose texts begin with `{` and end the answer. An answer that begins so
                can only go on as the grammar says; any other is free.

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
