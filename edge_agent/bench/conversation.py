"""`edge-agent bench conversation`: how soon an answer is heard, what each feature gives, and how it is interrupted."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench import conversation_barge, conversation_soak, endpointing, gguf_model, onnx_voice
from edge_agent.bench.conversation_rig import changed, is_intent_turn, is_model_turn
from edge_agent.bench.conversation_speech import commands, questions
from edge_agent.bench.conversation_turns import (
    Compared,
    intent_features,
    measure_features,
    measure_intent_turns,
    measure_model_turns,
    model_features,
    waterfall,
)
from edge_agent.bench.extras import need
from edge_agent.bench.pause_speech import begins_in_voice
from edge_agent.bench.result import Findings
from edge_agent.config.audio import OutputConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from edge_agent.bench.conversation_rig import Exchange
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.result import Progress
    from edge_agent.config.schema import Config

PARTS = ("llm", "intent", "features", "barge_in", "endpoint", "soak")
_SYSTEM_TOKENS = 200
_SYSTEM = (
    "You are a helpful voice assistant on a small device in the kitchen of a family.",
    "Answer in one or two short sentences that can be spoken, without lists, marks or emoji.",
    "Say honestly when you do not know something, and never make up a fact.",
    "Be friendly and calm, and use plain words that children understand.",
    "If the question is not clear, ask one short question back.",
    "The house has a garden, two bedrooms, a garage and a cat.",
)
"""Repeated until it is long enough."""
_ANSWER_TOKENS = 30
_INTERRUPTING, _SOAKED = 20, 4
"""How many of the shortest utterances are used where many are wanted in little time."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        model_turns: Questions that the language model answers.
        intent_turns: Commands that are answered.
        feature_turns: Of each, without each feature.
        interruptions: Answers that somebody speaks into.
        soak_turns: Turns in a row.
        features: Leaves out all but the first of language model turns' features where False.
        few_endpoints: Plays three recordings to the endpointer instead of all.
        tiny: Models of no realistic size, for tests.
    """

    model_turns: int = 30
    intent_turns: int = 30
    feature_turns: int = 10
    interruptions: int = 50
    soak_turns: int = 200
    features: bool = True
    few_endpoints: bool = False
    tiny: bool = False


FULL = Size()
QUICK = Size(
    model_turns=1,
    intent_turns=2,
    feature_turns=1,
    interruptions=2,
    soak_turns=4,
    features=False,
    few_endpoints=True,
)
"""A minute and a half; enough to see that something is badly wrong."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all parts are measured with.

    Attributes:
        free: Dictation is free: for questions.
        closed: Only the intents' sentences are listened for.
    """

    free: Config
    closed: Config
    questions: list[Clip]
    commands: list[Clip]


async def measure(
    config: Config,
    size: Size,
    parts: Collection[str],
    progress: Progress,
    *,
    speech: Path | None = None,
    vosk: Path | None = None,
    orders: Sequence[Path] = (),
) -> Findings:
    """Measure `parts` of `PARTS` and return what was found.

    Args:
        config: What the agent is configured with; models and directories are the benchmark's own.
        size: How much.
        parts: Which.
        progress: Is told.
        speech: Directory of recordings, with coffee/, read/, cards/ and home/ as far as they exist; None: Flite speaks.
        vosk: Vosk model; None: what the configuration finds.
        orders: Intents files for the recordings in coffee/, which `endpoint` leaves out without.

    Raises:
        EdgeAgentError: An engine, a package of the `bench` extra, or a recording is missing.
    """
    findings = Findings()
    if "endpoint" in parts:
        await _measure_endpoints(findings, _with_vosk(config, vosk), size, progress, speech=speech, orders=orders)
    if not set(parts) - {"endpoint"}:
        return findings
    progress("writing models with random weights")
    async with AsyncExitStack() as stack:
        making = _prepared(config, size, speech, vosk)
        setting = await asyncio.to_thread(making.__enter__)
        stack.push_async_callback(asyncio.to_thread, making.__exit__, None, None, None)
        await _measure_turns(findings, setting, size, parts, progress)
        shortest = sorted(setting.questions, key=_length_s)
        if "barge_in" in parts:
            some = [clip for clip in shortest if begins_in_voice(clip)][:_INTERRUPTING]
            await conversation_barge.measure(findings, setting.free, some, size.interruptions, progress)
        if "soak" in parts:
            known = sorted(setting.commands, key=_length_s)[:_SOAKED]
            # Where every turn follows at once there is no idle time in which a longer history could be evaluated.
            soaked = changed(setting.free, llm={"history_turns": 1})
            await conversation_soak.measure(findings, soaked, (shortest[:_SOAKED], known), size.soak_turns, progress)
    return findings


async def _measure_turns(
    findings: Findings, setting: _Setting, size: Size, parts: Collection[str], progress: Progress
) -> None:
    with_model: Sequence[Exchange] = ()
    with_intents: Sequence[Exchange] = ()
    if {"llm", "features"}.intersection(parts):
        turns = size.model_turns if "llm" in parts else size.feature_turns
        with_model = await measure_model_turns(findings, setting.free, setting.questions, turns, progress)
        findings.waterfalls["Language model turns"] = waterfall(with_model)
    if {"intent", "features"}.intersection(parts):
        turns = size.intent_turns if "intent" in parts else size.feature_turns
        with_intents = await measure_intent_turns(findings, setting.closed, setting.commands, turns, progress)
        findings.waterfalls["Intent turns"] = waterfall(with_intents)
    if "features" in parts:
        cores = len(os.sched_getaffinity(0))
        features, other = model_features(setting.free, cores), intent_features(setting.closed)
        if not size.features:
            features, other = features[:1], []
        for compared in (
            Compared("llm", features, with_model[: size.feature_turns], is_model_turn),
            Compared("intent", other, with_intents[: size.feature_turns], is_intent_turn),
        ):
            await measure_features(findings, compared, progress)


async def _measure_endpoints(
    findings: Findings,
    config: Config,
    size: Size,
    progress: Progress,
    *,
    speech: Path | None,
    orders: Sequence[Path],
) -> None:
    if speech is None:
        findings.notes.append("endpoint: not measured without --speech")
        return
    await endpointing.measure(findings, speech, config, progress, few=size.few_endpoints, intents=orders)


@contextmanager
def _prepared(config: Config, size: Size, speech: Path | None, vosk: Path | None) -> Iterator[_Setting]:
    """Write models, and render what is said, into a directory that is removed again. Blocking, some ten seconds."""
    from edge_agent.app.places import find_places

    cache = find_places(config.directories).cache
    cache.mkdir(parents=True, exist_ok=True)
    # Not /tmp, which may be in memory.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as name:
        directory = Path(name)
        model, voice = directory / "random.gguf", directory / "en_US-random-medium.onnx"
        gguf_model.write_model(model, gguf_model.TINY if size.tiny else None, in_pieces=True)
        onnx_voice.write_voice(voice, onnx_voice.TINY if size.tiny else None)
        own = directory / "cache"
        own.mkdir()
        free = changed(
            _with_vosk(config, vosk),
            directories={"cache": own, "state": directory / "state"},
            llm={
                "model": model,
                "system_prompt": system_prompt(model, _SYSTEM_TOKENS),
                "max_answer_tokens": _ANSWER_TOKENS,
                "tools": False,
            },
            tts={"engine": "piper", "piper": config.tts.piper.model_copy(update={"voice": voice})},
            asr={"closed": False},
            gpio={"driver": "simulated", "outputs": {"lamp": OutputConfig(pin=17)}, "button": None, "light": None},
            activation={"mode": "always"},
        )
        yield _Setting(
            free,
            changed(free, asr={"closed": True}),
            questions(config, speech, directory, 2 * max(size.model_turns, size.interruptions)),
            commands(config, speech, directory),
        )


def _with_vosk(config: Config, model: Path | None) -> Config:
    if model is None:
        return config
    vosk = config.asr.vosk.model_copy(update={"model": model})
    return changed(config, asr={"engine": "vosk", "vosk": vosk})


def system_prompt(model: Path, tokens: int) -> str:
    """Return a system prompt that has `tokens` tokens in the vocabulary of `model`, or a few fewer."""
    llama = need("llama_cpp", "llm").Llama(str(model), vocab_only=True, n_ctx=64, verbose=False)
    try:
        words: list[str] = []
        text = " ".join(_SYSTEM)
        while len(llama.tokenize(" ".join(words).encode(), add_bos=False)) <= tokens:
            words += text.split()
        while len(llama.tokenize(" ".join(words).encode(), add_bos=False)) > tokens:
            words.pop()
        return " ".join(words)
    finally:
        llama.close()


def _length_s(clip: Clip) -> float:
    return clip.ends_s - clip.begins_s
