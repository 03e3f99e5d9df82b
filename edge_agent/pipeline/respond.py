"""Finds the answer to what was heard: local intents first, then the language model, then an honest "I can't"."""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from edge_agent.events import Completeness
from edge_agent.pipeline.answering import Answer, Outcome, Understanding
from edge_agent.pipeline.calling import CallCollector
from edge_agent.reason.actions import Control
from edge_agent.reason.ask import ANSWERS
from edge_agent.reason.sentences import ClauseCutter
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.pressure import Rung, allowance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from edge_agent.events import Transcript
    from edge_agent.pipeline.answering import Chunked
    from edge_agent.pipeline.calling import Toolset
    from edge_agent.pipeline.facts import Invitation
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.actions import Actor, Reply
    from edge_agent.reason.ask import Ask, Missing
    from edge_agent.reason.completeness import CompletenessJudge
    from edge_agent.reason.history import History
    from edge_agent.reason.llm import ChatMessage, LanguageModel
    from edge_agent.reason.matcher import IntentMatch, IntentMatcher
    from edge_agent.reason.sentences import Cutter
    from edge_agent.runtime.pools import Station

_log = logging.getLogger(__name__)

_DELTAS_AHEAD = 16
"""Pieces of text that the model may be ahead of who speaks them: it need not wait for the loop after each token."""
_FIRST_WORDS = 2
"""Of the first clause of a text that is known whole; of a model's, which comes word by word, one more."""
_MATCH_S = 10.0
_ANSWER_S = 600.0
"""The longest that an answer may take, being spoken included, since the model waits for the voice."""
_QUESTION_S = 30.0
"""How long the answer to a question is waited for, where nothing else ends that: nobody knows later what was asked."""


class EventPublisher(Protocol):
    """Takes events of custom intents to the world. Must not block."""

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Queue one event."""
        ...


@dataclass(frozen=True, slots=True)
class FixedTexts:
    """What is said where neither an intent nor a model answers."""

    no_model: str
    not_understood: str
    too_strained: str
    model_is_loading: str


@dataclass(slots=True)
class _Question:
    """What the agent has asked back, and when."""

    ask: Ask
    asked_at_s: float


class Responder:
    """Answers transcripts and typed text, one at a time. Lives on the loop; matching and the model on their pools.

    Args:
        judge: Says whether more words are to be expected; None: never known.
        rehearse: Returns what an intent will probably answer, without doing it; None where it can't be said.
        tools: What the model may do; None: nothing.
        make_cutter: Makes what cuts one answer of the model into pieces to speak.
    """

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
        judge: CompletenessJudge | None = None,
        rehearse: Callable[[IntentMatch], str | None] = lambda _: None,
        tools: Toolset | None = None,
        speculates: bool = False,
        make_cutter: Callable[[], Cutter] = ClauseCutter,
        monotonic: Callable[[], float] = time.monotonic,
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
        self.answers_the_unclear = answers_the_unclear
        """Say so where nothing was understood."""
        self._judge = judge
        self._rehearse = rehearse
        self._tools = tools
        self._speculates = speculates
        self._make_cutter = make_cutter
        self._monotonic = monotonic
        self._last_reply = ""
        self._question: _Question | None = None
        self.model_is_loading = False
        """Whoever loads the model sets and clears it."""
        self.allowance = allowance(Rung.NORMAL)
        """What the device can afford now; whoever watches the pressure sets it."""

    def take_over(self, before: Responder) -> None:
        """Go on where another one ends: what was said last, and what the device can afford.

        What that one had asked is forgotten: its intents may be gone.
        """
        self._last_reply = before._last_reply
        self.allowance = before.allowance

    @property
    def has_tools(self) -> bool:
        """Whether the model may call the intents."""
        return self._tools is not None

    def do_without_tools(self) -> None:
        """Their description leaves too little of the context: from now on the model has none."""
        self._tools = None

    def opening(self) -> tuple[ChatMessage, ...]:
        """Return what the next chat begins with, whatever will be asked: a model can evaluate it beforehand."""
        return self._chat("")[:-1]

    async def understand(self, transcript: Transcript, *, before: str = "") -> Understanding:
        """Find the intent, and judge whether more is to be expected; no effects."""
        readings = [text for text in (transcript.text, *transcript.alternatives) if text]
        text = transcript.text
        if not readings:
            doubtful = await self._match([transcript.doubtful], forgiving=False) if transcript.doubtful else None
            return Understanding(transcript, "", None, Completeness.OPEN, doubtful)
        match = None
        if before:
            # "Set a timer", and after all too long a pause "for five minutes".
            match = await self._match([f"{before} {reading}" for reading in readings], forgiving=transcript.in_grammar)
            text = match.reading if match is not None else text
        if match is None:
            match = await self._match(readings, forgiving=transcript.in_grammar)
            if match is None and before and not transcript.in_grammar:
                text = f"{before} {text}"
        completeness = Completeness.OPEN
        if self._judge is not None and not before:
            judging = partial(self._judge.judge, transcript, self._asked)
            completeness = await self._match_station.run(
                judging, kind="intent.judge", priority=Priority.HIGH, timeout_s=_MATCH_S
            )
        return Understanding(transcript, text, match, completeness)

    @property
    def foresees(self) -> bool:
        """Whether an answer may be begun before it is wanted: configured, and the device can afford it."""
        return self._speculates and self.allowance.idle_work

    def foresee(self, understanding: Understanding) -> Answer | None:
        """Return the model's answer, which may begin at once, or what an intent will probably say."""
        if not self.foresees or not understanding.text:
            return None
        if (match := understanding.match) is not None:
            text = self._rehearse(self._completed(match))
            return None if text is None else self._fixed("intent", text, understanding.text, match)
        if understanding.transcript.in_grammar or not self._model_answers:
            return None
        return self._generate(understanding.text)

    def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
        """Decide what the answer to a spoken utterance is; intents act here."""
        asked, self._question = self._question, None
        if not understanding.text:
            self._question = asked  # noise is no answer
            return self._unclear(anyhow=understanding.insists)
        if (match := understanding.match) is not None:
            return self._act(self._completed(match, asked))
        if foreseen is not None and foreseen.chat == self._chat(understanding.text) and self._model_answers:
            return foreseen
        # A closed grammar can only say its own words: what fits no intent is then no sentence that someone said.
        return self._unclear() if understanding.transcript.in_grammar else self._generate(understanding.text)

    async def answer_text(self, text: str) -> Answer:
        """Decide what the answer to typed text is; intents act here."""
        match = await self._match([text], forgiving=False)
        asked, self._question = self._question, None
        return self._act(self._completed(match, asked)) if match else self._generate(text)

    def remember(self, report: TurnReport, heard: str, *, call: str = "") -> None:
        """Keep what was asked, what was heard of the answer, and the call that the model made.

        Shown replies alone, a small model learns to say that a timer is set instead of setting it.
        """
        shown = "\n".join(part for part in (call, heard) if part)
        if report.heard and shown:
            self._history.add(report.heard, shown)
        if heard:
            self._last_reply = heard

    def expire(self) -> None:
        """Nobody answered what the agent had asked: from now on "five minutes" means nothing again."""
        self._question = None

    @property
    def _asked(self) -> Missing | None:
        """The slot that was asked for, if that is not too long ago."""
        question = self._question
        if question is None or self._monotonic() - question.asked_at_s > _QUESTION_S:
            return None
        return question.ask.missing

    @property
    def _model_answers(self) -> bool:
        return self._model is not None and not self.model_is_loading and self.allowance.llm

    async def _match(self, readings: Sequence[str], *, forgiving: bool) -> IntentMatch | None:
        call = partial(self._matcher.match, readings, forgiving=forgiving, asked=self._asked)
        return await self._match_station.run(call, kind="intent.match", priority=Priority.HIGH, timeout_s=_MATCH_S)

    def _completed(self, match: IntentMatch, asked: _Question | None = None) -> IntentMatch:
        """Make of the answer to a question the intent that was asked about."""
        question = asked or self._question
        if match.intent not in ANSWERS or question is None:
            return match
        return replace(match, intent=question.ask.intent, slots=question.ask.answered(match.slots))

    def _act(self, match: IntentMatch) -> Answer:
        reply = self._actor.perform(match)
        _log.info("intent %s (%d edits)", match.intent, match.edits)
        _log.debug("its slots: %s", dict(match.slots))
        self._follow(reply)
        if reply.control is Control.HAND_OVER:
            return self._generate(match.reading, hint=reply.hint, match=match, otherwise=reply.text)
        text = reply.text
        if reply.control is Control.REPEAT:
            text = self._last_reply or reply.text
        return replace(self._fixed("intent", text, match.reading, match), then=_invitation(reply))

    def _follow(self, reply: Reply) -> None:
        """Carry out what a reply says beside its text."""
        if reply.event is not None:
            self._publisher.publish(reply.event.name, reply.event.slots)
        if reply.asks is not None:
            self._question = _Question(reply.asks, self._monotonic())

    def _fixed(
        self, source: Literal["intent", "none"], text: str, asked: str, match: IntentMatch | None = None
    ) -> Answer:
        return Answer(
            source,
            (lambda _: sentences_of(text)) if text else None,
            asked,
            intent=match.intent if match else None,
            slots=match.slots if match else {},
            text=text,
        )

    def _generate(self, text: str, *, hint: str = "", match: IntentMatch | None = None, otherwise: str = "") -> Answer:
        """Let the model answer; without one, say `otherwise` or that there is none."""
        model = self._model
        if model is None or not self._model_answers:
            source: Literal["intent", "none"] = "intent" if otherwise else "none"
            return self._fixed(source, otherwise or self._why_no_model(), text, match)
        messages = self._chat(text, hint)
        most_tokens = self.allowance.answer_tokens(self._most_tokens)
        tools = None if match is not None else self._tools  # an intent that hands over is itself no call's end
        outcome = Outcome()

        async def sentences(how: Chunked) -> AsyncGenerator[str, None]:
            cutter, collector = self._make_cutter(), CallCollector(tools)
            job = model.generate(
                messages, most_tokens=most_tokens, call_grammar=tools.grammar if tools is not None else None
            )
            steps = self._model_station.steps(
                job, kind="llm.answer", timeout_s=_ANSWER_S, stop=partial(model.stop, job), ahead=_DELTAS_AHEAD
            )
            noted = False
            async with aclosing(steps) as deltas:
                async for delta in deltas:
                    if delta and not noted:
                        noted = True
                        how.note_first()
                        outcome.cost = str(model.prompt_cost or "")
                    for sentence in cutter.feed(collector.feed(delta)):
                        yield sentence
            if collector.call:
                # What has an effect waits until it is certain that the question has ended.
                await how.committed.wait()
                reply = await collector.carry_out(self._actor, text, outcome)
                self._follow(reply)
                outcome.then = _invitation(reply)
                await how.kept()
                for sentence in cutter.feed(reply.text):
                    yield sentence
            for sentence in cutter.flush():
                yield sentence

        return Answer(
            "llm",
            sentences,
            text,
            intent=match.intent if match else None,
            slots=match.slots if match else {},
            outcome=outcome,
            chat=messages,
        )

    def _chat(self, text: str, hint: str = "") -> tuple[ChatMessage, ...]:
        system = self._system_prompt if self._tools is None else f"{self._system_prompt}\n\n{self._tools.prompt}"
        return self._history.messages(system, text, hint=hint or None)

    def _why_no_model(self) -> str:
        if self._model is None:
            return self._texts.no_model
        return self._texts.model_is_loading if self.allowance.llm else self._texts.too_strained

    def do_without_model(self) -> None:
        """The model can't be loaded: from now on it is as if there were none."""
        self._model = None

    def _unclear(self, *, anyhow: bool = False) -> Answer:
        """Noise must not be talked back at; whoever pressed the button or said the wake word wants to know."""
        if not self.answers_the_unclear and not anyhow:
            return Answer("none", None, "", then="nothing")
        return replace(self._fixed("none", self._texts.not_understood, ""), then="follow_up")


def _invitation(reply: Reply) -> Invitation:
    if reply.asks is not None:
        return "question"
    return "nothing" if reply.control is Control.STOP else "follow_up"


async def sentences_of(text: str) -> AsyncGenerator[str, None]:
    """Yield a whole text sentence by sentence, the first clause by itself: "It's Saturday," can sound, and be kept."""
    cutter = ClauseCutter(words=_FIRST_WORDS)
    for sentence in (*cutter.feed(text), *cutter.flush()):
        yield sentence
