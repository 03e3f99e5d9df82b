"""Loads what hears and speaks, and joins it with the brain into a runner."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.build import build_recognizer, build_synthesizer, build_wake
from edge_agent.app.closed_grammar import make_grammar
from edge_agent.hear.noise import NoiseAwareVad
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.facts import MuteChanged
from edge_agent.pipeline.hearing import LONGEST_CALL_S
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.speaking import SpokenPhrases
from edge_agent.pipeline.stages import STOPPING, Stages
from edge_agent.pipeline.turn import Conversation
from edge_agent.reason.backchannel import is_backchannel
from edge_agent.runtime.scheduled import Task
from edge_agent.runtime.tasks import track
from edge_agent.speak.earcons import earcon
from edge_agent.speak.phrases import PhraseCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.mouth import Mouth
    from edge_agent.app.places import Places
    from edge_agent.audio import AudioChunk
    from edge_agent.config.audio import InterruptionConfig, VadConfig
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.hear.pauses import PauseLearner
    from edge_agent.hear.vad import VoiceActivityDetector
    from edge_agent.hear.wake import WakeWordDetector
    from edge_agent.pipeline.answering import Understanding
    from edge_agent.pipeline.observer import Observer
    from edge_agent.reason.matcher import IntentMatch
    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.scheduled import Handle
    from edge_agent.speak.earcons import Earcon
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer

    SpeakerOpener = Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]]

_log = logging.getLogger(__name__)

_MIB = 2**20
_LAST_SAVING_S = 0.5
_SURE = 0.5
_INSISTS_S = 1.2
"""Somebody who speaks for so long into an answer means it, understood or not: no cough takes as long."""


@dataclass(slots=True)
class Engines:
    """What hears and what speaks."""

    recognizer: SpeechRecognizer
    synthesizer: SpeechSynthesizer
    wake: WakeWordDetector | None


class Voice:
    """A conversation ready to begin. Its engines may be replaced while it goes on: the runner and the ears stay.

    Args:
        make_stages: Makes the runner's stages of the engines and the phrases, as a configuration says.
        caches: Closes the phrases' cache.
    """

    def __init__(
        self,
        runner: Runner,
        ears: Ears,
        engines: Engines,
        phrases: SpokenPhrases,
        *,
        make_stages: Callable[[Config, Engines, SpokenPhrases], Stages],
        caches: AsyncExitStack,
    ) -> None:
        self.runner = runner
        self.ears = ears
        self.engines = engines
        self.phrases = phrases
        self.caches = caches
        self._make_stages = make_stages

    @property
    def recognizer(self) -> SpeechRecognizer:
        """What hears."""
        return self.engines.recognizer

    @property
    def synthesizer(self) -> SpeechSynthesizer:
        """What speaks."""
        return self.engines.synthesizer

    def take_into_use(self, config: Config, cache: PhraseCache) -> None:
        """Let the runner work with the engines that there are now, and with `cache`."""
        self.phrases = SpokenPhrases(cache, _voice_key(config, self.synthesizer))
        self.runner.stages = self._make_stages(config, self.engines, self.phrases)


@asynccontextmanager
async def open_voice(
    config: Config,
    places: Places,
    core: Core,
    brain: Brain,
    *,
    observer: Observer,
    open_speaker: SpeakerOpener,
    wait_for_model: bool = True,
    mouth: Mouth | None = None,
    on_utterance: Callable[[int, AudioChunk], None] | None = None,
    kept: Callable[[], Awaitable[None]] = nothing_to_keep,
    pauses: PauseLearner | None = None,
    before: Conversation | None = None,
    longest_hearing_s: float = LONGEST_CALL_S,
) -> AsyncIterator[Voice]:
    """Load recognizer, synthesizer and wake words side by side; leaving ends the turn that runs and frees them.

    Args:
        config: All of it.
        places: Where models and caches are.
        core: What everything works on.
        brain: Finds the answers.
        observer: Is told what happens.
        open_speaker: Gives a turn something to speak into.
        wait_for_model: The language model is in memory, too, when the conversation can begin.
        mouth: Plays tones, and knows how loud what it plays is; None where nothing can be heard.
        on_utterance: Is given each frame of an utterance and its turn's id.
        kept: Returns when what an intent changed is on disk.
        pauses: Learns how long people pause; None: a new one.
        before: The conversation that this one goes on with: muted, where that was, and with the next turn's number.
        longest_hearing_s: What the recognizer may take over one call before it is thought to hang.

    Raises:
        ModelError: A model is absent, incomplete or corrupt.
        ConfigError: The configuration asks for what is not installed.
        EngineError: An engine did not start.
    """
    recognizer = await core.match.run(lambda: build_recognizer(config, places), kind="load.recognizer")
    synthesizer = await core.match.run(
        lambda: build_synthesizer(config, places, core.tts_claim), kind="load.synthesizer"
    )
    core.size_voice(config, synthesizer)
    wake = await core.match.run(lambda: build_wake(config), kind="load.wake")
    engines = Engines(recognizer, synthesizer, wake)

    async def load_recognizer() -> None:
        grammar = await make_grammar(config, brain.intents, core.match)
        await core.asr.run(lambda: recognizer.load(grammar), kind="load.recognizer", stop=recognizer.stop)

    loading: tuple[Handle[None], ...] = ()
    caches = AsyncExitStack()
    voice: Voice | None = None
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
        vad = await make_vad(config.vad, core.wake.pool)
        if wait_for_model:
            await brain.loaded()
        cache = await caches.enter_async_context(open_phrases(config, places, core))
        phrases = SpokenPhrases(cache, _voice_key(config, synthesizer))
        make_stages = StageMaker(core, brain, mouth, open_speaker, kept, longest_hearing_s).make
        conversation = Conversation.begin(config.activation.mode)
        if before is not None:
            conversation = replace(conversation, turn_id=before.newest_id, newest_id=before.newest_id)
        stages = make_stages(config, engines, phrases)
        async with Runner(stages, conversation, observer, core.metrics) as runner:
            ears = Ears(
                runner,
                vad,
                config.endpoint,
                config.activation,
                config.interruption,
                wake=wake,
                wake_station=core.wake,
                pauses=pauses,
                on_utterance=on_utterance,
            )
            voice = Voice(runner, ears, engines, phrases, make_stages=make_stages, caches=caches)
            if before is not None and before.muted:
                runner.post(MuteChanged(muted=True))
            yield voice
    finally:
        for handle in loading:
            handle.cancel()
        await (caches if voice is None else voice.caches).aclose()
        await asyncio.gather(
            core.shut(core.asr, engines.recognizer.close, "recognizer"),
            core.shut(core.tts, engines.synthesizer.close, "synthesizer"),
            *([core.shut(core.wake, engines.wake.close, "wake")] if engines.wake is not None else []),
        )


async def make_vad(config: VadConfig, pool: Pool) -> VoiceActivityDetector:
    """Return a voice activity detector."""
    from edge_agent.engines.webrtc import WebRtcVad

    def load() -> VoiceActivityDetector:
        import numpy as np  # noqa: F401 - what the first frame needs is read from the card here, not on the loop

        return NoiseAwareVad(WebRtcVad(config.aggressiveness))

    return await pool.run(load, kind="load.vad")


@dataclass(frozen=True, slots=True)
class StageMaker:
    """Makes a runner's stages, whatever engines it works with.

    Attributes:
        open_speaker: Gives a turn something to speak into.
        kept: Returns when what an intent changed is on disk.
    """

    core: Core
    brain: Brain
    mouth: Mouth | None
    open_speaker: SpeakerOpener
    kept: Callable[[], Awaitable[None]]
    longest_hearing_s: float = LONGEST_CALL_S

    def make(self, config: Config, engines: Engines, phrases: SpokenPhrases) -> Stages:
        """Return stages with these engines, the brain as it is, and what the configuration says."""
        return Stages(
            engines.recognizer,
            self.core.asr,
            self.brain.responder,
            engines.synthesizer,
            self.core.tts,
            self.open_speaker,
            phrases,
            chime=None if self.mouth is None else partial(_chime, self.mouth, audible=config.audio.earcons),
            recent_level=(lambda _: 0.0) if self.mouth is None else self.mouth.recent_level,
            interrupts=partial(interrupts, config.interruption, config.language),
            is_backchannel=partial(is_backchannel, language=config.language, ignored=config.interruption.ignored),
            believes=lambda meant: meant.believed() if self.brain.rings and is_stop(meant.doubtful) else meant,
            kept=self.kept,
            follow_up=config.activation.follow_up_s > 0,
            longest_hearing_s=self.longest_hearing_s,
        )


async def _chime(mouth: Mouth, name: Earcon, *, audible: bool) -> None:
    # What rings has to be heard, whatever is thought of tones.
    if audible or name == "alert":
        await mouth.play(earcon(name))


def interrupts(
    config: InterruptionConfig, language: str, understanding: Understanding, spoke_s: float
) -> Understanding | None:
    """Return what words said into an answer mean, at the configured level; None where they do not interrupt it.

    "Stop" is too short for PocketSphinx to be sure of; said into an answer it is believed. Of 36 such commands in four
    of Flite's voices 34 were understood then, and of 121 other utterances and noises one was taken for it.
    """
    if is_stop(understanding.match):
        return understanding
    if is_stop(understanding.doubtful):
        return understanding.believed()
    text = understanding.transcript.text
    if config.by == "speech" and not text and spoke_s >= _INSISTS_S:
        return replace(understanding, insists=True)
    if config.by == "stop_word" or not text or is_backchannel(text, language, config.ignored):
        return None
    confidence = understanding.transcript.confidence
    # Free dictation makes some short word of any noise.
    is_noise = understanding.match is None and len(text.split()) == 1 and confidence is not None and confidence < _SURE
    return None if is_noise else understanding


def is_stop(match: IntentMatch | None) -> bool:
    """Tell whether an intent silences the agent."""
    return match is not None and match.intent in STOPPING


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
