"""The health gate: whether the device works after a change of its configuration."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.app.parts import Part
from edge_agent.audio import HEAR_RATE_HZ, silence
from edge_agent.errors import BadInputError, BusyError, ConfigProblem, FaultError, SynthesisError
from edge_agent.reason.llm import ChatMessage
from edge_agent.reason.wording import Answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_agent.app.body import Body

_FRAMES = 10
"""Frames that prove that audio flows: 0.2 s of it."""
_LOOK_S = 0.05
_SILENCE_S = 0.3
_TRY_S = 60.0
"""The first word or token of a slow board; beyond it the engine hangs."""
SOURCE = "this device"
HEARING = frozenset((Part.CORE, Part.MICROPHONE))
"""What opens the microphone anew."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far everything was when the change had been made.

    Attributes:
        parts: What it concerned.
        frames: Frames that had been heard.
        stage_faults: Stages that had failed.
        must_hear: Whether the microphone must deliver: not where it did not before, and the change is not about it.
    """

    parts: frozenset[Part]
    frames: int
    stage_faults: int
    must_hear: bool = True


async def prove(
    body: Body, mark: Mark, link_is_well: Callable[[], bool | None], within_s: float
) -> list[ConfigProblem]:
    """Return nothing as soon as all is well, or what is wrong: at once where that is certain, else after `within_s`.

    Audio must flow where it did before, and no stage may have failed; of the engines those are tried that were changed.

    Args:
        body: What runs.
        mark: Where to count from.
        link_is_well: Tells whether the broker is reachable; None where there is none to reach.
        within_s: How long to wait for what may still come.
    """
    tries = {
        asyncio.create_task(_tried(part, attempt, body), name=f"health.{part}"): part
        for part, attempt in _ATTEMPTS.items()
        if part in mark.parts
    }
    ends_s = asyncio.get_running_loop().time() + within_s
    try:
        while True:
            pending = {task for task in tries if not task.done()}
            certain = [*_stages_run(body, mark), *(task.result() for task in tries if task.done())]
            wrong = [problem for problem in certain if problem is not None]
            missing = [*_audio_flows(body, mark), *_broker_answers(link_is_well)]
            if wrong or not (missing or pending):
                return wrong
            left_s = ends_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                late = f"has not answered within {within_s:g} s"
                return [*missing, *(ConfigProblem(_KEYS[tries[task]], late, SOURCE) for task in pending)]
            await _pause(pending, min(_LOOK_S, left_s))
    finally:
        for task in tries:
            task.cancel()
        if tries:
            await asyncio.wait(tries)


async def _pause(pending: set[asyncio.Task[ConfigProblem | None]], seconds: float) -> None:
    if pending:
        await asyncio.wait(pending, timeout=seconds)
    else:
        await asyncio.sleep(seconds)


def _stages_run(body: Body, mark: Mark) -> list[ConfigProblem]:
    failed = body.stage_faults - mark.stage_faults
    return [ConfigProblem("", f"{failed} stages have failed; the log says why", SOURCE)] if failed else []


def _audio_flows(body: Body, mark: Mark) -> list[ConfigProblem]:
    if not mark.must_hear or body.voice.ears.frames_heard - mark.frames >= _FRAMES:
        return []
    why = body.listening.trouble or "the microphone delivers nothing"
    return [ConfigProblem("audio.input_device", why, SOURCE)]


def _broker_answers(link_is_well: Callable[[], bool | None]) -> list[ConfigProblem]:
    return [ConfigProblem("mqtt.host", "the broker is not reachable", SOURCE)] if link_is_well() is False else []


async def _tried(part: Part, attempt: Callable[[Body], Awaitable[None]], body: Body) -> ConfigProblem | None:
    """Try a part until it is free to be tried; return what is wrong with it."""
    while True:
        try:
            await attempt(body)
        except BusyError:
            await asyncio.sleep(_LOOK_S)  # somebody is served with it
        except (BadInputError, FaultError) as error:
            return ConfigProblem(_KEYS[part], str(error), SOURCE)
        else:
            return None


async def _open_speaker(body: Body) -> None:
    await body.lasting.mouth.check()


async def _recognize(body: Body) -> None:
    asr, recognizer = body.core.asr, body.voice.recognizer
    run = partial(asr.run, timeout_s=_TRY_S, stop=recognizer.stop, kind="health.asr")
    async with asr.hold():
        await run(recognizer.start)
        await run(lambda: recognizer.accept(silence(_SILENCE_S, HEAR_RATE_HZ)))
        await run(recognizer.finish)


async def _speak(body: Body) -> None:
    voice, tts = body.voice.synthesizer, body.core.tts
    word = Answers(body.brain.intents.responses).say("done", {})
    job = voice.synthesize(word)
    steps = tts.steps(job, kind="health.tts", timeout_s=_TRY_S, stop=partial(voice.stop, job))
    async with aclosing(steps) as chunks:
        rendered_s = sum([chunk.duration_s async for chunk in chunks])
    if not rendered_s:
        raise SynthesisError(voice.name, word, "nothing came of it")


async def _think(body: Body) -> None:
    brain, llm = body.brain, body.core.llm
    await brain.loaded()
    model = brain.model
    if model is None or not brain.is_loaded:
        return  # there is none, or no memory for it at this time
    job = model.generate((ChatMessage("user", "."),), most_tokens=1)
    steps = llm.steps(job, kind="health.llm", timeout_s=_TRY_S, stop=partial(model.stop, job))
    async with aclosing(steps) as pieces:
        async for _ in pieces:
            pass


_ATTEMPTS: Mapping[Part, Callable[[Body], Awaitable[None]]] = {
    Part.SPEAKER: _open_speaker,
    Part.RECOGNIZER: _recognize,
    Part.VOICE: _speak,
    Part.MODEL: _think,
}
_KEYS: Mapping[Part, str] = {
    Part.SPEAKER: "audio.output_device",
    Part.RECOGNIZER: "asr",
    Part.VOICE: "tts",
    Part.MODEL: "llm.model",
}
