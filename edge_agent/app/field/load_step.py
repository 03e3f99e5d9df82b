"""Minutes of work: it speaks and thinks without a pause, and hears meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.field.step import StepResult
from edge_agent.errors import FaultError
from edge_agent.pipeline.answering import Chunked
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.runtime.sensors import Reading, Sensors, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.app.agent import Agent
    from edge_agent.app.brain import Brain
    from edge_agent.app.field.session import Watcher
    from edge_agent.app.field.step import Figure
    from edge_agent.config.running import PressureConfig
    from edge_agent.runtime.pool import Pool

_MIB = 1 << 20
_EVERY_S = 5.0
_MOST_SAMPLES = 2000
"""Of more than 166 minutes the samples are further apart."""
_PAUSE_S = 0.5
_TEXTS = {
    "en": "This is a test of how warm the board gets while it hears, speaks and thinks at the same time.",
    "zh": "这是一次测试，看看设备一边听、一边说、一边思考的时候会有多热。",
}
_QUESTION = "Tell me a short story about a lighthouse keeper."
_NOW = Throttled.UNDER_VOLTAGE | Throttled.FREQUENCY_CAPPED | Throttled.THROTTLED | Throttled.SOFT_TEMPERATURE_LIMIT
MOST_LOST_SHARE = 0.001
_FRAMES_PER_S = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """The machine at one moment of the load."""

    at_s: float
    temperature_c: float | None
    throttled: int | None
    rss_mib: float
    available_mib: float | None
    frames_heard: int
    frames_lost: int


async def try_load(
    agent: Agent,
    watcher: Watcher,
    pool: Pool,
    minutes: float,
    on_sample: Callable[[Sample], None] = lambda _: None,
) -> StepResult:
    """Keep everything busy for that long, without a sound, and look at the machine every 5 s, at most 2000 times."""
    every_s = max(_EVERY_S, 60 * minutes / _MOST_SAMPLES)
    sensors = Sensors()
    samples: list[Sample] = []
    faults_before = len(watcher.faults)
    answered = Answers()
    began_s = time.monotonic()

    async def look() -> None:
        reading, rss = await pool.run(lambda: (sensors.read(), _rss_bytes()), kind="field.look")
        sample = _sample(time.monotonic() - began_s, reading, rss, agent)
        samples.append(sample)
        on_sample(sample)

    agent.mouth.set_muted(True)
    working = [
        asyncio.create_task(_speak_loop(agent, _TEXTS.get(agent.config.language, _TEXTS["en"])), name="field.speak")
    ]
    if agent.brain is not None and agent.brain.model is not None:
        working.append(asyncio.create_task(_think_loop(agent.brain, answered), name="field.think"))
    try:
        await look()
        while (left_s := began_s + 60 * minutes - time.monotonic()) > 0:
            done, _ = await asyncio.wait(working, timeout=min(every_s, left_s), return_when=asyncio.FIRST_COMPLETED)
            await look()
            for task in done:
                task.result()  # these never end by themselves, unless by an error
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        agent.mouth.set_muted(False)
        if agent.runner is not None:
            agent.runner.interrupt("field test")
    return judge_load(samples, agent.config.pressure, watcher.faults[faults_before:], answered)


@dataclass(slots=True)
class Answers:
    """What the model did under the load: how often it answered, how often not, and why not the last time."""

    given: int = 0
    failed: int = 0
    reason: str = ""


def judge_load(
    samples: Sequence[Sample], pressure: PressureConfig, faults: Sequence[str], answers: Answers | None = None
) -> StepResult:
    """Say how the machine bore it."""
    first, last, answers = samples[0], samples[-1], answers or Answers()
    heats = [sample.temperature_c for sample in samples if sample.temperature_c is not None]
    bits = 0
    for sample in samples:
        bits |= sample.throttled or 0
    is_told = any(sample.throttled is not None for sample in samples)
    frames, lost = last.frames_heard - first.frames_heard, last.frames_lost - first.frames_lost
    wanted = round((last.at_s - first.at_s) * _FRAMES_PER_S)
    free = [sample.available_mib for sample in samples if sample.available_mib is not None]
    figures: dict[str, Figure] = {
        "minutes": round((last.at_s - first.at_s) / 60, 2),
        "temperature_first_c": heats[0] if heats else None,
        "temperature_highest_c": max(heats, default=None),
        "throttled": f"0x{bits:x}" if is_told else None,
        "frames_heard": frames,
        "frames_lost": lost,
        "rss_first_mib": round(first.rss_mib, 1),
        "rss_highest_mib": round(max(sample.rss_mib for sample in samples), 1),
        "rss_last_mib": round(last.rss_mib, 1),
        "memory_least_available_mib": round(min(free)) if free else None,
        "model_answers": answers.given,
        "model_failures": answers.failed,
        "faults": len(faults),
    }
    troubles = []
    if heats and max(heats) >= pressure.critical_c:
        troubles.append(f"{max(heats):.0f} °C is too hot")
    if bits & _NOW:
        troubles.append("the board was slowed down (throttled or under-voltage)")
    if frames < wanted / 2:
        troubles.append(f"only {frames} of about {wanted} frames were heard")
    if lost > MOST_LOST_SHARE * max(1, frames):
        troubles.append(f"{lost} frames of sound were lost")
    if answers.failed and not answers.given:
        troubles.append(f"the language model never answered: {answers.reason}")
    if faults:
        troubles.append(f"{len(faults)} faults, the last: {faults[-1]}")
    heat = f"at most {max(heats):.0f} °C, " if heats else ""
    message = f"{figures['minutes']:g} minutes: {heat}{lost} of {frames} frames lost, {last.rss_mib:.0f} MiB of memory"
    parts = [_part(sample) for sample in samples]
    if troubles:
        return StepResult("load", "fail", f"{message}; {'; '.join(troubles)}", figures, parts)
    return StepResult("load", "pass", message, figures, parts)


def _part(sample: Sample) -> dict[str, Figure]:
    return {
        "at_s": round(sample.at_s, 1),
        "temperature_c": sample.temperature_c,
        "throttled": None if sample.throttled is None else f"0x{sample.throttled:x}",
        "rss_mib": round(sample.rss_mib, 1),
        "available_mib": None if sample.available_mib is None else round(sample.available_mib),
        "frames_lost": sample.frames_lost,
    }


def _sample(at_s: float, reading: Reading, rss_bytes: int, agent: Agent) -> Sample:
    lost = agent.book.describe()["audio"]["frames_lost"]
    free = reading.memory_available_bytes
    return Sample(
        at_s=at_s,
        temperature_c=reading.temperature_c,
        throttled=None if reading.throttled is None else reading.throttled.value,
        rss_mib=rss_bytes / _MIB,
        available_mib=None if free is None else free / _MIB,
        frames_heard=0 if agent.ears is None else agent.ears.frames_heard,
        frames_lost=int(lost),
    )


def _rss_bytes() -> int:
    """Return the resident memory of this process and those that it started. Blocking, some milliseconds."""
    import psutil

    own = psutil.Process(os.getpid())
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


async def _speak_loop(agent: Agent, text: str) -> None:
    """Announce the same again and again; the phrase cache is told apart by a number."""
    number = 0
    while True:
        if agent.runner is not None:
            number += 1
            agent.runner.announce(f"{number}. {text}")
            await agent.runner.settled()
        await asyncio.sleep(_PAUSE_S)


async def _think_loop(brain: Brain, answered: Answers) -> None:
    """Have the model answer again and again; the conversation knows nothing of it."""
    committed = asyncio.Event()
    committed.set()
    while True:
        try:
            answer = await brain.responder.answer_text(_QUESTION)
            if answer.sentences is not None:
                async for _ in answer.sentences(Chunked(lambda: None, committed, nothing_to_keep)):
                    pass
                answered.given += 1
        except FaultError as error:  # the voice came first, or the device gives the model up for a while
            answered.failed += 1
            answered.reason = str(error)
        finally:
            brain.responder.expire()
        await asyncio.sleep(_PAUSE_S)
