"""Finds the answer to what was heard: local intents first, then the language model, then an honest "I can't"."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from edge_agent.pipeline.speaking import sentences_of
from edge_agent.reason.actions import Control
from edge_agent.reason.sentences import SentenceCutter
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.pressure import Rung, allowance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from edge_agent.events import Transcript
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.actions import Actor
    from edge_agent.reason.history import History
    from edge_agent.reason.llm import ChatMessage, LanguageModel
    from edge_agent.reason.matcher import IntentMatch, IntentMatcher
    from edge_agent.runtime.pools import Station

_log = logging.getLogger(__name__)

_DELTAS_AHEAD = 16
"""Pieces of text that the model may be ahead of who speaks them: it need not wait for the loop after each token."""
_MATCH_S = 10.0
_ANSWER_S = 600.0
"""The longest that an answer may take, being spoken included, since the model waits for the voice."""


class EventPublisher(Protocol):
    """Takes events of custom intents to the world. Must not block."""

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Queue one event."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn is answered with.

    Attributes:
        sentences: Called with a callback for the first piece of generated text, yields the sentences to speak; None
            where nothing is to be said.
        user_text: What the history keeps of the question.
    """

    source: Literal["intent", "llm", "none"]
    sentences: Callable[[Callable[[], None]], AsyncGenerator[str, None]] | None
    user_text: str
    intent: str | None = None
    slots: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FixedTexts:
    """What is said where neither an intent nor a model answers."""

    no_model: str
    not_understood: str
    too_strained: str
    model_is_loading: str


class Responder:
    """Answers transcripts and typed text, one at a time. Lives on the loop; matching and the model on their pools."""

    def __init__(
        self,
        matcher: IntentMatcher,
        actor: Actor,
        history: History,
        texts: FixedTexts,
        *,
        match_station: Station,
        model: LanguageModel | None,
        model_station: Station,
        system_prompt: str,
        most_tokens: int,
        publisher: EventPublisher,
        answers_the_unclear: bool,
    ) -> None:
        self._matcher = matcher
        self._actor = actor
        self._history = history
        self._texts = texts
        self._match_station = match_station
        self._model = model
        self._model_station = model_station
        self._system_prompt = system_prompt
        self._most_tokens = most_tokens
        self._publisher = publisher
        self._answers_the_unclear = answers_the_unclear
        self._last_reply = ""
        self.model_is_loading = False
        """Whoever loads the model sets and clears it."""
        self.allowance = allowance(Rung.NORMAL)
        """What the device can afford now; whoever watches the pressure sets it."""

    def opening(self) -> tuple[ChatMessage, ...]:
        """Return what the next chat begins with, whatever will be asked: a model can evaluate it beforehand."""
        return self._history.messages(self._system_prompt, "")[:-1]

    async def answer(self, transcript: Transcript) -> Answer:
        """Decide what the answer to a spoken utterance is; intents act here."""
        readings = [text for text in (transcript.text, *transcript.alternatives) if text]
        if not readings:
            return self._unclear()
        match = await self._match(readings, forgiving=transcript.in_grammar)
        if match is not None:
            return self._act(match)
        # A closed grammar can only say its own words: what fits no intent is then no sentence that someone said.
        return self._unclear() if transcript.in_grammar else self._generate(transcript.text)

    async def answer_text(self, text: str) -> Answer:
        """Decide what the answer to typed text is; intents act here."""
        match = await self._match([text], forgiving=False)
        return self._act(match) if match else self._generate(text)

    def remember(self, report: TurnReport, heard: str) -> None:
        """Keep what was asked and what was heard of the answer."""
        if report.heard and heard:
            self._history.add(report.heard, heard)
        if heard:
            self._last_reply = heard

    async def _match(self, readings: Sequence[str], *, forgiving: bool) -> IntentMatch | None:
        call = partial(self._matcher.match, readings, forgiving=forgiving)
        return await self._match_station.run(call, kind="intent.match", priority=Priority.HIGH, timeout_s=_MATCH_S)

    def _act(self, match: IntentMatch) -> Answer:
        reply = self._actor.perform(match)
        _log.info("intent %s %s (%d edits)", match.intent, dict(match.slots), match.edits)
        if reply.event is not None:
            self._publisher.publish(reply.event.name, reply.event.slots)
        if reply.control is Control.HAND_OVER:
            return self._generate(match.reading, hint=reply.hint, match=match, otherwise=reply.text)
        text = reply.text
        if reply.control is Control.REPEAT:
            text = self._last_reply or reply.text
        return Answer(
            "intent",
            (lambda _note: sentences_of(text)) if text else None,
            match.reading,
            intent=match.intent,
            slots=match.slots,
        )

    def _generate(self, text: str, *, hint: str = "", match: IntentMatch | None = None, otherwise: str = "") -> Answer:
        """Let the model answer; without one, say `otherwise` or that there is none."""
        intent, slots = (match.intent, match.slots) if match else (None, {})
        model = self._model
        if model is None or self.model_is_loading or not self.allowance.llm:
            source: Literal["intent", "none"] = "intent" if otherwise else "none"
            spoken = otherwise or self._why_no_model()
            return Answer(source, lambda _note: sentences_of(spoken), text, intent=intent, slots=slots)

        most_tokens = self.allowance.answer_tokens(self._most_tokens)

        async def sentences(note_first: Callable[[], None]) -> AsyncGenerator[str, None]:
            cutter = SentenceCutter()
            messages = self._history.messages(self._system_prompt, text, hint=hint or None)
            noted = False
            job = model.generate(messages, most_tokens=most_tokens)
            steps = self._model_station.steps(
                job, kind="llm.answer", timeout_s=_ANSWER_S, stop=partial(model.stop, job), ahead=_DELTAS_AHEAD
            )
            async with aclosing(steps) as deltas:
                async for delta in deltas:
                    if delta and not noted:
                        noted = True
                        note_first()
                    for sentence in cutter.feed(delta):
                        yield sentence
            for sentence in cutter.flush():
                yield sentence

        return Answer("llm", sentences, text, intent=intent, slots=slots)

    def _why_no_model(self) -> str:
        if self._model is None:
            return self._texts.no_model
        return self._texts.model_is_loading if self.model_is_loading else self._texts.too_strained

    def do_without_model(self) -> None:
        """The model can't be loaded: from now on it is as if there were none."""
        self._model = None

    def _unclear(self) -> Answer:
        """Noise must not be talked back at; whoever pressed the button or said the wake word wants to know."""
        if not self._answers_the_unclear:
            return Answer("none", None, "")
        return Answer("none", lambda _note: sentences_of(self._texts.not_understood), "")
