"""Timers on disk: written after every change, back after a restart, in memory where the disk fails."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zone_clock import ZoneClock

from edge_agent.app.alarm_clock import AlarmClock, open_timers
from edge_agent.app.timer_keeping import TimerKeeping
from edge_agent.config.timers import TimersConfig
from edge_agent.errors import StoreError
from edge_agent.reason.actions import Actor
from edge_agent.reason.alarms import Alarm, AlarmBook
from edge_agent.reason.bell import Bell
from edge_agent.reason.recurrence import EVERY_DAY, instant, next_local
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.tasks import Supervisor
from edge_agent.store.alarms import StoredAlarm
from edge_agent.store.database import Database
from edge_agent.store.timers import StoredTimer, TimerStore

INTENTS = load_intents("en", builtin=True, paths=[], outputs={})
START = "2026-03-03 20:00"


class SilentRunner:
    """Announces into the void."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def announce(self, text: str, *, alert: bool = False) -> None:
        """Write down."""
        self.said.append(text)

    async def rested(self) -> None:
        """At once."""


class Process:
    """One life of the agent, as far as timers are concerned."""

    def __init__(self, clock: ZoneClock) -> None:
        self.clock = clock
        self.bell = Bell(clock, TimerBook(clock), AlarmBook(clock))
        nothing = cast("Any", None)
        self.actor = Actor(
            INTENTS,
            clock=clock,
            outputs=nothing,
            volume=nothing,
            status=nothing,
            timers=self.bell.timers,
            bell=self.bell,
        )
        self.faults: list[str] = []
        self.runner = SilentRunner()

    @asynccontextmanager
    async def run(self, database: Database | None) -> AsyncIterator[AlarmClock]:
        """Live."""
        async with AsyncExitStack() as stack:
            alarm_clock = await stack.enter_async_context(
                open_timers(TimersConfig(), database, self.actor, self.clock, self.faults.append)
            )
            stages = await stack.enter_async_context(Supervisor(Metrics(), self.faults.append))
            alarm_clock.keep_running(stages, self.runner)
            yield alarm_clock


@asynccontextmanager
async def a_process(path: Path, pool: Pool, clock: ZoneClock) -> AsyncIterator[tuple[Process, AlarmClock]]:
    """A process on that file."""
    process = Process(clock)
    async with Database(path, pool) as database, process.run(database) as alarm_clock:
        yield process, alarm_clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "timers.db"


async def test_a_restart_loses_nothing(path: Path, file_pool: Pool) -> None:
    """What runs, what is paused and what is set: the first follows the wall clock, whatever monotonic time says."""
    clock = ZoneClock(START, "Europe/Berlin")
    async with a_process(path, file_pool, clock) as (first, _):
        first.bell.timers.set(3600, "egg")
        first.bell.timers.pause(first.bell.timers.set(600))
        first.bell.alarms.set(
            next_local(clock, instant(clock, clock.now().replace(tzinfo=None)).time()), "daily", EVERY_DAY
        )
        alarm = first.bell.alarms.alarms[0]
    clock.pass_time(1000)
    clock.restart()
    async with a_process(path, file_pool, clock) as (second, _):
        egg, paused = second.bell.timers.timers
        assert (egg.name, second.bell.timers.left_s(egg), egg.restored) == ("egg", 2600, True)
        assert (paused.paused, second.bell.timers.left_s(paused)) == (True, 600)
        assert second.bell.alarms.alarms == (Alarm(alarm.id, "daily", alarm.local, EVERY_DAY, restored=True),)
        assert second.bell.timers.set(5).id == 3
    assert first.faults == second.faults == []


async def test_every_change_is_on_disk_while_the_process_lives(path: Path, file_pool: Pool) -> None:
    """Set, paused, snoozed, cancelled: a look into the file after each shows it."""
    clock = ZoneClock(START)
    async with a_process(path, file_pool, clock) as (process, alarm_clock), Database(path, file_pool) as other:
        store = TimerStore(other)
        timer = process.bell.timers.set(600, "egg")
        await alarm_clock.saved()
        assert [(stored.name, stored.paused_left_s) for stored in await store.all()] == [("egg", None)]
        process.bell.timers.pause(timer)
        await alarm_clock.saved()
        assert [stored.paused_left_s for stored in await store.all()] == [600]
        alarm = process.bell.alarms.set(next_local(clock, clock.now().time()))
        process.bell.alarms.snooze(alarm, 60)
        await alarm_clock.saved()
        assert [stored.snoozed_until is None for stored in await store.alarms()] == [False]
        process.bell.timers.cancel(timer)
        process.bell.alarms.cancel(alarm)
        await alarm_clock.saved()
        assert (await store.all(), await store.alarms()) == ((), ())


async def test_what_rings_is_kept_until_somebody_reacts(path: Path, file_pool: Pool) -> None:
    """A process that ends while something rings leaves it for the next, which rings again."""
    clock = ZoneClock(START)
    async with a_process(path, file_pool, clock) as (first, alarm_clock):
        first.bell.timers.set(60, "egg")
        first.bell.alarms.set(next_local(clock, (clock.now()).time()), "once")
        clock.pass_time(86_400)
        assert first.bell.look()
        assert [item.name for item in first.bell.ringing] == ["once"]
    clock.pass_time(120)
    async with a_process(path, file_pool, clock) as (second, _):
        second.bell.look()
        assert [item.name for item in second.bell.ringing] == ["once"]
        second.bell.stop()
        assert second.actor.tell_missed() == "While I was off, you missed the egg timer."
    async with a_process(path, file_pool, clock) as (third, alarm_clock):
        await alarm_clock.saved()
        assert (third.bell.look(), third.bell.held, third.bell.alarms.alarms) == (False, (), ())


async def test_a_daily_alarm_that_rings_when_the_power_goes_rings_again(path: Path, file_pool: Pool) -> None:
    """On disk it still has the time at which it rang; its next time is found again."""
    clock = ZoneClock(START)
    async with a_process(path, file_pool, clock) as (first, _):
        first.bell.alarms.set(next_local(clock, clock.now().time()), "daily", EVERY_DAY)
        clock.pass_time(86_400)
        first.bell.look()
    async with a_process(path, file_pool, clock) as (second, _):
        assert second.bell.look()
        (ringing,) = second.bell.ringing
        (coming,) = second.bell.alarms.alarms
        assert isinstance(ringing, Alarm)
        assert ringing.local is not None
        assert coming.local is not None
        assert (coming.local - ringing.local).days == 1


async def test_a_clock_that_is_set_moves_what_is_on_disk(path: Path, file_pool: Pool) -> None:
    """A timer of this process keeps its length, so its end on the wall clock moves along."""
    clock = ZoneClock(START)
    async with a_process(path, file_pool, clock) as (process, alarm_clock), Database(path, file_pool) as other:
        process.bell.timers.set(600)
        await alarm_clock.saved()
        (before,) = await TimerStore(other).all()
        clock.step(5000)
        process.bell.look()
        await alarm_clock.saved()
        (after,) = await TimerStore(other).all()
    assert before.due_at is not None
    assert after.due_at is not None
    assert (after.due_at - before.due_at).total_seconds() == 5000


class FailingStore:
    """A store whose disk can be broken and mended."""

    def __init__(self) -> None:
        self.broken = True
        self.writes = 0

    async def all(self) -> tuple[StoredTimer, ...]:
        """Nothing, or a failure."""
        return self._try()

    async def alarms(self) -> tuple[StoredAlarm, ...]:
        """Nothing, or a failure."""
        return self._try()

    async def replace(self, timers: list[StoredTimer], alarms: list[StoredAlarm]) -> None:
        """Count, or fail."""
        self._try()
        self.writes += 1

    def _try(self) -> tuple[Any, ...]:
        if self.broken:
            raise StoreError(Path("timers.db"), "the disk is full")
        return ()


async def test_a_disk_that_fails_is_reported_once_and_timers_go_on() -> None:
    """Told again only after it had worked; what was set meanwhile is written then."""
    process = Process(ZoneClock(START))
    store = FailingStore()
    keeping = TimerKeeping(cast("TimerStore", store), process.bell, process.clock, process.faults.append)
    process.bell.timers.on_change = keeping.changed
    await keeping.restore()
    for _ in range(3):
        process.bell.timers.set(60)
        await keeping.write()
    await keeping.saved()
    assert (len(process.faults), len(process.bell.timers.timers), keeping.is_behind) == (1, 3, True)
    assert process.faults[0].startswith("timers are not kept over a restart: ")
    store.broken = False
    await keeping.write()
    assert (store.writes, keeping.is_behind) == (1, False)
    store.broken = True
    await keeping.write()
    assert len(process.faults) == 2


async def test_without_a_database_everything_is_in_memory() -> None:
    """Nothing to wait for, nothing to report."""
    process = Process(ZoneClock(START))
    async with process.run(None) as alarm_clock:
        process.bell.timers.set(60)
        await alarm_clock.saved()
    assert process.faults == []


@given(
    durations_s=st.lists(st.floats(1, 1e6), max_size=5),
    hours=st.lists(st.integers(0, 23), max_size=5, unique=True),
    off_s=st.floats(0, 1e6),
)
def test_what_is_written_and_read_rings_at_the_same_instants(
    durations_s: list[float], hours: list[int], off_s: float
) -> None:
    """Through rows and back in a process whose monotonic time begins anew."""
    clock = ZoneClock(START, "Europe/Berlin")
    first, second = Process(clock), Process(clock)
    rows: list[Any] = []

    class Rows:
        async def all(self) -> Any:  # noqa: ANN401 - a double
            return rows[0]

        async def alarms(self) -> Any:  # noqa: ANN401 - a double
            return rows[1]

        async def replace(self, *both: object) -> None:
            rows[:] = both

    store = cast("TimerStore", Rows())
    for duration_s in durations_s:
        first.bell.timers.set(duration_s)
    for hour in hours:
        first.bell.alarms.set(next_local(clock, clock.now().time().replace(hour=hour)), days=(hour % 7,))
    asyncio.run(TimerKeeping(store, first.bell, clock, first.faults.append).write())
    before = (
        [first.bell.timers.left_s(timer) for timer in first.bell.timers.timers],
        [first.bell.alarms.left_s(alarm) for alarm in first.bell.alarms.alarms],
    )
    clock.pass_time(off_s)
    clock.restart()
    asyncio.run(TimerKeeping(store, second.bell, clock, second.faults.append).restore())
    after_s = [(timer.ends_at_s or 0.0) - clock.monotonic() for timer in second.bell.timers.timers]
    assert after_s == pytest.approx([left_s - off_s for left_s in before[0]], abs=1e-3)
    alarms_s = [second.bell.alarms.left_s(alarm) for alarm in second.bell.alarms.alarms]
    assert alarms_s == pytest.approx([left_s - off_s for left_s in before[1]], abs=1e-3)
    assert second.faults == []


_SETTER = """
import asyncio, sys
from pathlib import Path
from edge_agent.app.alarm_clock import open_timers
from edge_agent.app.local_clock import LocalClock
from edge_agent.config.timers import TimersConfig
from edge_agent.reason.actions import Actor
from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.tasks import Supervisor
from edge_agent.store.database import Database

async def main():
    intents = load_intents("en", builtin=True, paths=[], outputs={})
    matcher, clock, pool = IntentMatcher(intents.intents, "en"), LocalClock(), Pool("file_io", most_workers=2)
    actor = Actor(intents, clock=clock, outputs=None, volume=None, status=None, timers=TimerBook(clock))
    async with (
        Database(Path(sys.argv[1]), pool) as database,
        open_timers(TimersConfig(), database, actor, clock, print) as alarm_clock,
        Supervisor(Metrics(), print) as stages,
    ):
        alarm_clock.keep_running(stages, None)
        for said in sys.stdin:
            reply = actor.perform(matcher.match([said.strip()])).text
            await alarm_clock.saved()
            print(reply, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_process_that_is_killed_loses_nothing_that_it_confirmed(path: Path, file_pool: Pool) -> None:
    """SIGKILL right after the reply, three times over the same file: each process begins with all of it."""
    said = [
        ("set an egg timer for ten minutes", "Egg timer set for ten minutes."),
        ("set an alarm for seven every day", "Alarm set for seven a.m. every day."),
        ("cancel the egg timer", "I've cancelled the egg timer."),
    ]
    expected: list[tuple[int, int]] = [(1, 0), (1, 1), (0, 1)]
    for (sentence, reply), counts in zip(said, expected, strict=True):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SETTER, str(path)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{sentence}\n".encode())
        answer = (await child.stdout.readline()).decode().strip()
        child.kill()
        await child.communicate()
        assert answer == reply
        async with Database(path, file_pool) as database:
            store = TimerStore(database)
            assert database.statistics().set_aside is None
            assert (len(await store.all()), len(await store.alarms())) == counts
