"""What is done while nobody is served: the phrases that are always the same, and the language model's opening."""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.pipeline.commands import State
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.reason.sentences import SentenceCutter
from edge_agent.reason.wording import Answers
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.pressure import Rung
from edge_agent.runtime.scheduled import Task

if TYPE_CHECKING:
    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.voice import Voice
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.llm import ChatMessage
    from edge_agent.runtime.pressure import PressureState
    from edge_agent.runtime.scheduled import Handle

_log = logging.getLogger(__name__)

_SETTLE_S = 2.0
"""After a turn people often say something more."""
_FIXED = ("not_understood", "no_model", "too_strained")
"""Responses without slots, that is: sentences which are always the same."""


class Chores(SilentObserver):
    """Watches the conversation: gives idle work its time, and takes it away when someone speaks.

    Args:
        core: What the work runs on.
        brain: Whose model is warmed.
        keep_prefix: Whether the language model's opening is evaluated ahead.
    """

    def __init__(self, core: Core, brain: Brain, *, keep_prefix: bool = True) -> None:
        self._core = core
        self._brain = brain
        self.keep_prefix = keep_prefix
        self._warmed: tuple[ChatMessage, ...] | None = None
        self._was_hot = False
        self._warms = self._renders = 0
        self._warm_waits = False
        self._rendering: Handle[None] | None = None

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Let idle work rest while a turn goes on."""
        serving = state in {State.HEARING, State.THINKING, State.SPEAKING}
        if serving == self._core.idle.is_serving:
            return
        self._core.idle.is_serving = serving
        if serving:
            self._core.scheduler.preempt_idle()
        else:
            self._core.scheduler.wake()

    def turn_ended(self, report: TurnReport) -> None:
        """A turn that changed the chat, an intent's too: its opening can be evaluated anew."""
        if report.source == "llm" or self._brain.responder.opening() != self._warmed:
            self.warm_soon()

    def pressure_changed(self, pressure: PressureState) -> None:
        """The device recovers: what was given back for heat or memory's sake may have been the model's state."""
        is_hot = pressure.rung >= Rung.HOT
        if self._was_hot and not is_hot:
            self.warm_soon()
        self._was_hot = is_hot

    def warm_soon(self) -> None:
        """Have the language model evaluate what the next chat begins with, when there is time."""
        if self._brain.model is None or self._warm_waits or not self.keep_prefix:
            return
        self._warm_waits = True
        self._warms += 1

        async def warm() -> None:
            if self._brain.responder.model_is_loading:
                await self._brain.loaded()
            self._warm_waits = False  # what changes from here on asks anew
            if (model := self._brain.model) is None:
                return
            opening = self._brain.responder.opening()
            system = tuple(message for message in opening if message.role == "system")
            # The system prompt by itself first: that is what the engine keeps on disk for the next start.
            for messages in dict.fromkeys(part for part in (system, opening) if part):
                job = model.warm(messages)
                steps = self._core.llm.steps(job, kind="llm.warm", priority=Priority.LOW, stop=partial(model.stop, job))
                async with aclosing(steps) as running:
                    async for _ in running:
                        pass
            self._warmed = opening

        self._core.scheduler.submit(
            Task(f"llm.warm.{self._warms}", warm, delay_s=_SETTLE_S, idle=True, restartable=True, kind="llm.warm")
        )

    def render_fixed(self, voice: Voice) -> None:
        """Have the sentences rendered that are always the same, when there is time; in another voice, those alone."""
        if self._rendering is not None:
            self._rendering.cancel()
        answers = Answers(self._brain.intents.responses)

        async def render() -> None:
            for name in _FIXED:
                cutter = SentenceCutter()
                for sentence in (*cutter.feed(answers.say(name, {})), *cutter.flush()):
                    await self._render(voice, sentence)

        self._renders += 1
        name = f"phrases.render.{self._renders}"
        task = Task(name, render, idle=True, restartable=True, kind="phrases.render")
        (self._rendering,) = self._core.scheduler.submit(task)

    async def _render(self, voice: Voice, sentence: str) -> None:
        phrases, synthesizer = voice.phrases, voice.synthesizer
        if await phrases.cache.fetch(phrases.key(sentence)) is not None:
            return
        job = synthesizer.synthesize(sentence)
        steps = self._core.tts.steps(job, kind="tts.ahead", priority=Priority.LOW, stop=partial(synthesizer.stop, job))
        async with aclosing(steps) as running:
            phrases.cache.put(phrases.key(sentence), [chunk async for chunk in running])
