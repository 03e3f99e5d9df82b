"""Builds REASON: intents, their actions, timers, the language model; what `run`, `converse` and `ask` share."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from edge_agent.app.alarm_clock import bell_times
from edge_agent.app.build import build_intents, build_model
from edge_agent.app.local_clock import LocalClock
from edge_agent.devices.board import BoardStatus
from edge_agent.devices.outputs import GpioOutputs
from edge_agent.devices.pins import open_pin_factory
from edge_agent.mqtt.publisher import LogPublisher
from edge_agent.pipeline.calling import Toolset
from edge_agent.pipeline.respond import FixedTexts, Responder
from edge_agent.reason.actions import Actor
from edge_agent.reason.alarms import AlarmBook
from edge_agent.reason.bell import Bell
from edge_agent.reason.completeness import CompletenessJudge
from edge_agent.reason.history import History
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.rehearsal import Rehearsal
from edge_agent.reason.sentences import ClauseCutter
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.tools import ToolBox
from edge_agent.reason.wording import Answers
from edge_agent.runtime.scheduled import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gpiozero import Factory

    from edge_agent.app.core import Core
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.reason.actions import Reply
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.reason.matcher import IntentMatch
    from edge_agent.reason.ports import Clock, Volume
    from edge_agent.reason.sentences import Cutter
    from edge_agent.reason.templates import IntentSet
    from edge_agent.runtime.scheduled import Handle


_log = logging.getLogger(__name__)

_LEAST_ROOM = 0.5


class RememberedVolume:
    """A volume that only remembers: for conversations without a speaker."""

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self.muted = False

    def set_percent(self, percent: int) -> None:
        """Remember the volume."""
        self.percent = percent

    def set_muted(self, muted: bool) -> None:
        """Remember whether it is muted."""
        self.muted = muted


@dataclass(frozen=True, slots=True)
class Brain:
    """REASON, ready to answer.

    Attributes:
        model: None where none is installed.
        pin_factory: GPIO for button and light too; None where there is none.
        loading: The model's way into memory, which goes on beside everything else.
        core: What everything works on.
    """

    responder: Responder
    intents: IntentSet
    actor: Actor
    clock: Clock
    history: History
    model: LanguageModel | None
    pin_factory: Factory | None
    loading: Handle[None] | None

    core: Core

    @property
    def rings(self) -> bool:
        """Whether a timer or an alarm rings now."""
        return bool(self.actor.bell.ringing)

    async def loaded(self) -> None:
        """Wait until the model, where there is one, is in memory, and let the responder use it.

        Where the tools' description takes more than half of the context, it is left out with a warning.

        Raises:
            ModelError: It is corrupt.
            GenerationError: llama.cpp is not installed, or memory is short.
        """
        if self.loading is None or self.model is None:
            return
        await self.loading.result()
        await self._take_into_use(self.model)

    async def unload(self) -> None:
        """Free the model; questions that only it could answer are put off in words."""
        if self.model is not None:
            self.responder.model_is_loading = True
            await self.core.llm.run(self.model.close, kind="close.model")

    async def reload(self) -> None:
        """Load the model again.

        Raises:
            ModelError: It is corrupt by now.
            GenerationError: Memory is still short.
        """
        if self.model is not None:
            await self.core.llm.run(self.model.load, kind="load.model")
            await self._take_into_use(self.model)

    async def _take_into_use(self, model: LanguageModel) -> None:
        opening = self.responder.opening()
        room = await self.core.llm.run(partial(model.room, opening), kind="llm.room")
        if room < _LEAST_ROOM and self.responder.has_tools:
            _log.warning(
                "the language model can't call the intents: with them its instructions take %.0f %% of its context; "
                "raise llm.context_tokens, or set llm.tools = false",
                100 * (1 - room),
            )
            self.responder.do_without_tools()
        self.responder.model_is_loading = False


@asynccontextmanager
async def open_brain(
    config: Config,
    places: Places,
    core: Core,
    *,
    volume: Volume,
    publisher: EventPublisher | None = None,
    make_cutter: Callable[[], Cutter] = ClauseCutter,
) -> AsyncIterator[Brain]:
    """Load the intents, and begin to load the language model; leaving frees the model and the pins.

    `make_cutter` makes what cuts an answer of the model into pieces to speak.

    Raises:
        IntentsFileError: An intents file is missing or wrong.
        ModelError: The configured language model does not exist.
        DeviceError: A configured pin can't be had.
    """
    model = await core.match.run(lambda: build_model(config, places, core.llm_claim), kind="load.model")
    intents_loaded: Task[object] = Task(
        "load.intents",
        lambda: core.match.run(lambda: build_intents(config), kind="load.intents"),
        priority=1,
        awaited=True,
    )
    (handle,) = core.scheduler.submit(intents_loaded)
    loading: Handle[None] | None = None
    if model is not None:
        (loading,) = core.scheduler.submit(
            Task("load.model", partial(core.llm.run, model.load, kind="load.model"), awaited=True)
        )
    intents = cast("IntentSet", await handle.result())
    matcher = await core.match.run(lambda: IntentMatcher(intents.intents, config.language), kind="load.matcher")
    judge = await core.match.run(
        lambda: CompletenessJudge(intents.intents, config.language, matcher.automaton), kind="load.judge"
    )
    box = None
    if model is not None and config.llm.tools:
        box = await core.match.run(lambda: ToolBox(intents), kind="load.tools")
    factory = await core.match.run(lambda: open_pin_factory(config.gpio.driver), kind="load.pins")
    outputs = await core.match.run(lambda: GpioOutputs(config.gpio.outputs, factory), kind="load.pins")
    clock, status = LocalClock(), BoardStatus()
    timers = TimerBook(clock)
    bell = Bell(clock, timers, AlarmBook(clock), bell_times(config.timers))
    actor = Actor(intents, clock=clock, outputs=outputs, volume=volume, status=status, timers=timers, bell=bell)
    tools: Toolset | None = None
    if box is not None and box.grammar:
        failed = Answers(intents.responses).say("tool_failed", {})
        tools = Toolset(box, config.llm.tool_timeout_s, failed, partial(_perform, core, actor))
    history = History(config.llm.history_turns)
    responder = Responder(
        matcher,
        actor,
        history,
        _fixed_texts(intents),
        match_station=core.match,
        model=model,
        model_station=core.llm,
        system_prompt=config.llm.system_prompt,
        most_tokens=config.llm.max_answer_tokens,
        publisher=publisher or LogPublisher(),
        answers_the_unclear=config.activation.mode != "always",
        judge=judge,
        rehearse=Rehearsal(intents, bell, clock=clock, outputs=outputs, volume=volume, status=status),
        tools=tools,
        speculates=config.llm.speculate,
        make_cutter=make_cutter,
    )
    responder.model_is_loading = model is not None
    try:
        yield Brain(responder, intents, actor, clock, history, model, factory, loading, core)
    finally:
        outputs.close()
        if factory is not None:
            factory.close()
        if loading is not None and model is not None:
            loading.cancel()
            await core.shut(core.llm, model.close, "model")


async def _perform(core: Core, actor: Actor, match: IntentMatch) -> Reply:
    """Carry out a call; what touches hardware on a pool, so that it can be given up where that hangs."""
    if actor.touches_devices(match.intent):
        return await core.match.run(partial(actor.perform, match), kind="tool.call")
    return actor.perform(match)


def _fixed_texts(intents: IntentSet) -> FixedTexts:
    answers = Answers(intents.responses)
    return FixedTexts(
        no_model=answers.say("no_model", {}),
        not_understood=answers.say("not_understood", {}),
        too_strained=answers.say("too_strained", {}),
        model_is_loading=answers.say("model_is_loading", {}),
    )
