"""`run`: the service. A conversation through microphone, speaker, button and light that outlives their faults."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.alarm_clock import open_timers
from edge_agent.app.brain import open_brain
from edge_agent.app.chores import Chores
from edge_agent.app.core import open_core
from edge_agent.app.habits import open_pauses
from edge_agent.app.memory import open_database, open_memory
from edge_agent.app.model_keeping import ModelKeeping
from edge_agent.app.mouth import Mouth
from edge_agent.app.places import find_places
from edge_agent.app.publishing import open_publisher
from edge_agent.app.recorder import FlightRecorder
from edge_agent.app.status import StatusBook
from edge_agent.app.strain import Strain, make_ladder
from edge_agent.app.voice import open_voice
from edge_agent.devices.button import ButtonEvent, TalkButton
from edge_agent.devices.light import StateLight
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.errors import (
    BadInputError,
    DeviceError,
    FaultError,
    JobTimeoutError,
    SocketError,
    UnknownDeviceError,
)
from edge_agent.gateway.answers import StatusDesk
from edge_agent.gateway.places import socket_to_serve
from edge_agent.gateway.socket import serve_socket
from edge_agent.pipeline.observer import Observers, SilentObserver
from edge_agent.runtime.lag import LoopLag
from edge_agent.runtime.pressure import pressure_loop
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.report import Reporter, Sources
from edge_agent.runtime.sensors import Sensors
from edge_agent.runtime.tasks import Supervisor

if TYPE_CHECKING:
    from edge_agent.app.alarm_clock import AlarmClock
    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.voice import Voice
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.commands import State
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.logs import LogQueue

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_REFRESH_S = 10.0
_SOCKET_RETRY_S = 60.0
_REQUESTS_BURST = 40
_REQUESTS_PER_S = 20.0
"""Of one user: a report costs the loop milliseconds, and nobody reads more."""
_SENSORS_EVERY_S = 4.0
"""A board warms up in tens of seconds; a look costs about 2 ms."""
_KEPT_S = 0.5
"""A change is on disk within milliseconds; a card that takes longer than this is not waited for."""
SHUTDOWN_S = 5
"""From SIGTERM to exit at the most."""


class _LightObserver(SilentObserver):
    """Shows the state on the light."""

    def __init__(self, light: StateLight) -> None:
        self._light = light

    def state_changed(self, state: State, *, muted: bool) -> None:
        self._light.show(state.value, muted=muted)

    def fault(self, message: str) -> None:
        self._light.show_fault()


async def serve(config: Config, observer: Observer, logs: LogQueue | None = None) -> None:
    """Hold conversations until SIGTERM or SIGINT; then return within `SHUTDOWN_S`, or be killed by SIGALRM.

    Raises:
        BadInputError: The configuration, a model or an intents file is wrong.
        EngineError: An engine did not start.
    """
    serving = asyncio.create_task(_serve(config, observer, logs), name="serve")
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            # The kernel keeps the bound, whatever a native library does: SIGALRM's default action ends the process.
            signal.alarm(SHUTDOWN_S)
            serving.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not stopping:
            raise
        _log.info("stopped")


async def _serve(config: Config, observer: Observer, logs: LogQueue | None) -> None:
    recorder = FlightRecorder(config.recorder)
    try:
        await _converse(config, observer, logs, recorder)
    except (BadInputError, FaultError):
        raise  # known, and told in a line: not what a flight recorder is read for
    except Exception:
        recorder.dump()
        raise


async def _converse(config: Config, observer: Observer, logs: LogQueue | None, recorder: FlightRecorder) -> None:
    places = find_places(config.directories)
    mouth = Mouth(config.audio)
    book = StatusBook()
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(config))
        publisher = await stack.enter_async_context(open_publisher(config))
        brain = await stack.enter_async_context(open_brain(config, places, core, volume=mouth, publisher=publisher))
        stack.push_async_callback(mouth.close)
        light = await stack.enter_async_context(StateLight(config.gpio.light, brain.pin_factory))

        def tell(fault: str) -> None:
            book.fault(fault)
            observer.fault(fault)

        database = await stack.enter_async_context(open_database(places, core, tell))
        memory = await stack.enter_async_context(open_memory(config, database, core, brain))
        clock = await stack.enter_async_context(open_timers(config.timers, database, brain.actor, brain.clock, tell))
        chores = Chores(core, brain, keep_prefix=config.llm.keep_prefix)
        pauses = await stack.enter_async_context(open_pauses(config.endpoint, places, core))
        keeping = ModelKeeping(core, brain, lambda: observers, chores.warm_soon)
        observers = Observers(observer, book, recorder, _LightObserver(light), clock.ringing, memory, chores, keeping)
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
                on_utterance=recorder.note_audio if recorder.keeps_audio else None,
                kept=partial(_kept, clock),
                pauses=pauses,
            )
        )
        book.know(voice, brain, mouth)
        _log.info("hears with %s, speaks with %s", voice.recognizer.name, voice.synthesizer.name)
        _log.info("%s", core.topology.describe())
        chores.render_fixed(voice)
        strain = Strain(core, brain.responder, voice.phrases.cache, observers)
        lag = LoopLag()
        requests = RateLimiter("socket", burst=_REQUESTS_BURST, per_s=_REQUESTS_PER_S)
        reporter = Reporter(
            Sources(
                core.metrics,
                pools=lambda: [*(pool.statistics() for pool in core.pools), *book.threads()],
                ledger=core.ledger.statistics,
                channels=lambda: [*book.channels(), *voice.runner.channels(), voice.phrases.cache.channel],
                limits=core.limits.statistics,
                rates=lambda: [requests.statistics()],
                lag=lag,
                pressure=lambda: strain.state,
                logs_lost=lambda: 0 if logs is None else logs.lost,
            )
        )
        button: TalkButton | None = None
        if config.gpio.button is not None and brain.pin_factory is not None:
            button = await stack.enter_async_context(TalkButton(config.gpio.button, brain.pin_factory))
        stack.callback(core.scheduler.preempt_idle)  # when the stages have ended: nothing idle outlives its engine
        stages = await stack.enter_async_context(Supervisor(core.metrics, observers.fault))
        stages.keep("llm.load", partial(_load_model, brain, observers, chores))
        stages.keep("hear.capture", lambda: _hear_loop(config.audio.input_device, voice, observers, core, book))
        clock.keep_running(stages, voice.runner)
        stages.keep("loop.lag", lag.watch_loop)
        stages.keep("report", lambda: reporter.watch_loop(core.pools.general))
        stages.keep("pressure", lambda: _pressure_loop(config, core, lag, strain))
        stages.keep(
            "status.socket",
            lambda: _socket_loop(_desk(reporter, core, book, recorder), core, requests),
        )
        if button is not None:
            stages.keep("button", partial(_button_loop, button, voice.ears))
        await asyncio.get_running_loop().create_future()  # until cancelled


async def _kept(clock: AlarmClock) -> None:
    """Wait until timers and alarms are on disk: what is said to be set must ring, whatever comes."""
    try:
        async with asyncio.timeout(_KEPT_S):
            await clock.saved()
    except TimeoutError:
        _log.warning("the disk is slow: the answer does not wait for it any longer")


def _desk(reporter: Reporter, core: Core, book: StatusBook, recorder: FlightRecorder) -> StatusDesk:
    return StatusDesk(
        reporter,
        core.pools.general,
        book.describe,
        turns=recorder.turns if recorder.keeps_turns else None,
        audio=recorder.audio if recorder.keeps_audio else None,
    )


async def _pressure_loop(config: Config, core: Core, lag: LoopLag, strain: Strain) -> None:
    await pressure_loop(
        Sensors(cores=len(core.topology.cores)),
        make_ladder(config.pressure),
        core.pools.general,
        lambda: lag.latest_s,
        strain.change,
        on_reading=strain.look,
        every_s=_SENSORS_EVERY_S,
    )


async def _load_model(brain: Brain, observer: Observer, chores: Chores) -> None:
    """Take the language model into use when it is in memory; without it intents are answered all the same."""
    try:
        await brain.loaded()
    except (BadInputError, FaultError) as error:
        brain.responder.do_without_model()
        message = f"no language model: {error}"
        _log.error("%s", message)
        observer.fault(message)
    else:
        chores.warm_soon()


async def _socket_loop(desk: StatusDesk, core: Core, requests: RateLimiter) -> None:
    told = ""
    while True:
        try:
            async with serve_socket(socket_to_serve(), desk, core.pools.general, rates=requests):
                await asyncio.get_running_loop().create_future()  # until cancelled
        except SocketError as error:
            # Another service has it, or the directory can't be written: this one hears and answers all the same.
            if str(error) != told:
                _log.warning("no status socket: %s", error)
            told = str(error)
        await asyncio.sleep(_SOCKET_RETRY_S)


async def _hear_loop(device: str, voice: Voice, observer: Observer, core: Core, book: StatusBook) -> None:
    """Listen to the microphone for ever; reopen it, with a growing pause, when it is absent or lost."""
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            async with Microphone(device) as microphone:
                _log.info("listening to %s", microphone.name)
                book.hear(microphone)
                retry_s = _FIRST_RETRY_S
                await voice.ears.listen(microphone, patient=False)
        except (DeviceError, UnknownDeviceError, JobTimeoutError) as error:
            message = f"{error}; trying again in {retry_s:.0f} s"
            _log.warning("%s", message)
            observer.fault(message)
        finally:
            voice.ears.abandon()
            book.hear(None)
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        await core.pools.capture.run(refresh_devices, kind="devices.refresh", timeout_s=_REFRESH_S)


async def _button_loop(button: TalkButton, ears: Ears) -> None:
    async for event in button.events():
        match event:
            case ButtonEvent.PRESSED:
                ears.press()
            case ButtonEvent.RELEASED:
                await ears.release()
            case ButtonEvent.HELD:
                ears.hold()
