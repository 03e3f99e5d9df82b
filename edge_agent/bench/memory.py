"""Whether work leaves memory behind: the slope of resident memory over a hundred thousand of each kind."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.bench.result import Reference, linear_fit
from edge_agent.errors import EngineError

if TYPE_CHECKING:
    from edge_agent.bench.result import Findings, Progress

WARM_UP_SHARE = 0.2
"""Share of the samples that is left out: allocators and caches fill up first."""
_CHILD = "edge_agent.bench.memory_child"


@dataclass(frozen=True, slots=True)
class Growth:
    """How memory grew.

    Attributes:
        slope_bytes: For each job, by least squares after the warm-up.
        grown_bytes: From the first sample after the warm-up to the last one.
        samples: How many samples the line was fitted to.
    """

    slope_bytes: float
    grown_bytes: float
    samples: int


def growth(counts: list[int], resident_bytes: list[int]) -> Growth:
    """Return how `resident_bytes` grew with `counts`, without the warm-up; at least three samples."""
    first = min(round(len(counts) * WARM_UP_SHARE), len(counts) - 2)
    kept_counts, kept_bytes = counts[first:], resident_bytes[first:]
    slope, _ = linear_fit(kept_counts, kept_bytes)
    return Growth(slope, kept_bytes[-1] - kept_bytes[0], len(kept_counts))


async def measure(findings: Findings, progress: Progress, *, jobs: int = 100_000) -> None:
    """Add `memory.*`, measured in a fresh process.

    Raises:
        EngineError: The process failed.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", _CHILD, str(jobs), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    samples: list[dict[str, int]] = []
    try:
        assert child.stdout is not None  # noqa: S101 - a pipe; tells mypy
        async for line in child.stdout:
            samples.append(json.loads(line))
            progress(f"memory: {samples[-1]['count']} of {jobs} of each kind")
        status = await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if status:
        raise EngineError("bench", f"the process that measures memory ended with status {status}")
    counts = [sample["count"] for sample in samples]
    whole = growth(counts, [sample["resident"] for sample in samples])
    last = samples[-1]["resident"]
    findings.add(
        "memory.slope_bytes_per_job",
        whole.slope_bytes,
        "bytes",
        reference=Reference("resident at the end", last / 1024**2, "MiB"),
        samples=whole.samples,
    )
    findings.add("memory.grown_kib", whole.grown_bytes / 1024, "KiB", samples=whole.samples)
    # Kinds take turns within a block, so that what one leaves behind shows in its own steps alone.
    for kind in ("jobs", "tasks", "identities", "refusals"):
        grown = growth(counts, _running_sums([sample[kind] for sample in samples]))
        findings.add(f"memory.{kind}_slope_bytes_each", grown.slope_bytes, "bytes", samples=grown.samples)


def _running_sums(steps: list[int]) -> list[int]:
    total, sums = 0, []
    for step in steps:
        total += step
        sums.append(total)
    return sums
