"""All engines at work, on the agent's own pools and under its core ledger."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Self

from edge_agent.app.core import open_core
from edge_agent.app.tune.working import SwitchedGrant
from edge_agent.bench.hearing import hear_loop, load_recognizer
from edge_agent.bench.materials import QUESTION, SENTENCES
from edge_agent.bench.meter import Meter
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.runtime.ledger import FixedGrant
from edge_agent.runtime.pool import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from edge_agent.app.core import Core
    from edge_agent.bench.materials import Materials
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.runtime.pools import Station

_TOKENS_AHEAD, _SENTENCES_AHEAD = 16, 2
"""As the pipeline has it."""


class LedgerEngines:
    """Language model, voice and recognizer where the agent has them.

    An async context manager: entering loads, leaving frees.
    """

    def __init__(self, config: Config, materials: Materials, *, answer_tokens: int) -> None:
        self._config = config
        self._materials = materials
        self._answer_tokens = answer_tokens

    async def __aenter__(self) -> Self:
        """Load.

        Raises:
            EdgeAgentError: An engine or its model is missing.
        """
        async with AsyncExitStack() as stack:
            self._core: Core = await stack.enter_async_context(open_core(self._config))
            core = self._core
            self._recognizer: SpeechRecognizer = await core.asr.run(
                lambda: load_recognizer(self._config), kind="load.recognizer"
            )
            stack.push_async_callback(core.asr.pool.run, self._recognizer.close)
            self._grant = SwitchedGrant(core.llm_claim)
            llm = self._config.llm.model_copy(update={"max_answer_tokens": self._answer_tokens})
            self._model = LlamaLanguageModel(llm, self._materials.model, self._grant)
            await core.llm.run(self._model.load, kind="load.model")
            stack.push_async_callback(core.llm.pool.run, self._model.close)
            self._voice = PiperSynthesizer(self._config.tts.piper, self._materials.voice, core.tts_claim)
            await core.tts.run(self._voice.load, kind="load.synthesizer")
            stack.push_async_callback(core.tts.pool.run, self._voice.close)
            self._leaving = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Free everything."""
        await self._leaving.aclose()

    @property
    def cores(self) -> int:
        """Cores that may be used, those for listening included."""
        return self._core.ledger.statistics().cores

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Meter]:
        """Let all three work until left."""
        self._grant.grant = self._core.llm_claim
        meter = Meter()
        async with _background(
            {
                "reason": self._reason_loop(self._core.llm, meter),
                "speak": self._speak_loop(meter),
                "hear": hear_loop(
                    self._recognizer, partial(self._core.asr.run, kind="asr"), self._materials.speech, meter
                ),
            }
        ):
            yield meter

    @asynccontextmanager
    async def model_alone(self, threads: int) -> AsyncIterator[Meter]:
        """Let the language model work alone on so many threads, outside of the ledger."""
        from edge_agent.runtime.pools import Station

        self._grant.grant = FixedGrant(threads)
        meter = Meter()
        async with _background({"reason": self._reason_loop(Station(self._core.llm.pool), meter)}):
            yield meter

    def granted_thread_s(self) -> float:
        """Return threads times seconds that the language model was granted so far."""
        name = self._core.llm_claim.name
        return next(claim.thread_s for claim in self._core.ledger.statistics().claims if claim.name == name)

    async def _reason_loop(self, station: Station, meter: Meter) -> None:
        while True:
            job = self._model.generate(QUESTION)
            steps = station.steps(job, kind="llm.answer", stop=partial(self._model.stop, job), ahead=_TOKENS_AHEAD)
            async with aclosing(steps) as pieces:
                async for piece in pieces:
                    if piece:
                        meter.token()

    async def _speak_loop(self, meter: Meter) -> None:
        for sentence in cycle(SENTENCES):
            began_s = time.monotonic()
            audio_s = 0.0
            job = self._voice.synthesize(sentence)
            stop = partial(self._voice.stop, job)
            steps = self._core.tts.steps(
                job, kind="tts.sentence", priority=Priority.HIGH, stop=stop, ahead=_SENTENCES_AHEAD
            )
            async with aclosing(steps) as chunks:
                async for chunk in chunks:
                    audio_s += chunk.duration_s
            meter.sentence(time.monotonic() - began_s, audio_s)


@asynccontextmanager
async def _background(loops: dict[str, Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """Run endless coroutines until left; an error of one ends all and is raised."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop, name=f"bench.{name}") for name, loop in loops.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
