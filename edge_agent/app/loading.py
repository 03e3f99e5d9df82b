"""What a change of the configuration needs anew, loaded beside what is in use: what does not load costs nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from edge_agent.app.build import build_intents, build_model, build_recognizer, build_synthesizer, build_wake
from edge_agent.app.closed_grammar import make_grammar
from edge_agent.app.mind import make_mind
from edge_agent.app.parts import Part
from edge_agent.app.voice import make_vad, open_phrases
from edge_agent.errors import BadInputError, FaultError
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.app.body import Body
    from edge_agent.app.mind import Mind
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.hear.vad import VoiceActivityDetector
    from edge_agent.hear.wake import WakeWordDetector
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.phrases import PhraseCache
    from edge_agent.speak.tts import SpeechSynthesizer

T = TypeVar("T")

_LEAVING_S = 0.5
"""Of the five seconds that shutting down has."""

Closing = tuple["Station", "Callable[[], None]", str]
"""Where an engine is freed, how, and what it is called."""


class PartError(FaultError):
    """A part does not start; `cause` says why."""

    def __init__(self, part: Part, cause: BadInputError | FaultError) -> None:
        super().__init__(f"{part}: {cause}")
        self.part = part
        self.cause = cause


@dataclass(slots=True)
class Fresh:
    """What was loaded; None of what stays as it is.

    Attributes:
        model: Not loaded: there may be no memory for two.
        closings: How to free what is not in use: first what is in here, later what it has replaced.
        caches: Closes the phrases' cache.
    """

    synthesizer: SpeechSynthesizer | None = None
    recognizer: SpeechRecognizer | None = None
    wake: WakeWordDetector | None = None
    vad: VoiceActivityDetector | None = None
    mind: Mind | None = None
    model: LanguageModel | None = None
    cache: PhraseCache | None = None
    caches: AsyncExitStack = field(default_factory=AsyncExitStack)
    closings: list[Closing] = field(default_factory=list)

    async def discard(self, body: Body) -> None:
        """Free it all."""
        closings, self.closings = self.closings, []
        await self.caches.aclose()
        await asyncio.gather(*(body.core.shut(*closing) for closing in closings))


async def load_fresh(body: Body, config: Config, parts: frozenset[Part], fresh: Fresh) -> None:
    """Load what `parts` need anew into `fresh`; the body is not touched.

    The voice loads on its own thread, and speech waits for it; everything else on a thread of this change, so that
    hearing goes on.

    Raises:
        PartError: One does not start.
    """
    pool = Pool("change", metrics=body.core.metrics)
    try:
        await _load(body, config, parts, fresh, pool)
    finally:
        # What still loads was told to stop; it may only be freed when it has.
        await pool.close(_LEAVING_S)


async def _load(body: Body, config: Config, parts: frozenset[Part], fresh: Fresh, pool: Pool) -> None:
    core, places, old = body.core, body.places, body.voice.engines
    if Part.MODEL in parts:
        fresh.model = await blamed(
            Part.MODEL, pool.run(lambda: build_model(config, places, core.llm_claim), kind="load.model")
        )
    if Part.BRAIN in parts:
        intents = await blamed(Part.BRAIN, pool.run(lambda: build_intents(config), kind="load.intents"))
        model = fresh.model if Part.MODEL in parts else body.brain.model
        fresh.mind = await make_mind(config, pool, intents, has_model=model is not None)
    if Part.VOICE in parts:
        voice = await blamed(
            Part.VOICE, pool.run(lambda: build_synthesizer(config, places, core.tts_claim), kind="load.synthesizer")
        )
        fresh.synthesizer = voice
        fresh.closings.append((core.tts, voice.close, "synthesizer"))
        await blamed(Part.VOICE, core.tts.run(voice.load, kind="load.synthesizer"))
    if Part.RECOGNIZER in parts:
        recognizer = await blamed(
            Part.RECOGNIZER, pool.run(lambda: build_recognizer(config, places), kind="load.recognizer")
        )
        fresh.recognizer = recognizer
        fresh.closings.append((core.asr, recognizer.close, "recognizer"))
        said = body.brain.intents if fresh.mind is None else fresh.mind.intents
        grammar = await make_grammar(config, said, pool)
        await blamed(
            Part.RECOGNIZER,
            pool.run(lambda: recognizer.load(grammar), kind="load.recognizer", stop=recognizer.stop),
        )
    if Part.WAKE in parts:
        wake = await blamed(Part.WAKE, pool.run(lambda: build_wake(config), kind="load.wake"))
        if wake is not None:
            fresh.wake = wake
            fresh.closings.append((core.wake, wake.close, "wake"))
            await blamed(Part.WAKE, pool.run(wake.load, kind="load.wake"))
    elif Part.EARS in parts:
        fresh.wake = old.wake
    if Part.EARS in parts:
        fresh.vad = await make_vad(config.vad, pool)
    if Part.PHRASES in parts:
        fresh.cache = await fresh.caches.enter_async_context(open_phrases(config, places, core))


async def blamed(part: Part, work: Awaitable[T]) -> T:
    """Await `work`; what goes wrong in it is that part's fault.

    Raises:
        PartError: It went wrong.
    """
    try:
        return await work
    except (BadInputError, FaultError) as error:
        raise PartError(part, error) from error
