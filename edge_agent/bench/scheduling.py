"""How many tasks with dependencies the scheduler gets done in a second."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING

from edge_agent.bench.result import Reference
from edge_agent.runtime.scheduled import Task
from edge_agent.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.bench.result import Findings, Progress

_MOST_DEPENDENCIES = 3
_NEAR = 200
"""A task depends on some of so many before it: the graph is deep as well as wide."""

Graph = list[tuple[int, ...]]
"""For each task the numbers of those that it depends on, all smaller than its own."""


async def measure(findings: Findings, progress: Progress, *, tasks: int = 10_000, rounds: int = 5) -> None:
    """Add `scheduler.tasks_per_s`.

    Raises:
        AssertionError: A task ran before one that it depends on, or not at all: then the figure would mean nothing.
    """
    graph = random_graph(tasks)
    ours, plain = [], []
    for turn in range(rounds):
        progress(f"scheduler {turn + 1}/{rounds}")
        ours.append(tasks / await _timed(graph, _by_scheduler))
        plain.append(tasks / await _timed(graph, _by_plain_tasks))
    findings.add(
        "scheduler.tasks_per_s",
        statistics.median(ours),
        "tasks/s",
        reference=Reference("asyncio tasks that await each other", statistics.median(plain), "tasks/s"),
        samples=tasks * rounds,
    )


def random_graph(tasks: int, seed: int = 1) -> Graph:
    """Return a graph without cycles in which each task has up to three dependencies."""
    chance = random.Random(seed)  # noqa: S311 - a workload, no secret
    graph: Graph = []
    for number in range(tasks):
        near = range(max(0, number - _NEAR), number)
        graph.append(tuple(chance.sample(near, min(len(near), chance.randint(0, _MOST_DEPENDENCIES)))))
    return graph


async def _timed(
    graph: Graph, way: Callable[[Graph, Callable[[int], Callable[[], Awaitable[None]]]], Awaitable[None]]
) -> float:
    """Return the seconds that all tasks took, after checking the order in which they ran."""
    ran_at: dict[int, int] = {}

    def work_of(number: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            ran_at[number] = len(ran_at)

        return work

    began_s = time.perf_counter()
    await way(graph, work_of)
    took_s = time.perf_counter() - began_s
    _check_order(graph, [ran_at.get(number) for number in range(len(graph))])
    return took_s


def _check_order(graph: Graph, ran_at: Sequence[int | None]) -> None:
    for number, after in enumerate(graph):
        at = ran_at[number]
        if at is None or any(ran_at[other] is None or ran_at[other] > at for other in after):  # type: ignore[operator]
            raise AssertionError(f"task {number} ran at {at}, before one of {after}, or never")


async def _by_scheduler(graph: Graph, work_of: Callable[[int], Callable[[], Awaitable[None]]]) -> None:
    async with Scheduler(most_running=64, most_waiting=len(graph)) as scheduler:
        handles = scheduler.submit(
            *(
                Task(str(number), work_of(number), after=tuple(map(str, after)), kind="bench")
                for number, after in enumerate(graph)
            )
        )
        for handle in handles:
            await handle.result()


async def _by_plain_tasks(graph: Graph, work_of: Callable[[int], Callable[[], Awaitable[None]]]) -> None:
    running: list[asyncio.Task[None]] = []

    async def after_others(number: int) -> None:
        for other in graph[number]:
            await running[other]
        await work_of(number)()

    async with asyncio.TaskGroup() as group:
        running.extend(group.create_task(after_others(number)) for number in range(len(graph)))
