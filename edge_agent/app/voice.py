"""Loads what hears and speaks, and joins it with the brain into a runner."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.build import build_recognizer, build_synthesizer, build_wake
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.run import Runner, Stages
from edge_agent.pipeline.turn import Conversation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from edge_agent.app.brain import Brain
    from edge_agent.app.lanes import Lanes
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.grammar import Grammar
    from edge_agent.pipeline.observer import Observer
    from edge_agent.reason.templates import IntentSet
    from edge_agent.speak.sink import AudioSink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Voice:
    """A conversation ready to begin."""

    runner: Runner
    ears: Ears
    recognizer_name: str
    synthesizer_name: str


def closed_grammar(config: Config, intents: IntentSet) -> Grammar | None:
    """Return the grammar of all intents; None where dictation is free or nothing can be said."""
    if not config.asr.closed:
        return None
    from edge_agent.reason.sampling import sample_grammar

    grammar = sample_grammar(intents.intents, config.language)
    return grammar if grammar.sentences else None


@asynccontextmanager
async def open_voice(
    config: Config,
    places: Places,
    lanes: Lanes,
    brain: Brain,
    *,
    observer: Observer,
    open_speaker: Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]],
) -> AsyncIterator[Voice]:
    """Load recognizer, synthesizer and wake words side by side; leaving ends the turn that runs and frees them.

    Raises:
        ModelError: A model is absent, incomplete or corrupt.
        ConfigError: The configuration asks for what is not installed.
        EngineError: An engine did not start.
    """
    from edge_agent.engines.webrtc import WebRtcVad

    recognizer = build_recognizer(config, places)
    synthesizer = build_synthesizer(config, places)
    wake = build_wake(config)
    try:
        async with asyncio.TaskGroup() as loading:
            loading.create_task(
                lanes.asr.run(lambda: recognizer.load(closed_grammar(config, brain.intents))), name="load.recognizer"
            )
            loading.create_task(lanes.tts.run(synthesizer.load), name="load.synthesizer")
            if wake is not None:
                loading.create_task(lanes.capture.run(wake.load), name="load.wake")
        stages = Stages(recognizer, lanes.asr, brain.responder, synthesizer, lanes.tts, open_speaker)
        async with Runner(stages, Conversation.begin(config.activation.mode), observer) as runner:
            ears = Ears(
                runner,
                WebRtcVad(config.vad.aggressiveness),
                config.endpoint,
                wake=wake,
                wake_lane=lanes.capture,
                listen_s=config.activation.listen_s,
            )
            yield Voice(runner, ears, recognizer.name, synthesizer.name)
    finally:
        await lanes.asr.run(recognizer.close)
        await lanes.tts.run(synthesizer.close)
        if wake is not None:
            await lanes.capture.run(wake.close)
