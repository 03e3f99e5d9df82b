"""How many may use a resource at once: the language model, a voice, connections, files."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import LimitBusyError
from edge_agent.runtime.line import Line
from edge_agent.runtime.metrics import Metrics, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from edge_agent.runtime.metrics import Activity


@dataclass(frozen=True, slots=True)
class LimitStatistics:
    """A resource at one moment.

    Attributes:
        resource: Its name.
        limit: How many may hold it at once.
        in_use: How many hold it.
        waiting: How many wait for it.
        peak: The most that held it at once.
        refused: Requests turned away because too many waited.
        timed_out: Requests that waited in vain.
    """

    resource: str
    limit: int
    in_use: int
    waiting: int
    peak: int
    refused: int
    timed_out: int


class _Gate:
    """The permits of one resource."""

    def __init__(self, limit: int, activity: Activity) -> None:
        self.limit = limit
        self.in_use = 0
        self.peak = 0
        self.activity = activity
        self.line = Line(self.settle)

    @property
    def free(self) -> bool:
        """True where a permit is neither in use nor promised; then nobody waits."""
        return self.in_use + self.line.promised < self.limit

    def settle(self) -> None:
        """Promise what is free to those who wait."""
        self.line.promise(self.limit - self.in_use)

    def take(self) -> None:
        """Take one permit."""
        self.in_use += 1
        self.peak = max(self.peak, self.in_use)

    def give_back(self) -> None:
        """Return one permit."""
        self.in_use -= 1
        self.settle()


class ResourceLimits:
    """Permits for a fixed set of resources, first come, first served.

    At most `most_waiting` wait for one resource; more are refused at once. Who is cancelled while he waits leaves no
    permit behind. Belongs to the loop's thread.
    """

    def __init__(self, limits: Mapping[str, int], *, most_waiting: int = 64, metrics: Metrics | None = None) -> None:
        for resource, limit in limits.items():
            if limit < 1:
                raise ValueError(f"{resource!r} needs a limit of at least 1, not {limit}")
        account = metrics or Metrics()
        self._most_waiting = most_waiting
        self._gates = {name: _Gate(limit, account.activity("limits", name)) for name, limit in limits.items()}

    def hold(self, resource: str, *, timeout_s: float | None = None) -> AbstractAsyncContextManager[None]:
        """Hold `resource` for as long as the context lasts; entering waits up to `timeout_s` (None: any time).

        Entering raises `LimitBusyError` where it did not come free in time, or too many wait already.

        Raises:
            ValueError: No limit is kept for `resource`.
        """
        gate = self._gates.get(resource)
        if gate is None:
            known = ", ".join(sorted(self._gates)) or "none"
            raise ValueError(f"no limit is kept for resource {resource!r}; there are: {known}")
        return self._hold(resource, gate, timeout_s)

    def statistics(self) -> tuple[LimitStatistics, ...]:
        """Return the state of each resource."""
        return tuple(
            LimitStatistics(
                name,
                gate.limit,
                gate.in_use,
                len(gate.line),
                gate.peak,
                gate.activity.refused,
                gate.activity.ended[Outcome.TIMED_OUT],
            )
            for name, gate in self._gates.items()
        )

    @asynccontextmanager
    async def _hold(self, resource: str, gate: _Gate, timeout_s: float | None) -> AsyncIterator[None]:
        if not gate.free and ((timeout_s is not None and timeout_s <= 0) or len(gate.line) >= self._most_waiting):
            gate.activity.refuse()
            raise LimitBusyError(resource, gate.limit, 0.0)
        now = asyncio.get_running_loop().time
        asked_s = now()
        began_s: float | None = None
        outcome = Outcome.CANCELLED
        gate.activity.begin()
        try:
            if not gate.free and not await gate.line.wait(timeout_s):
                outcome = Outcome.TIMED_OUT
                raise LimitBusyError(resource, gate.limit, now() - asked_s)
            gate.take()
            began_s = now()
            outcome = Outcome.COMPLETED
            yield
        finally:
            ended_s = now()
            if began_s is None:
                began_s = ended_s
            else:
                gate.give_back()
            gate.activity.end(outcome, began_s - asked_s, ended_s - began_s)
