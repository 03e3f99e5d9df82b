"""The pools of one agent, and where in them an engine works."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

from edge_agent.runtime.pool import Pool, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator
    from contextlib import AbstractAsyncContextManager

    from edge_agent.runtime.ledger import Claim
    from edge_agent.runtime.limits import ResourceLimits
    from edge_agent.runtime.metrics import Metrics

T = TypeVar("T")

CAPTURE_NICENESS = -10
"""Where the system allows it (LimitNICE in the unit): a late frame is a lost one."""
_BEHIND = 5
"""Niceness of what nobody waits for at this moment."""


@dataclass(frozen=True, slots=True)
class Pools:
    """One pool for each kind of blocking work.

    Attributes:
        capture: Wake words and the list of sound devices; tiny jobs that are never late. An open device has a pool of
            its own, since it may hang.
        asr: Recognition; one thread, since a recognizer hears one utterance at a time.
        llm: The language model; one thread, which the engine's own threads join by its claim.
        tts: Synthesis.
        file_io: Files and SQLite.
        general: Matching, sensors, everything short.
    """

    capture: Pool
    asr: Pool
    llm: Pool
    tts: Pool
    file_io: Pool
    general: Pool

    def __iter__(self) -> Iterator[Pool]:
        return (getattr(self, field.name) for field in fields(self))


def make_pools(metrics: Metrics, *, little: Collection[int] = (), big: Collection[int] = ()) -> Pools:
    """Return the pools, without any threads yet.

    Args:
        metrics: Takes the account of their jobs.
        little: Slow cores, which capture is kept on, where the board has two kinds.
        big: Fast cores, which engines are kept on.
    """
    compute = big or None
    return Pools(
        capture=Pool("capture", niceness=CAPTURE_NICENESS, affinity=little or None, idle_s=60.0, metrics=metrics),
        # An engine serves one job at a time: a second thread could only be refused. What waits behind a job that hangs
        # times out.
        asr=Pool("asr", depth=256, affinity=compute, idle_s=60.0, replaces_stuck=False, metrics=metrics),
        llm=Pool(
            "llm", depth=16, niceness=_BEHIND, affinity=compute, idle_s=60.0, replaces_stuck=False, metrics=metrics
        ),
        tts=Pool("tts", depth=32, niceness=1, affinity=compute, idle_s=60.0, replaces_stuck=False, metrics=metrics),
        file_io=Pool("file_io", most_workers=4, depth=256, niceness=_BEHIND, metrics=metrics),
        general=Pool("general", most_workers=4, depth=256, metrics=metrics),
    )


_LEAVING_S = 1.5
"""All pools close side by side; the process has five seconds from SIGTERM to its end."""


@asynccontextmanager
async def open_pools(
    metrics: Metrics, *, little: Collection[int] = (), big: Collection[int] = ()
) -> AsyncIterator[Pools]:
    """Open all pools; leaving stops what runs in them and waits for the threads, side by side."""
    pools = make_pools(metrics, little=little, big=big)
    try:
        yield pools
    finally:
        await asyncio.gather(*(pool.close(_LEAVING_S) for pool in pools))


@dataclass(frozen=True, slots=True)
class Station:
    """Where one engine's work is done: its pool, its claim on the cores, its place in a queue for the engine.

    Attributes:
        claim: Held while a job runs; None for work that computes next to nothing.
        resource: Name in `limits` of the engine, which serves `steps` one job at a time.
        patience_s: How long `steps` waits for the engine.
    """

    pool: Pool
    claim: Claim | None = None
    limits: ResourceLimits | None = None
    resource: str = ""
    patience_s: float = 10.0

    async def run(
        self,
        call: Callable[[], T],
        *,
        kind: str,
        priority: Priority = Priority.NORMAL,
        timeout_s: float | None = None,
        stop: Callable[[], None] | None = None,
    ) -> T:
        """Run a call there, as `Pool.run` does."""
        return await self.pool.run(call, kind=kind, priority=priority, timeout_s=timeout_s, stop=stop, claim=self.claim)

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Have the engine for oneself for as long as the context lasts.

        Entering raises `LimitBusyError` where it did not come free.
        """
        return nullcontext() if self.limits is None else self.limits.hold(self.resource, timeout_s=self.patience_s)

    async def steps(
        self,
        job: Generator[T, None, None],
        *,
        kind: str,
        priority: Priority = Priority.NORMAL,
        timeout_s: float | None = None,
        stop: Callable[[], None] | None = None,
        ahead: int = 1,
    ) -> AsyncGenerator[T, None]:
        """Run a generator there, as `Pool.steps` does, when the engine is free.

        Raises:
            LimitBusyError: The engine did not come free.
        """
        running = self.pool.steps(
            job, kind=kind, priority=priority, timeout_s=timeout_s, stop=stop, claim=self.claim, ahead=ahead
        )
        async with self.hold(), aclosing(running) as steps:
            async for item in steps:
                yield item
