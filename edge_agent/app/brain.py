"""Builds REASON: intents, their actions, timers, the language model; what `run`, `converse` and `ask` share."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from edge_agent.app.build import build_intents, build_model
from edge_agent.devices.board import BoardStatus
from edge_agent.devices.outputs import GpioOutputs
from edge_agent.devices.pins import open_pin_factory
from edge_agent.mqtt.publisher import LogPublisher
from edge_agent.pipeline.respond import FixedTexts, Responder
from edge_agent.reason.actions import Actor
from edge_agent.reason.history import History
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.wording import Answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gpiozero import Factory

    from edge_agent.app.lanes import Lanes
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.reason.ports import Volume
    from edge_agent.reason.templates import IntentSet


class LocalClock:
    """The device's time zone and monotonic time."""

    def now(self) -> datetime:
        """The present moment, aware, in the local zone."""
        return datetime.now().astimezone()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


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
        pin_factory: GPIO for button and light too; None where there is none.
    """

    responder: Responder
    intents: IntentSet
    actor: Actor
    timers: TimerBook
    pin_factory: Factory | None


@asynccontextmanager
async def open_brain(
    config: Config,
    places: Places,
    lanes: Lanes,
    *,
    volume: Volume,
    publisher: EventPublisher | None = None,
) -> AsyncIterator[Brain]:
    """Load intents and language model; leaving frees the model and the pins.

    Raises:
        IntentsFileError: An intents file is missing or wrong.
        ModelError: The language model is absent or corrupt.
        DeviceError: A configured pin can't be had.
    """
    intents = await lanes.match.run(lambda: build_intents(config))
    model = build_model(config, places)
    if model is not None:
        await lanes.llm.run(model.load)
    factory = open_pin_factory(config.gpio.driver)
    outputs = GpioOutputs(config.gpio.outputs, factory)
    clock = LocalClock()
    timers = TimerBook(clock)
    matcher = await lanes.match.run(lambda: IntentMatcher(intents.intents, config.language))
    actor = Actor(intents, clock=clock, outputs=outputs, volume=volume, status=BoardStatus(), timers=timers)
    answers = Answers(intents.responses)
    texts = FixedTexts(no_model=answers.say("no_model", {}), not_understood=answers.say("not_understood", {}))
    responder = Responder(
        matcher,
        actor,
        History(config.llm.history_turns),
        texts,
        match_lane=lanes.match,
        model=model,
        model_lane=lanes.llm,
        system_prompt=config.llm.system_prompt,
        publisher=publisher or LogPublisher(),
        answers_the_unclear=config.activation.mode != "always",
    )
    try:
        yield Brain(responder, intents, actor, timers, factory)
    finally:
        outputs.close()
        if factory is not None:
            factory.close()
        if model is not None:
            await lanes.llm.run(model.close)
