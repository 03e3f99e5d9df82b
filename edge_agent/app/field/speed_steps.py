"""How fast this board speaks and thinks."""

from __future__ import annotations

import statistics
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_agent.app.build import build_model, build_synthesizer
from edge_agent.app.core import open_core
from edge_agent.app.field.step import StepResult
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_agent.app.field.step import Figure
    from edge_agent.app.places import Places
    from edge_agent.audio import AudioChunk
    from edge_agent.config.schema import Config
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.tts import SpeechSynthesizer

_SENTENCES = {
    "en": (
        "The light in the kitchen is on.",
        "Your timer for ten minutes has started, and I will ring when it is over.",
        "Tomorrow it will be cloudy in the morning, and dry from noon on.",
    ),
    "zh": ("厨房的灯已经打开了。", "十分钟的定时器已经开始，到时间我会提醒您。", "明天上午多云，中午以后不会下雨。"),
}
_QUESTION = "Explain in a few sentences why the sky is blue during the day and red in the evening."
_TOKENS = 64
_LIMIT_S = 120.0


async def try_tts(config: Config, places: Places) -> StepResult:
    """Render three sentences; slower than they are spoken is a fault."""
    sentences = _SENTENCES.get(config.language, _SENTENCES["en"])
    async with open_core(config) as core:
        synthesizer = build_synthesizer(config, places, core.tts_claim)
        try:
            began_s = time.monotonic()
            await core.tts.run(synthesizer.load, kind="load.synthesizer")
            load_s = time.monotonic() - began_s
            factors, firsts = [], []
            for sentence in sentences:
                took_s, first_s, sound_s = await _render(core.tts, synthesizer, sentence)
                factors.append(took_s / sound_s if sound_s else float("inf"))
                firsts.append(first_s)
        finally:
            await core.tts.pool.run(synthesizer.close, kind="close.synthesizer")
    factor = statistics.median(factors)
    figures: dict[str, Figure] = {
        "voice": synthesizer.name,
        "load_s": round(load_s, 2),
        "real_time_factor": round(factor, 3),
        "first_audio_ms": round(1000 * statistics.median(firsts)),
    }
    message = f"{synthesizer.name}: a second of speech takes {factor:.2f} s"
    if factor >= 1:
        return StepResult("tts", "fail", f"{message}: speech stutters; take a smaller voice", figures)
    return StepResult("tts", "pass", message, figures)


async def try_llm(config: Config, places: Places) -> StepResult:
    """Have the model read a question and write an answer."""
    async with open_core(config) as core:
        model = build_model(config, places, core.llm_claim)
        if model is None:
            return StepResult("llm", "skipped", "no language model is installed")
        core.size_model(config, model)
        try:
            began_s = time.monotonic()
            await core.llm.run(model.load, kind="load.model")
            load_s = time.monotonic() - began_s
            first_s, decode_s, tokens = await _answer(core.llm, model, config.llm.system_prompt)
        finally:
            await core.llm.pool.run(model.close, kind="close.model")
    prompt = model.prompt_cost
    evaluated = 0 if prompt is None else prompt.evaluated
    rate = (tokens - 1) / decode_s if tokens > 1 and decode_s > 0 else None
    figures: dict[str, Figure] = {
        "model": model.name,
        "load_s": round(load_s, 2),
        "prompt_tokens": evaluated,
        "prefill_tokens_per_s": round(evaluated / first_s, 1) if first_s and evaluated else None,
        "first_token_ms": None if first_s is None else round(1000 * first_s),
        "tokens": tokens,
        "tokens_per_s": None if rate is None else round(rate, 2),
    }
    if rate is None:
        return StepResult("llm", "fail", f"{model.name} wrote {tokens} tokens in {_LIMIT_S:.0f} s at most", figures)
    return StepResult(
        "llm", "pass", f"{model.name}: {rate:.1f} tokens/s, reads {evaluated} in {first_s:.1f} s", figures
    )


async def _render(station: Station, synthesizer: SpeechSynthesizer, sentence: str) -> tuple[float, float, float]:
    """Return how long it took in all and to the first sound, and how long the sound is."""
    job: Generator[AudioChunk, None, None] = synthesizer.synthesize(sentence)
    began_s = time.monotonic()
    first_s, sound_s = None, 0.0
    async with aclosing(station.steps(job, kind="tts", timeout_s=_LIMIT_S)) as chunks:
        async for chunk in chunks:
            if first_s is None:
                first_s = time.monotonic() - began_s
            sound_s += chunk.duration_s
    took_s = time.monotonic() - began_s
    return took_s, took_s if first_s is None else first_s, sound_s


async def _answer(station: Station, model: LanguageModel, system: str) -> tuple[float | None, float, int]:
    """Return the time to the first token and from there to the last, and how many there were."""
    messages = (ChatMessage("system", system), ChatMessage("user", _QUESTION))
    job = model.generate(messages, most_tokens=_TOKENS)
    began_s = time.monotonic()
    first_s: float | None = None
    last_s, tokens = 0.0, 0
    async with aclosing(station.steps(job, kind="llm", timeout_s=_LIMIT_S)) as pieces:
        async for piece in pieces:
            if piece:
                last_s = time.monotonic() - began_s
                first_s = last_s if first_s is None else first_s
                tokens += 1
    return first_s, last_s - (first_s or 0.0), tokens
