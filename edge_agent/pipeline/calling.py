"""A tool call within a model's answer: told from text, collected, carried out within its time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_agent.errors import ToolCallError
from edge_agent.reason.actions import Control, Reply
from edge_agent.reason.llm import CALL_OPENING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.pipeline.answering import Outcome
    from edge_agent.reason.actions import Actor
    from edge_agent.reason.matcher import IntentMatch

_log = logging.getLogger(__name__)

_MOST_CHARACTERS = 2_000
"""A call has a hundred; a model that never ends one must not fill the memory."""


class ToolBox(Protocol):
    """What the model may call."""

    @property
    def prompt(self) -> str:
        """Tells the model, in the system prompt, what there is."""
        ...

    @property
    def grammar(self) -> str:
        """GBNF of one call."""
        ...

    def parse(self, text: str, *, reading: str | None = None) -> IntentMatch:
        """Return the intent that a call asks for; `reading` is what the person said.

        Raises:
            ToolCallError: It is no call of something that exists, with valid arguments.
        """
        ...


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools and how they are carried out.

    Attributes:
        perform: Carries an intent out, and can be cancelled; None has the actor do it, on the loop.
        timeout_s: Longest time that one call may take.
        failed: What is said where a call was wrong or failed.
    """

    box: ToolBox
    timeout_s: float
    failed: str
    perform: Callable[[IntentMatch], Awaitable[Reply]] | None = None

    @property
    def prompt(self) -> str:
        """Tells the model what there is."""
        return self.box.prompt

    @property
    def grammar(self) -> str:
        """GBNF of one call."""
        return self.box.grammar


class CallCollector:
    """Looks at an answer's deltas: lets text through, and keeps a call, which is what begins with `{`.

    Attributes:
        call: The call so far; empty where the answer is text.
    """

    def __init__(self, tools: Toolset | None) -> None:
        self._tools = tools
        self._decided = tools is None
        self.call = ""

    def feed(self, delta: str) -> str:
        """Take a delta; return what of it is text to speak."""
        if not self._decided and delta.strip():
            self._decided = True
            if delta.lstrip().startswith(CALL_OPENING):
                self.call = delta.lstrip()
                return ""
        if self.call:
            self.call = (self.call + delta)[:_MOST_CHARACTERS]
            return ""
        return delta

    async def carry_out(self, actor: Actor, question: str, outcome: Outcome) -> Reply:
        """Do what the call asks for, and note it in `outcome`; what goes wrong is told in the reply."""
        tools = self._tools
        if tools is None:
            raise RuntimeError("without tools there is no call")
        outcome.call = self.call
        try:
            match = tools.box.parse(self.call, reading=question)
        except ToolCallError as error:
            _log.warning("the model's call is not carried out: it asks for what there is not")
            _log.debug("%s", error)
            outcome.failure = f"refused: {error}"
            return Reply(tools.failed)
        _log.info("the model calls %s", match.intent)
        _log.debug("its slots: %s", dict(match.slots))
        try:
            async with asyncio.timeout(tools.timeout_s):
                reply = actor.perform(match) if tools.perform is None else await tools.perform(match)
        except TimeoutError:
            _log.warning("the tool %s took longer than %.1f s", match.intent, tools.timeout_s)
            outcome.failure = f"{match.intent} timed out after {tools.timeout_s:g} s"
            return Reply(tools.failed)
        outcome.called = match
        # Handing over to the model what the model asked for would go round in circles.
        return Reply(reply.text or tools.failed) if reply.control is Control.HAND_OVER else reply
