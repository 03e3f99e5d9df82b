"""What the runner asks of whoever finds the answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from edge_agent.events import Completeness

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from edge_agent.events import Transcript
    from edge_agent.pipeline.facts import Invitation
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.llm import ChatMessage
    from edge_agent.reason.matcher import IntentMatch


@dataclass(frozen=True, slots=True)
class Understanding:
    """What an utterance means, found out without doing anything.

    Attributes:
        text: The words that were understood; with those of the utterance before it, where it goes on with that.
        match: The intent, if it is one.
        completeness: Whether more is to be expected.
        doubtful: The intent of the reading that was rejected: to be believed only where it is expected.
        insists: Somebody spoke into an answer at length: where nothing of it was understood, that is said.
    """

    transcript: Transcript
    text: str
    match: IntentMatch | None
    completeness: Completeness
    doubtful: IntentMatch | None = None
    insists: bool = False

    def believed(self) -> Understanding:
        """Return it with the doubtful intent as the one that was meant, where there is one."""
        if self.doubtful is None:
            return self
        return replace(
            self,
            text=self.doubtful.text,
            match=self.doubtful,
            doubtful=None,
            completeness=Completeness.COMPLETE,
        )


@dataclass(frozen=True, slots=True)
class Chunked:
    """How the sentences of an answer come about.

    Attributes:
        note_first: To be called at the first piece of generated text.
        committed: Set once the answer is wanted for certain: nothing with an effect may be done before.
        kept: Returns when what was changed is on disk.
    """

    note_first: Callable[[], None]
    committed: asyncio.Event
    kept: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """What became of an answer of the model's.

    Attributes:
        cost: What its prompt cost, in words.
        call: The tool call as the model wrote it, empty where it answered in words.
        called: The intent that was carried out.
        failure: Why the call was not.
        then: What the agent listens for afterwards, where the call's reply says so.
    """

    cost: str = ""
    call: str = ""
    called: IntentMatch | None = None
    failure: str = ""
    then: Invitation | None = None

    def describe(self) -> str:
        """Return it in words, for the flight recorder."""
        call = f"called {self.called.intent} {dict(self.called.slots)}" if self.called is not None else ""
        return "; ".join(part for part in (self.cost, call, self.failure) if part)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn is answered with.

    Attributes:
        sentences: Yields the sentences to speak; None where nothing is to be said.
        user_text: What the history keeps of the question.
        text: The whole answer, where it is known beforehand; None where a model makes it up.
        then: What the agent listens for afterwards.
        outcome: What became of it, filled in by and by; of the model's answers.
        chat: What the model is shown; of its answers.
    """

    source: Literal["intent", "llm", "none"]
    sentences: Callable[[Chunked], AsyncGenerator[str, None]] | None
    user_text: str
    intent: str | None = None
    slots: Mapping[str, str | int | float] = field(default_factory=dict)
    text: str | None = None
    then: Invitation = "follow_up"
    outcome: Outcome | None = None
    chat: tuple[ChatMessage, ...] = ()

    def is_as(self, other: Answer) -> bool:
        """Tell whether this answer, once made, is that other one: of the same words, or by the model to the same."""
        if self is other:
            return True
        if self.text is not None or other.text is not None:
            return self.text == other.text
        return (self.source, self.intent, self.chat) == (other.source, other.intent, other.chat)


class Reasoner(Protocol):
    """Finds answers. Lives on the loop; what computes works on pools."""

    async def understand(self, transcript: Transcript, *, before: str = "") -> Understanding:
        """Say what an utterance means; nothing is done yet, so that it may be asked in a pause.

        Args:
            transcript: A preview or the final one.
            before: What was said just before and is gone on with, maybe.
        """
        ...

    @property
    def foresees(self) -> bool:
        """Whether `foresee` returns anything at present."""
        ...

    def foresee(self, understanding: Understanding) -> Answer | None:
        """Return the answer as it will probably be, without any effect; None where that can't be said.

        Where it turns out to be the answer, `answer` returns the same object, or one of the same text.
        """
        ...

    def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
        """Decide what the answer is; intents act here."""
        ...

    def remember(self, report: TurnReport, heard: str, *, call: str = "") -> None:
        """Keep what was asked, what was heard of the answer, and the call that the model made."""
        ...

    def expire(self) -> None:
        """Nobody answered what the agent had asked."""
        ...
