"""Joins timers and alarms to the disk and to the voice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.ringing import Ringing
from edge_agent.app.timer_keeping import TimerKeeping
from edge_agent.reason.bell import BellTimes
from edge_agent.store.timers import TimerStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.app.ringing import Announcer
    from edge_agent.config.timers import TimersConfig
    from edge_agent.reason.actions import Actor
    from edge_agent.reason.ports import Clock
    from edge_agent.runtime.tasks import Supervisor
    from edge_agent.store.database import Database

_LAST_WRITE_S = 1.0
"""Of the five seconds that shutting down has. What is written last was changed in the last milliseconds."""


def bell_times(config: TimersConfig) -> BellTimes:
    """Return the configuration in the bell's terms."""
    return BellTimes(
        late_s=60 * config.late_minutes,
        timer_rings_s=config.ring_for_s,
        alarm_rings_s=config.alarm_ring_for_s,
        snooze_s=60 * config.snooze_minutes,
    )


@dataclass(frozen=True, slots=True)
class AlarmClock:
    """Timers and alarms at work.

    Attributes:
        ringing: Observes turns.
        keeping: None where there is no database.
    """

    ringing: Ringing
    keeping: TimerKeeping | None

    def keep_running(self, stages: Supervisor, announcer: Announcer) -> None:
        """Run as stages `timers.ring` and `timers.store`."""
        stages.keep("timers.ring", lambda: self.ringing.ring_loop(announcer))
        if self.keeping is not None:
            stages.keep("timers.store", self.keeping.write_loop)

    def configure(self, config: TimersConfig, actor: Actor) -> None:
        """Ring as `config` says, in the words of `actor`, whose bell is the same, from now on."""
        self.ringing.configure(actor, repeat_s=config.repeat_s)
        actor.bell.times = bell_times(config)
        self.ringing.changed()

    async def saved(self) -> None:
        """Wait until what was changed up to now is on disk, or can't be written."""
        if self.keeping is not None:
            await self.keeping.saved()


@asynccontextmanager
async def open_timers(
    config: TimersConfig,
    database: Database | None,
    actor: Actor,
    clock: Clock,
    report: Callable[[str], None],
    *,
    restores: bool = True,
) -> AsyncIterator[AlarmClock]:
    """Bring timers and alarms back from the database, and keep what is set from now on.

    Enter it before the supervisor that its stages run under. Without a database, everything is in memory only.

    Args:
        config: How they ring.
        database: Open, for as long as this is.
        actor: Has the bell and its books.
        clock: The bell's clock.
        report: Is told once where they can't be kept.
        restores: False where the bell's books are complete already.
    """
    bell = actor.bell
    ringing = Ringing(actor, clock, repeat_s=config.repeat_s)
    keeping = None if database is None else TimerKeeping(TimerStore(database), bell, clock, report)
    if keeping is not None and restores:
        await keeping.restore()

    def changed() -> None:
        ringing.changed()
        if keeping is not None:
            keeping.changed()

    bell.on_change = bell.timers.on_change = bell.alarms.on_change = changed
    changed()
    try:
        yield AlarmClock(ringing, keeping)
    finally:
        bell.on_change = bell.timers.on_change = bell.alarms.on_change = lambda: None
        if keeping is not None and keeping.is_behind:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_S):
                    await keeping.write()
