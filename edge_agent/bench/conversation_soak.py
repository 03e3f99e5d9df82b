"""Many short turns in a row: whether memory, tasks, threads or delays grow."""

from __future__ import annotations

import asyncio
import os
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench.conversation_rig import open_rig
from edge_agent.bench.result import Reference, at_most, linear_fit, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.config.schema import Config

_SETTLED = 0.2
"""Share of the turns after which memory counts: caches are filled, and the history is as long as it may be."""
_WINDOW = 4
"""The first and the last of so many parts are compared."""
_SPEED = 16.0
"""Of the speaker: what comes after the first sample is not what is measured."""
_WARM_UP = 8
_SETTLE_S = 3.0
_PAUSE_S = 0.1


async def measure(
    findings: Findings,
    config: Config,
    clips: tuple[Sequence[Clip], Sequence[Clip]],
    turns: int,
    progress: Progress,
) -> None:
    """Add `soak.*`; clips of the two kinds, questions and commands, take turns.

    Raises:
        EdgeAgentError: An engine is missing or failed.
    """
    progress("soak: loading")
    first_ms: list[float | None] = []
    resident_kib: list[float] = []
    answered = 0
    async with open_rig(config, speed=_SPEED) as rig:
        before = _counted()
        warm_up = min(_WARM_UP, turns // 2)
        for number in range(warm_up + turns):
            progress(f"soak, turn {number + 1}/{warm_up + turns}")
            kind = clips[number % 2]
            exchange = await rig.ask(kind[number // 2 % len(kind)], after_s=_PAUSE_S)
            if number < warm_up:
                if number == warm_up - 1:
                    before = await _settled()
                continue
            resident_kib.append(await rig.core.match.run(_resident_kib, kind="bench.rss"))
            first_ms.append(
                None if exchange is None or exchange.first_audio_s is None else exchange.first_audio_s * 1000
            )
            answered += first_ms[-1] is not None
        after = await _settled()
    settled = round(turns * _SETTLED)
    counted = resident_kib[settled:]
    level, step_kib = without_largest_step(counted)
    at_end = Reference("resident memory at the end", resident_kib[-1] / 1024, "MiB")
    for name, series in (("memory_slope", counted), ("memory_slope_less_step", level)):
        slope, _ = linear_fit(range(len(series)), series)
        findings.add(f"soak.{name}_kib_per_turn", slope, "KiB", reference=at_end, samples=len(series))
    findings.add("soak.memory_largest_step_mib", step_kib / 1024, "MiB", samples=len(counted))
    for name, was, is_now in zip(("tasks", "threads"), before, after, strict=True):
        reference = Reference(f"{name} before", was, name)
        findings.add(f"soak.{name}_left", is_now - was, name, goal=at_most(0), reference=reference, samples=turns)
    part = max(1, turns // _WINDOW)
    early, late = ([value for value in values if value is not None] for values in (first_ms[:part], first_ms[-part:]))
    for share in (50, 95):
        was_ms, is_ms = (percentile(values, share) if values else None for values in (early, late))
        findings.add(
            f"soak.last_vs_first_p{share}",
            is_ms / was_ms if is_ms is not None and was_ms else None,
            "ratio",
            goal=at_most(1.1) if share == 95 else None,  # noqa: PLR2004 - per cent
            reference=None if was_ms is None else Reference(f"first {part} turns, to the first sample", was_ms, "ms"),
            samples=len(late),
        )
    findings.add("soak.answered", answered, "turns", samples=turns)
    findings.distributions["Soak: from the true end of speech to the first sample (ms)"] = {
        f"first {part}": early,
        f"last {part}": late,
    }


def without_largest_step(values: Sequence[float]) -> tuple[list[float], float]:
    """Return `values` with their largest step from one to the next taken out, and that step; at least two values."""
    steps = [after - before for before, after in pairwise(values)]
    at = max(range(len(steps)), key=lambda number: abs(steps[number]))
    return [value - (steps[at] if number > at else 0.0) for number, value in enumerate(values)], steps[at]


async def _settled() -> tuple[int, int]:
    """Count once what a turn leaves to be done later has been done."""
    await asyncio.sleep(_SETTLE_S)
    return _counted()


def _counted() -> tuple[int, int]:
    """Return the number of tasks and of threads."""
    return len(asyncio.all_tasks()), threading.active_count()


def _resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
