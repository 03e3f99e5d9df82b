"""Takes a change of the configuration into a running body: only what it concerns is restarted.

load beside ─▶ pins ─▶ (no turn goes on) ─▶ all at once: intents, engines, ears ─▶ devices, model ─▶ free the old
fails: nothing         what fails from here on has changed a part; another change puts it right
has changed
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge_agent.app.loading import Fresh, blamed, load_fresh
from edge_agent.app.parts import Part
from edge_agent.pipeline.facts import ModeChanged
from edge_agent.runtime.tasks import surely

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.body import Body
    from edge_agent.app.loading import Closing
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.run import Runner

_log = logging.getLogger(__name__)

TURN_S = 30.0
"""A turn that goes on is waited for so long; then it is cut off. Few answers are longer."""
_BETWEEN_TURNS = frozenset((Part.BRAIN, Part.EARS, Part.WAKE, Part.MODEL, Part.SPEAKER, Part.MICROPHONE))
"""Parts that nobody may be using. A voice, a recognizer or a cache is left to the turn that began with it."""
_PINS = frozenset((Part.OUTPUTS, Part.BUTTON, Part.LIGHT))


async def swap(body: Body, config: Config, parts: frozenset[Part], on_touched: Callable[[], None]) -> None:
    """Let the body run with `config`; all `parts`, the core excepted, are restarted.

    Args:
        body: Runs with another configuration, or with some of this one already.
        config: What it is to run with.
        parts: What is restarted.
        on_touched: Is called when something has changed that a failure does not undo.

    Raises:
        PartError: A part does not start.
    """
    fresh = Fresh()
    try:
        await load_fresh(body, config, parts, fresh)
        if parts & _PINS:
            on_touched()
            await _rewire(body, config, parts)
        if parts & _BETWEEN_TURNS:
            await quiet(body.voice.runner)
        on_touched()
        old_model = body.brain.model
        _take(body, config, parts, fresh)
        await _change_devices(body, config, parts)
        if Part.MODEL in parts:
            await blamed(Part.MODEL, body.brain.exchange(old_model, is_wanted=body.keeping.is_wanted))
            body.keeping.renew()
        elif Part.BRAIN in parts:
            await body.brain.use_model()
        _refresh(body, parts)
        if fresh.closings:
            await _let_finish(body.voice.runner)
    finally:
        if fresh.closings:
            body.core.scheduler.preempt_idle()  # nothing idle may use what is closed
        await surely(fresh.discard(body), "change.discard")  # an engine may have a process
        body.core.scheduler.wake()


async def quiet(runner: Runner, within_s: float = TURN_S) -> None:
    """Return when no turn goes on; one that takes longer is cut off.

    What whoever called this does before its next await is done between turns.
    """
    try:
        async with asyncio.timeout(within_s):
            while runner.conversation.in_turn:
                await runner.rested()
    except TimeoutError:
        runner.interrupt("configuration")
        while runner.conversation.in_turn:  # announcements that waited are turns, too
            runner.interrupt("configuration")


async def _let_finish(runner: Runner) -> None:
    try:
        async with asyncio.timeout(TURN_S):
            await runner.settled()
    except TimeoutError:
        runner.interrupt("configuration")
        await runner.settled()


def _take(body: Body, config: Config, parts: frozenset[Part], fresh: Fresh) -> None:
    """Take into use what was loaded; what was in use then takes its place in `fresh`, to be freed."""
    core, brain, voice = body.core, body.brain, body.voice
    engines = voice.engines
    old: list[Closing] = []
    if Part.MODEL in parts:
        brain.replace_model(fresh.model)
    if fresh.mind is not None:
        brain.think(fresh.mind)
        body.strain.responder = brain.responder
    if fresh.synthesizer is not None:
        old.append((core.tts, engines.synthesizer.close, "synthesizer"))
        engines.synthesizer = fresh.synthesizer
        core.size_voice(config, fresh.synthesizer)
    if fresh.recognizer is not None:
        old.append((core.asr, engines.recognizer.close, "recognizer"))
        engines.recognizer = fresh.recognizer
    if Part.WAKE in parts:
        if engines.wake is not None:
            old.append((core.wake, engines.wake.close, "wake"))
        engines.wake = fresh.wake
    if fresh.cache is not None:
        body.strain.phrases = fresh.cache
        fresh.caches, voice.caches = voice.caches, fresh.caches
    fresh.closings = old
    voice.take_into_use(config, fresh.cache or voice.phrases.cache)
    if fresh.vad is not None:
        pauses = body.habits.configure(config.endpoint)
        voice.ears.configure(
            fresh.vad, config.endpoint, config.activation, config.interruption, wake=engines.wake, pauses=pauses
        )
        if config.activation.mode != voice.runner.conversation.mode:
            voice.runner.post(ModeChanged(config.activation.mode))
    _set(body, config, parts)


def _set(body: Body, config: Config, parts: frozenset[Part]) -> None:
    """What is only a number somewhere; to set it again does no harm."""
    brain, lasting = body.brain, body.lasting
    brain.responder.answers_the_unclear = config.activation.mode != "always"
    body.clock.configure(config.timers, brain.actor)
    body.memory.configure(config)
    body.chores.keep_prefix = config.llm.keep_prefix
    if Part.RECORDER in parts:
        lasting.recorder.configure(config.recorder)
    lasting.mouth.configure_volume(config.audio.volume)
    if parts & {Part.GENERATION, Part.MODEL}:
        body.core.size_model(config, brain.model)
    if Part.GENERATION in parts and brain.model is not None:
        brain.model.tune(config.llm)


async def _rewire(body: Body, config: Config, parts: frozenset[Part]) -> None:
    """Pins may go from one to the other: all that are given up are free before others are claimed."""
    wiring, brain = body.wiring, body.brain
    if Part.BUTTON in parts:
        await wiring.close_button()
    if Part.LIGHT in parts:
        await wiring.close_light()
    if Part.OUTPUTS in parts:
        await blamed(Part.OUTPUTS, brain.rewire(config.gpio))
    if Part.LIGHT in parts:
        await blamed(Part.LIGHT, wiring.open_light(config.gpio.light, brain.pin_factory))
    if Part.BUTTON in parts:
        await blamed(Part.BUTTON, wiring.open_button(config.gpio.button, brain.pin_factory))


async def _change_devices(body: Body, config: Config, parts: frozenset[Part]) -> None:
    """A device that can't be opened is no failure yet: it may come; the health gate waits for it."""
    if Part.SPEAKER in parts:
        await body.lasting.mouth.configure(config.audio)
    if Part.MICROPHONE in parts:
        await body.stages.end("hear.capture")
        body.listen_to(config.audio.input_device)
    if Part.PRESSURE in parts:
        await body.stages.end("pressure")
        body.watch_pressure(config)
    if Part.RECORDER in parts:
        await body.stages.end("status.socket")
        body.serve_status()


def _refresh(body: Body, parts: frozenset[Part]) -> None:
    """Tell of the new engines, and have done beforehand what is done beforehand."""
    body.lasting.book.know(body.voice, body.brain, body.lasting.mouth)
    if parts & {Part.MODEL, Part.BRAIN}:
        body.chores.warm_soon()
    if parts & {Part.VOICE, Part.BRAIN, Part.PHRASES}:
        body.chores.render_fixed(body.voice)
