"""`edge-agent bench concurrency`: pools, ledger, scheduler, capture, stopping and memory, each beside its reference."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.bench import capture, dispatch, ledger, memory, scheduling, stopping
from edge_agent.bench.defaults_process import DefaultsProcess
from edge_agent.bench.ledger_load import LedgerEngines
from edge_agent.bench.materials import prepared
from edge_agent.bench.result import Findings
from edge_agent.bench.watching import SETTLE_S, hear_during

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.bench.materials import Materials
    from edge_agent.bench.result import Progress
    from edge_agent.config.schema import Config

PARTS = ("dispatch", "scheduler", "ledger", "capture", "stopping", "memory")
_WITH_MODELS = {"ledger", "capture", "stopping"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        jobs: Empty jobs dispatched in each way.
        tasks: Tasks of the scheduled graph.
        graphs: How often the graph is run.
        rounds: How often each case of the ledger is watched.
        window_s: For how long each time.
        settle_s: For how long it works before that.
        capture_s: Audio heard under each load.
        quiet_s: Audio heard with nothing else running.
        stops: How often each kind of job is stopped in each way.
        prompt_tokens: Of the prompt whose evaluation is stopped.
        pieces: Jobs, tasks, identities and refusals whose memory is watched.
        answer_tokens: Length of the language model's answers.
        tiny: Models of no realistic size, for tests.
    """

    jobs: int = 20_000
    tasks: int = 10_000
    graphs: int = 5
    rounds: int = 4
    window_s: float = 15.0
    settle_s: float = SETTLE_S
    capture_s: float = 600.0
    quiet_s: float = 20.0
    stops: int = 100
    prompt_tokens: int = 2000
    pieces: int = 100_000
    answer_tokens: int = 128
    tiny: bool = False


FULL = Size()
QUICK = Size(
    jobs=4000, tasks=10_000, graphs=2, rounds=2, window_s=5.0, capture_s=20.0, quiet_s=5.0, stops=20, pieces=20_000
)
"""A few minutes; enough to see that something is badly wrong."""


async def measure(config: Config, size: Size, parts: Collection[str], progress: Progress) -> Findings:
    """Measure `parts` of `PARTS` and return what was found.

    Raises:
        EdgeAgentError: An engine, or a package of the `bench` extra, is missing.
    """
    findings = Findings()
    if "dispatch" in parts:
        await dispatch.measure(findings, progress, jobs=size.jobs)
    if "scheduler" in parts:
        await scheduling.measure(findings, progress, tasks=size.tasks, rounds=size.graphs)
    if "memory" in parts:
        await memory.measure(findings, progress, jobs=size.pieces)
    if not _WITH_MODELS.intersection(parts):
        return findings
    progress("writing models with random weights")
    async with AsyncExitStack() as stack:
        making = prepared(config, tiny=size.tiny)
        materials = await asyncio.to_thread(making.__enter__)
        stack.push_async_callback(asyncio.to_thread, making.__exit__, None, None, None)
        if {"ledger", "capture"}.intersection(parts):
            await _measure_load(findings, progress, config, materials, size=size, parts=parts)
        if "stopping" in parts:
            await stopping.measure(
                findings, progress, config, materials, rounds=size.stops, prompt_tokens=size.prompt_tokens
            )
    return findings


async def _measure_load(
    findings: Findings,
    progress: Progress,
    config: Config,
    materials: Materials,
    *,
    size: Size,
    parts: Collection[str],
) -> None:
    progress("loading engines")
    answer_tokens = size.answer_tokens
    async with (
        LedgerEngines(config, materials, answer_tokens=answer_tokens) as ours,
        DefaultsProcess(config, materials, answer_tokens=answer_tokens, cores=ours.cores) as defaults,
    ):
        if "ledger" in parts:
            await ledger.measure(
                findings,
                progress,
                ours=ours,
                defaults=defaults,
                rounds=size.rounds,
                window_s=size.window_s,
                settle_s=size.settle_s,
            )
        if "capture" not in parts:
            return
        speech = [frame for utterance in materials.speech for frame in utterance]
        quiet = await capture.hear(speech, size.quiet_s, _telling(progress, "capture, nothing else running"))
        told = _telling(progress, "capture under load with the ledger")
        busy = await hear_during(ours.running(), speech, size.capture_s, told, settle_s=size.settle_s)
        told = _telling(progress, "capture under the libraries' defaults")
        loose = await defaults.hear(size.capture_s, told, settle_s=size.settle_s)
        capture.report(findings, busy, loose, quiet)


def _telling(progress: Progress, what: str) -> Progress:
    return lambda text: progress(f"{what}: {text}")
