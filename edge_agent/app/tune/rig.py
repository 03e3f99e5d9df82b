"""The engines that the configuration would use, loaded on the agent's own pools, to be measured."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.build import build_intents, build_model, build_recognizer, build_synthesizer
from edge_agent.app.closed_grammar import make_grammar
from edge_agent.app.core import open_core
from edge_agent.app.places import Places
from edge_agent.app.tune.applying import TunedThreads
from edge_agent.app.tune.bench_words import question, sentences, spoken_command
from edge_agent.app.tune.stored import Engine, LlmSpeed, Together, VoiceSpeed
from edge_agent.app.tune.working import Share, SwitchedGrant, hear, read_and_write, render
from edge_agent.audio import AudioChunk
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from edge_agent.app.core import Core
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.runtime.plan import ThreadPlan
    from edge_agent.speak.tts import SpeechSynthesizer

_PACKAGES = {
    "llama.cpp": "llama-cpp-python",
    "piper": "piper-tts",
    "vosk": "vosk",
    "pocketsphinx": "pocketsphinx",
}
_ANSWER_TOKENS = 512
_ASR, _LLM, _TTS = "tune.asr", "tune.llm", "tune.tts"


@dataclass(frozen=True, slots=True)
class TuneRig:
    """Loaded engines; each is measured alone, outside of the ledger, or with others, by its claims."""

    core: Core
    config: Config
    recognizer: SpeechRecognizer
    voice: SpeechSynthesizer
    model: LanguageModel | None
    model_grant: SwitchedGrant
    voice_grant: SwitchedGrant
    utterance: list[AudioChunk]

    @property
    def engines(self) -> tuple[Engine, Engine | None, Engine]:
        """Recognizer, language model and voice, with the versions of their libraries."""
        model = None if self.model is None else _engine(self.model.name)
        return _engine(self.recognizer.name), model, _engine(self.voice.name)

    async def model_alone(self, threads: int, seconds: float) -> LlmSpeed | None:
        """Measure the language model on so many threads; None where it is stopped, or is none."""
        if self.model is None:
            return None
        self.model_grant.grant = FixedGrant(threads)
        work = partial(read_and_write, self.model, question(is_long=True), seconds)
        prefill, decode = await self.core.llm.pool.run(work, kind=_LLM, stop=self.model.stop)
        if prefill is None or decode is None:
            return None
        return LlmSpeed(threads=threads, prefill_tokens_per_s=prefill, decode_tokens_per_s=decode)

    async def voice_alone(self, threads: int, seconds: float) -> VoiceSpeed | None:
        """Measure the voice on so many threads, after a sentence that is not counted."""
        self.voice_grant.grant = FixedGrant(threads)
        pool = self.core.tts.pool
        work = partial(render, self.voice, self._sentences[0])
        await pool.run(work, kind=_TTS, stop=self.voice.stop)
        over = _after(seconds)
        factor = await self._speak(lambda call: pool.run(call, kind=_TTS, stop=self.voice.stop), over)
        return None if factor is None else VoiceSpeed(threads=threads, real_time_factor=factor)

    async def recognizer_alone(self, seconds: float) -> float | None:
        """Measure the recognizer, which computes on one thread, after an utterance that is not counted."""
        work = partial(hear, self.recognizer, self.utterance)
        share, until_s = Share(), 0.0
        for turn in count():
            took = await self.core.asr.pool.run(work, kind=_ASR, stop=self.recognizer.stop)
            if turn == 0:
                until_s = time.monotonic() + seconds
                continue
            share.add(*took)
            if time.monotonic() >= until_s:
                break
        return share.real_time_factor

    async def together(self, voice_threads: int, seconds: float, plan: ThreadPlan | None = None) -> Together:
        """Measure voice and language model at once, by the ledger.

        Args:
            voice_threads: The voice asks for so many, whatever else goes on.
            seconds: For so long.
            plan: Share by this plan, and hear meanwhile, as fast as somebody speaks.
        """
        core = self.core
        compute = core.ledger.compute_cores
        core.tts_claim.resize(voice_threads if plan is None else plan.tts or voice_threads)
        core.tts_claim.bound(self.voice.most_threads)
        core.tts_claim.make_way(None if plan is None else plan.tts_beside)
        core.llm_claim.resize((None if plan is None else plan.llm) or compute)
        self.model_grant.grant, self.voice_grant.grant = core.llm_claim, core.tts_claim
        over = passed = _after(seconds)
        hearing = reasoning = None
        async with asyncio.TaskGroup() as tasks:
            if self.model is not None:
                work = partial(read_and_write, self.model, question(is_long=False), seconds)
                reason = core.llm.run(work, kind=_LLM, stop=self.model.stop)
                answering = reasoning = tasks.create_task(reason, name=_LLM)

                def over() -> bool:
                    # The model's last token is to have been written while the others were at work, too.
                    return passed() and answering.done()

            speak = self._speak(lambda call: core.tts.run(call, kind=_TTS, stop=self.voice.stop), over)
            speaking = tasks.create_task(speak, name=_TTS)
            if plan is not None:
                hearing = tasks.create_task(self._hear(over), name=_ASR)
        return Together(
            tts_threads=voice_threads,
            llm_threads=0 if self.model is None else max(0, compute - voice_threads),
            tts_real_time_factor=speaking.result(),
            decode_tokens_per_s=None if reasoning is None else reasoning.result()[1],
            asr_real_time_factor=None if hearing is None else hearing.result(),
        )

    @property
    def _sentences(self) -> tuple[str, ...]:
        return sentences(self.config.language)

    async def _speak(
        self,
        run: Callable[[Callable[[], tuple[float, float]]], Awaitable[tuple[float, float]]],
        over: Callable[[], bool],
    ) -> float | None:
        """Have whole sentences rendered by `run`, one at the least; waiting for cores counts."""
        share = Share()
        for sentence in cycle(self._sentences):
            began_s = time.monotonic()
            _, audio_s = await run(partial(render, self.voice, sentence))
            share.add(time.monotonic() - began_s, audio_s)
            if over() or not audio_s:
                break
        return share.real_time_factor

    async def _hear(self, over: Callable[[], bool]) -> float | None:
        """Have utterances heard as they are said; what is late is handed over together, as the pipeline does it."""
        run = partial(self.core.asr.run, kind=_ASR, stop=self.recognizer.stop)
        share = Share()
        while self.utterance and not (share.real_time_factor is not None and over()):
            began_s = said_s = time.monotonic()
            took_s = await self._timed(run, self.recognizer.start)
            waiting = deque(self.utterance)
            while waiting:
                said_s += waiting[0].duration_s
                await asyncio.sleep(max(0.0, said_s - time.monotonic()))
                due = [waiting.popleft()]
                while waiting and said_s + waiting[0].duration_s <= time.monotonic():
                    said_s += waiting[0].duration_s
                    due.append(waiting.popleft())
                chunk = AudioChunk(b"".join(part.pcm for part in due), due[0].rate_hz)
                took_s += await self._timed(run, partial(self.recognizer.accept, chunk))
            took_s += await self._timed(run, self.recognizer.finish)
            share.add(took_s, said_s - began_s)
        return share.real_time_factor

    @staticmethod
    async def _timed(run: Callable[[Callable[[], object]], Awaitable[object]], call: Callable[[], object]) -> float:
        began_s = time.monotonic()
        await run(call)
        return time.monotonic() - began_s


def _after(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has passed since now."""
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_s


@asynccontextmanager
async def open_rig(config: Config, places: Places, progress: Callable[[str], None]) -> AsyncIterator[TuneRig]:
    """Load everything; leaving frees it.

    Caches are thrown away afterwards: whoever measures may be root, and the service could not replace its files.

    Raises:
        EdgeAgentError: An engine or a model is missing or broken.
    """
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(config, tuned=TunedThreads()))
        directory = tempfile.TemporaryDirectory(prefix="edge-agent-tune-")
        cache = await core.match.run(directory.__enter__, kind="tune.cache")
        stack.push_async_callback(core.match.run, directory.cleanup, kind="tune.cache")
        places = Places(models=places.models, cache=Path(cache), state=places.state)
        model_grant, voice_grant = SwitchedGrant(FixedGrant(1)), SwitchedGrant(FixedGrant(1))
        progress("loading the voice")
        voice = await core.match.run(lambda: build_synthesizer(config, places, voice_grant), kind="load.synthesizer")
        stack.push_async_callback(core.shut, core.tts, voice.close, "synthesizer")
        await core.tts.pool.run(voice.load, kind="load.synthesizer")
        progress("loading the recognizer")
        recognizer = await core.match.run(lambda: build_recognizer(config, places), kind="load.recognizer")
        stack.push_async_callback(core.shut, core.asr, recognizer.close, "recognizer")
        intents = await core.match.run(lambda: build_intents(config), kind="load.intents")
        grammar = await make_grammar(config, intents, core.match)
        await core.asr.pool.run(partial(recognizer.load, grammar), kind="load.recognizer", stop=recognizer.stop)
        utterance = await core.tts.pool.run(partial(spoken_command, config, voice), kind="tune.speech")
        # Each prompt is to be read whole, and answers are to last.
        llm = config.llm.model_copy(update={"keep_prefix": False, "max_answer_tokens": _ANSWER_TOKENS})
        wordy = config.model_copy(update={"llm": llm})
        model = await core.match.run(lambda: build_model(wordy, places, model_grant), kind="load.model")
        if model is not None:
            progress("loading the language model")
            stack.push_async_callback(core.shut, core.llm, model.close, "model")
            await core.llm.pool.run(model.load, kind="load.model")
        yield TuneRig(core, config, recognizer, voice, model, model_grant, voice_grant, utterance)


def _engine(name: str) -> Engine:
    package = _PACKAGES.get(name.split(maxsplit=1)[0].lower())
    if package is None:
        return Engine(name=name)
    try:
        return Engine(name=name, version=f"{package} {version(package)}")
    except PackageNotFoundError:
        return Engine(name=name)
