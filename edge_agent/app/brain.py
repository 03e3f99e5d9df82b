"""Builds REASON: intents, their actions, timers, the language model; what `run`, `converse` and `ask` share."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from edge_agent.app.alarm_clock import bell_times
from edge_agent.app.build import build_intents, build_model
from edge_agent.app.mind import Remembered, fixed_texts, make_mind, perform
from edge_agent.app.publishing import LogPublisher
from edge_agent.devices.board import BoardStatus
from edge_agent.devices.outputs import GpioOutputs
from edge_agent.devices.pins import open_pin_factory
from edge_agent.pipeline.calling import Toolset
from edge_agent.pipeline.respond import Responder
from edge_agent.reason.actions import Actor
from edge_agent.reason.rehearsal import Rehearsal
from edge_agent.reason.sentences import ClauseCutter
from edge_agent.reason.wording import Answers
from edge_agent.runtime.scheduled import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gpiozero import Factory

    from edge_agent.app.core import Core
    from edge_agent.app.mind import Mind
    from edge_agent.app.places import Places
    from edge_agent.config.audio import GpioConfig
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.reason.ports import Volume
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
class Surroundings:
    """What a brain acts on, whatever it thinks.

    Attributes:
        make_cutter: Makes what cuts an answer of the model into pieces to speak.
    """

    core: Core
    outputs: GpioOutputs
    volume: Volume
    status: BoardStatus
    publisher: EventPublisher
    make_cutter: Callable[[], Cutter]


class Brain:
    """REASON, ready to answer. Its intents, its model and its pins may be replaced while everything else goes on.

    Attributes:
        responder: Another one after each `think`; and so `intents` and `actor`.
        model: None where none is installed.
        is_loaded: The model is in memory, and in use.
        pin_factory: GPIO for button and light too; None where there is none.
        core: What everything works on.
    """

    responder: Responder
    intents: IntentSet
    actor: Actor

    def __init__(
        self,
        mind: Mind,
        around: Surroundings,
        pin_factory: Factory | None,
        model: LanguageModel | None,
        *,
        loading: Handle[None] | None = None,
        before: Remembered | None = None,
    ) -> None:
        self.core = around.core
        self.outputs = around.outputs
        self.pin_factory = pin_factory
        self._pin_driver: str = mind.config.gpio.driver
        self.model = model
        self.is_loaded = False
        known = before or Remembered.nothing()
        self.clock, self.bell, self.history = known.clock, known.bell, known.history
        self._around = around
        self._loading = loading
        self._does_without_model = False
        self._exchanging = asyncio.Lock()
        self._think(mind, None)

    @property
    def remembered(self) -> Remembered:
        """What another brain can go on with."""
        return Remembered(self.clock, self.bell, self.history)

    @property
    def rings(self) -> bool:
        """Whether a timer or an alarm rings now."""
        return bool(self.bell.ringing)

    @property
    def is_settled(self) -> bool:
        """Whether no model is on its way into memory: it is there, can't be loaded, or there is none."""
        return self.model is None or self.is_loaded or self._does_without_model

    def think(self, mind: Mind) -> None:
        """Answer by `mind` from now on. While no turn goes on; `use_model` is due afterwards."""
        self._think(mind, self.responder)

    def replace_model(self, model: LanguageModel | None) -> None:
        """Have another model, or none, from now on; `think` and `exchange` are due next."""
        self.model = model
        self.is_loaded = self._does_without_model = False

    async def loaded(self) -> None:
        """Wait until the model, where there is one, is in memory, and let the responder use it.

        Where the tools' description takes more than half of the context, it is left out with a warning.

        Raises:
            ModelError: It is corrupt.
            GenerationError: llama.cpp is not installed, or memory is short.
        """
        async with self._exchanging:
            if self._loading is None or self.model is None:
                return
            await self._loading.result()
            await self._take_into_use(self.model)

    async def use_model(self) -> None:
        """Let the responder use the model, where that is in memory already; one that loads does so by itself."""
        if not self.is_loaded:
            return
        async with self._exchanging:
            if self.is_loaded and self.model is not None:
                await self._take_into_use(self.model)

    async def exchange(self, old: LanguageModel | None, *, is_wanted: bool) -> None:
        """Free `old` and load `model`, which has taken its place: there may be no memory for both at once.

        Where it is not wanted in memory now, `reload` loads it later. Until it is loaded intents are answered.

        Raises:
            ModelError: The model is absent or corrupt.
            GenerationError: llama.cpp is not installed, or memory is short.
        """
        async with self._exchanging:
            self.is_loaded = False
            if self._loading is not None:
                self._loading.cancel()
                self._loading = None
            if old is not None and old is not self.model:
                await self.core.llm.run(old.close, kind="close.model")
            if self.model is not None and is_wanted:
                await self.core.llm.run(self.model.load, kind="load.model")
                await self._take_into_use(self.model)

    async def unload(self) -> None:
        """Free the model; questions that only it could answer are put off in words."""
        async with self._exchanging:
            if self.model is not None:
                self.responder.model_is_loading = True
                self.is_loaded = False
                await self.core.llm.run(self.model.close, kind="close.model")

    async def reload(self) -> None:
        """Load the model again.

        Raises:
            ModelError: It is corrupt by now.
            GenerationError: Memory is still short.
        """
        async with self._exchanging:
            if self.model is not None:
                await self.core.llm.run(self.model.load, kind="load.model")
                await self._take_into_use(self.model)

    def do_without_model(self) -> None:
        """It can't be loaded: from now on it is as if there were none, until another one is loaded."""
        self._does_without_model = True
        self.is_loaded = False
        self.responder.do_without_model()

    async def rewire(self, config: GpioConfig) -> None:
        """Switch the outputs of `config` from now on; with another driver, all pins are freed first.

        Raises:
            DeviceError: A pin can't be had.
        """
        if config.driver != self._pin_driver:
            self._pin_driver = ""
            await self.core.match.run(self._free_pins, kind="load.pins")
            self.pin_factory = await self.core.match.run(lambda: open_pin_factory(config.driver), kind="load.pins")
            self._pin_driver = config.driver
        factory = self.pin_factory
        await self.core.match.run(lambda: self.outputs.change(config.outputs, factory), kind="load.pins")

    async def close(self) -> None:
        """Free pins and model; the model is not waited for where it loads, which can't be broken off."""
        self._free_pins()
        if self._loading is not None:
            self._loading.cancel()
        if self.model is not None:
            await self.core.shut(self.core.llm, self.model.close, "model")

    def _free_pins(self) -> None:
        self.outputs.close()
        factory, self.pin_factory = self.pin_factory, None
        if factory is not None:
            factory.close()

    def _think(self, mind: Mind, before: Responder | None) -> None:
        config, intents, around, core = mind.config, mind.intents, self._around, self.core
        self.bell.times = bell_times(config.timers)
        self.history.resize(config.llm.history_turns)
        self.intents = intents
        self.actor = Actor(
            intents,
            clock=self.clock,
            outputs=self.outputs,
            volume=around.volume,
            status=around.status,
            timers=self.bell.timers,
            bell=self.bell,
        )
        tools: Toolset | None = None
        if mind.box is not None and mind.box.grammar:
            failed = Answers(intents.responses).say("tool_failed", {})
            tools = Toolset(mind.box, config.llm.tool_timeout_s, failed, partial(perform, core.match, self.actor))
        self.responder = Responder(
            mind.matcher,
            self.actor,
            self.history,
            fixed_texts(intents),
            match_station=core.match,
            model=None if self._does_without_model else self.model,
            model_station=core.llm,
            system_prompt=config.llm.system_prompt,
            most_tokens=config.llm.max_answer_tokens,
            publisher=around.publisher,
            answers_the_unclear=config.activation.mode != "always",
            judge=mind.judge,
            rehearse=Rehearsal(
                intents, self.bell, clock=self.clock, outputs=self.outputs, volume=around.volume, status=around.status
            ),
            tools=tools,
            speculates=config.llm.speculate,
            make_cutter=around.make_cutter,
        )
        self.responder.model_is_loading = self.model is not None
        if before is not None:
            self.responder.take_over(before)

    async def _take_into_use(self, model: LanguageModel) -> None:
        while True:
            responder = self.responder
            room = await self.core.llm.run(partial(model.room, responder.opening()), kind="llm.room")
            if responder is self.responder:  # else another one has taken its place meanwhile
                break
        if room < _LEAST_ROOM and responder.has_tools:
            _log.warning(
                "the language model can't call the intents: with them its instructions take %.0f %% of its context; "
                "raise llm.context_tokens, or set llm.tools = false",
                100 * (1 - room),
            )
            responder.do_without_tools()
        responder.model_is_loading = False
        self.is_loaded = True


@asynccontextmanager
async def open_brain(
    config: Config,
    places: Places,
    core: Core,
    *,
    volume: Volume,
    publisher: EventPublisher | None = None,
    make_cutter: Callable[[], Cutter] = ClauseCutter,
    before: Remembered | None = None,
) -> AsyncIterator[Brain]:
    """Load the intents, and begin to load the language model; leaving frees the model and the pins.

    `make_cutter` makes what cuts an answer of the model into pieces to speak. With what a brain `before` remembered,
    timers, alarms and the chat go on.

    Raises:
        IntentsFileError: An intents file is missing or wrong.
        ModelError: The configured language model does not exist.
        DeviceError: A configured pin can't be had.
    """
    model = await core.match.run(lambda: build_model(config, places, core.llm_claim), kind="load.model")
    core.size_model(config, model)
    intents_loaded: Task[object] = Task(
        "load.intents",
        lambda: core.match.run(lambda: build_intents(config), kind="load.intents"),
        priority=1,
        awaited=True,
    )
    (handle,) = core.scheduler.submit(intents_loaded)
    loading: Handle[None] | None = None
    async with AsyncExitStack() as opening:
        if model is not None:
            opening.push_async_callback(core.shut, core.llm, model.close, "model")
            (loading,) = core.scheduler.submit(
                Task("load.model", partial(core.llm.run, model.load, kind="load.model"), awaited=True)
            )
            opening.callback(loading.cancel)
        intents = cast("IntentSet", await handle.result())
        mind = await make_mind(config, core.match.pool, intents, has_model=model is not None)
        factory = await core.match.run(lambda: open_pin_factory(config.gpio.driver), kind="load.pins")
        if factory is not None:
            opening.callback(factory.close)
        outputs = await core.match.run(lambda: GpioOutputs(config.gpio.outputs, factory), kind="load.pins")
        around = Surroundings(core, outputs, volume, BoardStatus(), publisher or LogPublisher(), make_cutter)
        brain = Brain(mind, around, factory, model, loading=loading, before=before)
        opening.pop_all()  # from here on they are the brain's
    try:
        yield brain
    finally:
        await brain.close()
