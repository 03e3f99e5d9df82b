"""A running agent's parts on one core, joined and kept running.

    core ─ pins, brain (intents, model, timers) ─ voice (recognizer, synthesizer, wake words, phrases; runner, ears)
      └─ stages: hear.capture · button · timers.* · llm.load · pressure · loop.lag · report · status.socket

What is named here is replaced while everything else goes on (`swapping`), all but the core.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.alarm_clock import open_timers
from edge_agent.app.brain import open_brain
from edge_agent.app.chores import Chores
from edge_agent.app.core import open_core
from edge_agent.app.habits import open_habits
from edge_agent.app.listening import Listening
from edge_agent.app.memory import keep_small, open_database, open_memory
from edge_agent.app.model_keeping import ModelKeeping, load_model
from edge_agent.app.places import find_places
from edge_agent.app.speaker_watch import SpeakerWatch
from edge_agent.app.strain import Strain, make_ladder
from edge_agent.app.voice import open_voice
from edge_agent.app.wiring import Wiring
from edge_agent.errors import SocketError
from edge_agent.gateway.answers import StatusDesk
from edge_agent.gateway.places import socket_to_serve
from edge_agent.gateway.socket import serve_socket
from edge_agent.pipeline.observer import Observers
from edge_agent.runtime.pressure import pressure_loop
from edge_agent.runtime.sensors import Sensors
from edge_agent.runtime.tasks import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.app.alarm_clock import AlarmClock
    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.habits import Habits
    from edge_agent.app.memory import Memory
    from edge_agent.app.mind import Remembered
    from edge_agent.app.mouth import Mouth
    from edge_agent.app.places import Places
    from edge_agent.app.recorder import FlightRecorder
    from edge_agent.app.status import StatusBook
    from edge_agent.app.voice import Voice
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.respond import EventPublisher
    from edge_agent.pipeline.turn import Conversation
    from edge_agent.runtime.lag import LoopLag
    from edge_agent.runtime.metrics import Metrics
    from edge_agent.runtime.rates import RateLimiter
    from edge_agent.runtime.report import Reporter
    from edge_agent.store.database import Database

_log = logging.getLogger(__name__)

_SOCKET_RETRY_S = 60.0
_SENSORS_EVERY_S = 4.0
"""A board warms up in tens of seconds; a look costs about 2 ms."""
_KEPT_S = 0.5
"""A change is on disk within milliseconds; a card that takes longer than this is not waited for."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives a core: devices' state, what is counted and remembered, and the world outside.

    Attributes:
        observer: Whoever else watches the conversation.
        database: Open for as long as the agent is; None: each body opens its own.
        publisher: Takes events; None: they are logged.
        on_loaded: Is called when the engines are loaded, before the microphone is opened.
    """

    observer: Observer
    mouth: Mouth
    book: StatusBook
    recorder: FlightRecorder
    metrics: Metrics
    lag: LoopLag
    requests: RateLimiter
    reporter: Reporter
    database: Database | None
    publisher: EventPublisher | None
    on_loaded: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Remains:
    """What goes on where one body ends and another one begins."""

    remembered: Remembered
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Body:
    """The parts. Those that are replaced are inside of these objects, which stay for as long as the core does."""

    lasting: Lasting
    places: Places
    core: Core
    brain: Brain
    voice: Voice
    clock: AlarmClock
    memory: Memory
    habits: Habits
    chores: Chores
    keeping: ModelKeeping
    strain: Strain
    wiring: Wiring
    listening: Listening
    stages: Supervisor

    @property
    def stage_faults(self) -> int:
        """How often stages have failed, of those that are kept running now."""
        return sum(self.stages.restarts.values())

    @property
    def remains(self) -> Remains:
        """What another body can go on with."""
        return Remains(self.brain.remembered, self.voice.runner.conversation)

    def listen_to(self, device: str) -> None:
        """Keep hearing through that microphone."""
        self.stages.keep("hear.capture", partial(self.listening.listen_loop, device))

    def watch_pressure(self, config: Config) -> None:
        """Keep an eye on the sensors."""
        self.stages.keep("pressure", partial(_watch_pressure, config, self))

    def serve_status(self) -> None:
        """Keep answering on the local socket."""
        lasting, core = self.lasting, self.core
        recorder = lasting.recorder
        desk = StatusDesk(
            lasting.reporter,
            core.pools.general,
            lasting.book.describe,
            turns=recorder.turns if recorder.keeps_turns else None,
            audio=recorder.audio if recorder.keeps_audio else None,
        )
        self.stages.keep("status.socket", partial(_serve_status, desk, core, lasting.requests))


@asynccontextmanager
async def open_body(config: Config, lasting: Lasting, before: Remains | None = None) -> AsyncIterator[Body]:
    """Build everything, and keep it running; leaving ends it.

    Args:
        config: All of it.
        lasting: What is there already.
        before: What one that has ended left: its chat, timers, the microphone's muting.

    Raises:
        BadInputError: The configuration, a model or an intents file is wrong.
        FaultError: An engine did not start, or a pin can't be had.
    """
    book, recorder, mouth = lasting.book, lasting.recorder, lasting.mouth

    def tell(fault: str) -> None:
        book.fault(fault)
        lasting.observer.fault(fault)

    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(config, lasting.metrics))
        places = await core.pools.file_io.run(lambda: find_places(config.directories), kind="load.places")
        brain = await stack.enter_async_context(
            open_brain(
                config,
                places,
                core,
                volume=mouth,
                publisher=lasting.publisher,
                before=None if before is None else before.remembered,
            )
        )
        stack.push_async_callback(mouth.close)
        wiring = Wiring()
        stack.push_async_callback(wiring.close)
        await wiring.open_light(config.gpio.light, brain.pin_factory)
        database = lasting.database
        if database is None:
            database = await stack.enter_async_context(open_database(places, core, tell))
        else:
            keep_small(database, core)
        is_first = before is None
        memory = await stack.enter_async_context(open_memory(config, database, core, brain, recalls=is_first))
        clock = await stack.enter_async_context(
            open_timers(config.timers, database, brain.actor, brain.clock, tell, restores=is_first)
        )
        chores = Chores(core, brain, keep_prefix=config.llm.keep_prefix)
        habits = await stack.enter_async_context(open_habits(config.endpoint, places, core))
        keeping = ModelKeeping(core, brain, lambda: observers, chores.warm_soon)
        observers = Observers(lasting.observer, book, recorder, wiring, clock.ringing, memory, chores, keeping)
        mouth.observer = observers
        voice = await stack.enter_async_context(
            open_voice(
                config,
                places,
                core,
                brain,
                observer=observers,
                open_speaker=mouth.for_turn,
                wait_for_model=config.llm.model is not None,
                mouth=mouth,
                on_utterance=recorder.note_audio,
                kept=partial(_kept, clock),
                pauses=habits.pauses,
                before=None if before is None else before.conversation,
            )
        )
        book.know(voice, brain, mouth)
        _log.info("hears with %s, speaks with %s", voice.recognizer.name, voice.synthesizer.name)
        _log.info("%s", core.topology.describe())
        chores.render_fixed(voice)
        await wiring.open_button(config.gpio.button, brain.pin_factory)
        stack.callback(core.scheduler.preempt_idle)  # when the stages have ended: nothing idle outlives its engine
        stages = Supervisor(core.metrics, observers.fault)
        body = Body(
            lasting,
            places,
            core,
            brain,
            voice,
            clock,
            memory,
            habits,
            chores,
            keeping,
            strain=Strain(core, brain.responder, voice.phrases.cache, observers),
            wiring=wiring,
            listening=Listening(voice.ears, observers, book, core.pools.capture),
            stages=stages,
        )
        lasting.on_loaded()
        await stack.enter_async_context(stages)
        _keep_running(body, config, observers)
        yield body


def _keep_running(body: Body, config: Config, observers: Observer) -> None:
    lasting, stages, core = body.lasting, body.stages, body.core
    stages.keep("llm.load", partial(load_model, body.brain, observers, body.chores.warm_soon))
    body.listen_to(config.audio.input_device)
    watch = SpeakerWatch(lasting.mouth, core.pools.capture, body.listening.want_refresh)
    stages.keep("speak.watch", watch.watch_loop)
    body.clock.keep_running(stages, body.voice.runner)
    stages.keep("loop.lag", lasting.lag.watch_loop)
    stages.keep("report", lambda: lasting.reporter.watch_loop(core.pools.general))
    body.watch_pressure(config)
    body.serve_status()
    stages.keep("button", partial(body.wiring.press_loop, body.voice.ears))


async def _kept(clock: AlarmClock) -> None:
    """Wait until timers and alarms are on disk: what is said to be set must ring, whatever comes."""
    try:
        async with asyncio.timeout(_KEPT_S):
            await clock.saved()
    except TimeoutError:
        _log.warning("the disk is slow: the answer does not wait for it any longer")


async def _watch_pressure(config: Config, body: Body) -> None:
    await pressure_loop(
        Sensors(cores=len(body.core.topology.cores)),
        make_ladder(config.pressure),
        body.core.pools.general,
        lambda: body.lasting.lag.latest_s,
        body.strain.change,
        on_reading=body.strain.look,
        every_s=_SENSORS_EVERY_S,
    )


async def _serve_status(desk: StatusDesk, core: Core, requests: RateLimiter) -> None:
    told = ""
    while True:
        try:
            place = await core.pools.general.run(socket_to_serve, kind="socket.place")
            async with serve_socket(place, desk, core.pools.general, rates=requests):
                await asyncio.get_running_loop().create_future()  # until cancelled
        except SocketError as error:
            # Another service has it, or the directory can't be written: this one hears and answers all the same.
            if str(error) != told:
                _log.warning("no status socket: %s", error)
            told = str(error)
        await asyncio.sleep(_SOCKET_RETRY_S)
