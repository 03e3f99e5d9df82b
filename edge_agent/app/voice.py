"""Loads what hears and speaks, and joins it with the brain into a runner."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.build import build_recognizer, build_synthesizer, build_wake
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.run import Runner, Stages
from edge_agent.pipeline.speaking import SpokenPhrases
from edge_agent.pipeline.turn import Conversation
from edge_agent.runtime.scheduled import Task
from edge_agent.runtime.tasks import track
from edge_agent.speak.phrases import PhraseCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.grammar import Grammar
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.pipeline.observer import Observer
    from edge_agent.reason.templates import IntentSet
    from edge_agent.runtime.scheduled import Handle
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer

_log = logging.getLogger(__name__)

_MIB = 2**20
_LAST_SAVING_S = 0.5


@dataclass(frozen=True, slots=True)
class Voice:
    """A conversation ready to begin."""

    runner: Runner
    ears: Ears
    recognizer: SpeechRecognizer
    synthesizer: SpeechSynthesizer
    phrases: SpokenPhrases


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
    core: Core,
    brain: Brain,
    *,
    observer: Observer,
    open_speaker: Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]],
    wait_for_model: bool = True,
) -> AsyncIterator[Voice]:
    """Load recognizer, synthesizer and wake words side by side; leaving ends the turn that runs and frees them.

    With `wait_for_model` the language model is in memory, too, when the conversation can begin.

    Raises:
        ModelError: A model is absent, incomplete or corrupt.
        ConfigError: The configuration asks for what is not installed.
        EngineError: An engine did not start.
    """
    from edge_agent.engines.webrtc import WebRtcVad

    recognizer = await core.match.run(lambda: build_recognizer(config, places), kind="load.recognizer")
    synthesizer = await core.match.run(
        lambda: build_synthesizer(config, places, core.tts_claim), kind="load.synthesizer"
    )
    core.tts_claim.bound(synthesizer.most_threads)
    wake = await core.match.run(lambda: build_wake(config), kind="load.wake")

    async def load_recognizer() -> None:
        grammar = await core.match.run(lambda: closed_grammar(config, brain.intents), kind="load.grammar")
        await core.asr.run(lambda: recognizer.load(grammar), kind="load.recognizer", stop=recognizer.stop)

    loading: tuple[Handle[None], ...] = ()
    try:
        loads: list[Task[None]] = [
            Task("load.recognizer", load_recognizer, priority=1, after=("load.intents",), awaited=True),
            Task(
                "load.synthesizer",
                partial(core.tts.run, synthesizer.load, kind="load.synthesizer"),
                priority=2,
                awaited=True,
            ),
        ]
        if wake is not None:
            loads.append(
                Task("load.wake", partial(core.wake.run, wake.load, kind="load.wake"), priority=3, awaited=True)
            )
        loading = core.scheduler.submit(*loads)
        for handle in loading:
            await handle.result()
        vad = await core.wake.run(lambda: WebRtcVad(config.vad.aggressiveness), kind="load.vad")
        if wait_for_model:
            await brain.loaded()
        async with open_phrases(config, places, core) as cache:
            phrases = SpokenPhrases(cache, _voice_key(config, synthesizer))
            stages = Stages(recognizer, core.asr, brain.responder, synthesizer, core.tts, open_speaker, phrases)
            async with Runner(stages, Conversation.begin(config.activation.mode), observer, core.metrics) as runner:
                ears = Ears(
                    runner,
                    vad,
                    config.endpoint,
                    wake=wake,
                    wake_station=core.wake,
                    listen_s=config.activation.listen_s,
                )
                yield Voice(runner, ears, recognizer, synthesizer, phrases)
    finally:
        for handle in loading:
            handle.cancel()
        await asyncio.gather(
            core.shut(core.asr, recognizer.close, "recognizer"),
            core.shut(core.tts, synthesizer.close, "synthesizer"),
            *([core.shut(core.wake, wake.close, "wake")] if wake is not None else []),
        )


@asynccontextmanager
async def open_phrases(config: Config, places: Places, core: Core) -> AsyncIterator[PhraseCache]:
    """Open the cache of rendered sentences; leaving writes what is not on disk yet, for half a second at most."""
    disk_bytes = int(config.phrases.disk_mib * _MIB)
    cache = PhraseCache(
        int(config.phrases.memory_mib * _MIB),
        directory=places.cache / "phrases" if disk_bytes else None,
        disk_bytes=disk_bytes,
        pool=core.pools.file_io,
    )
    saving = track(asyncio.create_task(cache.save_loop(), name="phrases.save"), core.metrics)
    try:
        yield cache
    finally:
        cache.close()
        await asyncio.wait({saving}, timeout=_LAST_SAVING_S)
        saving.cancel()
        await asyncio.wait({saving})


def _voice_key(config: Config, synthesizer: SpeechSynthesizer) -> str:
    """Name the voice with every setting that changes its sound."""
    settings = config.tts.model_dump_json(exclude={"piper": {"threads"}})
    return f"{synthesizer.name} {hashlib.sha256(settings.encode()).hexdigest()[:16]} {config.language}"
