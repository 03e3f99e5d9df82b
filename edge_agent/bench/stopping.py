"""From cancelling a job, or from its time-out, to its thread being free for the next one."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Generator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.app.core import open_core
from edge_agent.bench.materials import LONG_SENTENCE
from edge_agent.bench.result import Reference, at_most
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.errors import JobTimeoutError
from edge_agent.reason.llm import ChatMessage
from edge_agent.runtime.pools import Station

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.bench.materials import Materials
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.config.schema import Config

Job = Generator[Any, None, None]

_SLEEP_STEP_S = 0.005
_SLEEP_S = 0.1
_BEFORE_THE_END = 0.9
"""Jobs are stopped within this share of their length, so that they have not ended by themselves."""
_ATTEMPTS = 3
"""Times the rounds: on a machine that is suddenly faster, a job has ended before it is stopped, which is no round."""


@dataclass(slots=True)
class Interruptible:
    """A kind of job that is stopped over and over.

    Attributes:
        station: Where it runs; a pool of one thread.
        begin: Returns the job of one round, which may go on from where the last one got to.
        stop: Makes the running step of a job end; None where steps are short.
        length_s: How long it takes when nobody stops it.
        span_s: The latest that it is stopped after it began.
    """

    name: str
    station: Station
    begin: Callable[[], Job]
    stop: Callable[[Job], None] | None
    length_s: float
    span_s: float
    worked: Callable[[float], None] = lambda _seconds: None
    """Is told after each round how long it worked."""


@dataclass(slots=True)
class _Times:
    cancel_ms: list[float] = field(default_factory=list)
    timeout_ms: list[float] = field(default_factory=list)
    replaced: int = 0


async def measure(
    findings: Findings,
    progress: Progress,
    config: Config,
    materials: Materials,
    *,
    rounds: int = 100,
    prompt_tokens: int = 2000,
    seed: int = 1,
) -> None:
    """Add `stop.*` for a job that sleeps, for a prompt that is evaluated, and for a sentence that is rendered."""
    chance = random.Random(seed)  # noqa: S311 - a workload, no secret
    async with open_core(config) as core:
        sleeper = Interruptible("sleep", Station(core.pools.asr), _sleeper, None, _SLEEP_S, _SLEEP_S * _BEFORE_THE_END)
        _report(findings, sleeper, await _rounds(sleeper, rounds, chance, progress), goal_ms=None)

        llm = config.llm.model_copy(update={"context_tokens": 2 * prompt_tokens, "max_answer_tokens": 16})
        model = LlamaLanguageModel(llm, materials.model, core.llm_claim)
        await core.llm.run(model.load, kind="load.model")
        try:
            prefill = await _prefill(core.llm, model, prompt_tokens)
            _report(findings, prefill, await _rounds(prefill, rounds, chance, progress), goal_ms=150)
        finally:
            await core.llm.pool.run(model.close)

        voice = PiperSynthesizer(config.tts.piper, materials.voice, core.tts_claim)
        await core.tts.run(voice.load, kind="load.synthesizer")
        try:
            sentence = await _sentence(core.tts, voice)
            _report(findings, sentence, await _rounds(sentence, rounds, chance, progress), goal_ms=None)
        finally:
            await core.tts.pool.run(voice.close)


def _sleeper() -> Generator[None, None, None]:
    for _ in range(round(_SLEEP_S / _SLEEP_STEP_S)):
        time.sleep(_SLEEP_STEP_S)
        yield


async def _prefill(station: Station, model: LlamaLanguageModel, prompt_tokens: int) -> Interruptible:
    """Return the evaluation of a prompt.

    A prompt is used up by several rounds, for the model keeps what it has evaluated: a round goes on where the last one
    was stopped. So the moments are spread over the whole prompt, and a hundred rounds take as long as a few prompts.
    """
    numbers = iter(range(1, 1_000_000))

    def prompt() -> list[ChatMessage]:
        # Each begins otherwise, so that nothing of the last one can be used again. A letter is a token here.
        text = f"{next(numbers)}. " + "waves and wind and water " * (prompt_tokens // 25 + 1)
        return [ChatMessage("user", text[:prompt_tokens])]

    began_s = time.monotonic()
    await _run_whole(station, _until_first_token(model.generate(prompt())))
    length_s = time.monotonic() - began_s
    messages: list[ChatMessage] = []
    worked_s = 0.0

    def begin() -> Job:
        nonlocal messages, worked_s
        if not messages or worked_s > length_s * _BEFORE_THE_END:
            messages, worked_s = prompt(), 0.0
        return model.generate(messages)

    def worked(seconds: float) -> None:
        nonlocal worked_s
        worked_s += seconds

    # Of the rest of the prompt at most half is evaluated: no round reaches its end.
    span_s = length_s * (1 - _BEFORE_THE_END) / 2
    return Interruptible("prefill", station, begin, model.stop, length_s, span_s, worked)


def _until_first_token(job: Generator[str, None, None]) -> Generator[str, None, None]:
    for piece in job:
        if piece:
            return
        yield piece


async def _sentence(station: Station, voice: PiperSynthesizer) -> Interruptible:
    await _run_whole(station, voice.synthesize(LONG_SENTENCE))
    began_s = time.monotonic()
    await _run_whole(station, voice.synthesize(LONG_SENTENCE))
    length_s = time.monotonic() - began_s
    span_s = length_s * _BEFORE_THE_END
    return Interruptible("sentence", station, lambda: voice.synthesize(LONG_SENTENCE), voice.stop, length_s, span_s)


async def _run_whole(station: Station, job: Job) -> None:
    async with aclosing(station.steps(job, kind="bench")) as steps:
        async for _ in steps:
            pass


async def _rounds(kind: Interruptible, rounds: int, chance: random.Random, progress: Progress) -> _Times:
    times = _Times()
    for by_timeout, taken_ms in ((False, times.cancel_ms), (True, times.timeout_ms)):
        what = f"stopping: {kind.name} by {'time-out' if by_timeout else 'cancelling'}"
        for _ in range(_ATTEMPTS * rounds):
            if len(taken_ms) == rounds:
                break
            progress(f"{what} {len(taken_ms) + 1}/{rounds}")
            after_s = chance.uniform(0.0, kind.span_s)
            stopped = await _stop_once(kind, after_s, by_timeout=by_timeout)
            kind.worked(after_s if stopped else kind.length_s)
            if stopped is not None:
                took_ms, replaced = stopped
                taken_ms.append(took_ms)
                times.replaced += replaced
    return times


async def _stop_once(kind: Interruptible, after_s: float, *, by_timeout: bool) -> tuple[float, bool] | None:
    """Begin a job, stop it `after_s` later; return the milliseconds until its thread ran another one.

    The second value tells whether that was another thread, because the pool gave up the first. None: the job had ended
    by itself before.
    """
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    worked_on = 0
    job = kind.begin()

    def work() -> Job:
        nonlocal worked_on
        worked_on = threading.get_ident()
        loop.call_soon_threadsafe(begun.set)
        yield from job

    async def run() -> None:
        stop = None if kind.stop is None else partial(kind.stop, job)
        timeout_s = after_s if by_timeout else None
        async with aclosing(kind.station.steps(work(), kind=kind.name, stop=stop, timeout_s=timeout_s)) as steps:
            async for _ in steps:
                pass

    began_s = time.perf_counter()
    running = asyncio.create_task(run(), name=f"bench.stop.{kind.name}")
    if by_timeout:
        await asyncio.wait([running])
        was_stopped = isinstance(running.exception(), JobTimeoutError)
        stopped_s = began_s + after_s
    else:
        await begun.wait()
        await asyncio.sleep(after_s)
        stopped_s = time.perf_counter()
        running.cancel()
        await asyncio.wait([running])
        was_stopped = running.cancelled()
    if not was_stopped:
        running.result()
        return None
    free_s, thread = await kind.station.pool.run(lambda: (time.perf_counter(), threading.get_ident()))
    return max(0.0, free_s - stopped_s) * 1000, worked_on not in {0, thread}


def _report(findings: Findings, kind: Interruptible, times: _Times, *, goal_ms: float | None) -> None:
    goals = None if goal_ms is None else {99: at_most(goal_ms)}
    reference = Reference("the same job, not stopped", kind.length_s * 1000, "ms")
    findings.add_percentiles(f"stop.{kind.name}", times.cancel_ms, "ms", goals=goals, reference=reference)
    findings.add_percentiles(f"stop.{kind.name}_timeout", times.timeout_ms, "ms", goals=goals, reference=reference)
    findings.add(
        f"stop.{kind.name}_threads_given_up",
        times.replaced,
        "threads",
        goal=at_most(0),
        samples=len(times.cancel_ms) + len(times.timeout_ms),
    )
    group = findings.distributions.setdefault("From stopping to a free thread (ms)", {})
    group[kind.name] = times.cancel_ms
    group[f"{kind.name}, time-out"] = times.timeout_ms
