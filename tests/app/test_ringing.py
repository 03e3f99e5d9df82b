"""Ringing on virtual time: announced again and again, until somebody reacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from virtual_time import in_virtual_time

from edge_agent.app.alarm_clock import bell_times, open_timers
from edge_agent.app.ringing import REACTIONS, Ringing
from edge_agent.config.timers import TimersConfig
from edge_agent.pipeline.report import TurnReport
from edge_agent.reason.actions import Actor
from edge_agent.reason.alarms import AlarmBook
from edge_agent.reason.bell import Bell, BellTimes
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import Timer, TimerBook

INTENTS = load_intents("en", builtin=True, paths=[], outputs={})
SPEAKING_S = 3.0


class LoopClock:
    """The loop's time, beginning at seven in the morning."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        """UTC is local."""
        return datetime(2026, 3, 4, 7, tzinfo=UTC) + timedelta(seconds=self.monotonic() + self.ahead_s)

    def localize(self, local: datetime) -> datetime:
        """UTC is local."""
        return local.replace(tzinfo=UTC)

    def monotonic(self) -> float:
        """The loop's seconds."""
        return asyncio.get_running_loop().time()


class ScriptedRoom:
    """Announces like the runner, in turns of 3 s; people in it talk in turns too."""

    def __init__(self, ringing: Ringing) -> None:
        self._ringing = ringing
        self._rested = asyncio.Event()
        self._rested.set()
        self._turn: asyncio.Task[None] | None = None
        self.said: list[tuple[float, bool, str]] = []

    def announce(self, text: str, *, alert: bool = False) -> None:
        """Write down what is said, and when; take 3 s for it."""
        assert self._rested.is_set(), "two turns at once"
        self.said.append((asyncio.get_running_loop().time(), alert, text))
        self._begin(TurnReport(1, reply=text, alert=alert), SPEAKING_S)

    async def rested(self) -> None:
        """Wait for the end of the turn."""
        await self._rested.wait()

    def talk(self, heard: str, intent: str | None, lasts_s: float = 2.0) -> None:
        """Somebody says something; a turn of that length."""
        self._begin(TurnReport(2, heard=heard, intent=intent), lasts_s)

    def cut_off(self) -> None:
        """Somebody interrupts the announcement."""
        assert self._turn is not None
        self._turn.cancel()

    def _begin(self, report: TurnReport, lasts_s: float) -> None:
        self._rested.clear()
        self._turn = asyncio.create_task(self._live(report, lasts_s))

    async def _live(self, report: TurnReport, lasts_s: float) -> None:
        try:
            await asyncio.sleep(lasts_s)
        except asyncio.CancelledError:
            report.interrupted = True
        self._ringing.turn_ended(report)
        self._rested.set()


class House:
    """An actor with its bell, and a room to ring in."""

    def __init__(self, clock: LoopClock, bell: Bell, actor: Actor, room: ScriptedRoom) -> None:
        self.clock, self.bell, self.actor, self.room = clock, bell, actor, room

    def times(self, kind: Literal["alert", "word"] = "alert") -> list[float]:
        """When it was announced."""
        return [at_s for at_s, alert, _ in self.room.said if alert is (kind == "alert")]


@asynccontextmanager
async def a_house(times: BellTimes | None = None, *restored: Timer) -> AsyncIterator[House]:
    """Run the stage."""
    clock = LoopClock()
    timers = TimerBook(clock)
    bell = Bell(clock, timers, AlarmBook(clock), times)
    nothing = cast("Any", None)
    actor = Actor(INTENTS, clock=clock, outputs=nothing, volume=nothing, status=nothing, timers=timers, bell=bell)
    if restored:
        timers.restore(restored)
    async with open_timers(TimersConfig(), None, actor, clock, lambda _: None) as alarm_clock:
        room = ScriptedRoom(alarm_clock.ringing)
        stage = asyncio.create_task(alarm_clock.ringing.ring_loop(room))
        try:
            yield House(clock, bell, actor, room)
        finally:
            stage.cancel()
            await asyncio.wait({stage})
            await room.rested()


@in_virtual_time
async def test_it_is_announced_every_eight_seconds_until_its_minute_is_over() -> None:
    """Eight seconds of silence between the announcements; afterwards it is quiet."""
    async with a_house() as house:
        house.bell.timers.set(100, "egg")
        await asyncio.sleep(400)
        assert house.times() == [100, 111, 122, 133, 144, 155]
        assert house.room.said[0][2] == "Your one minute forty second egg timer is done."


@in_virtual_time
async def test_the_next_to_talk_is_told_what_was_missed() -> None:
    """Once, after the answer."""
    async with a_house() as house:
        house.bell.timers.set(100, "egg")
        await asyncio.sleep(400)
        for _ in range(2):
            house.room.talk("what time is it", "GetTime")
            await asyncio.sleep(100)
        assert house.room.said[-1] == (402, False, "You missed the egg timer.")
        assert house.times("word") == [402]


@in_virtual_time
async def test_an_alert_that_is_cut_off_was_noticed() -> None:
    """By button, wake word or speech: it is not announced again, and was not missed."""
    async with a_house() as house:
        house.bell.timers.set(100)
        await asyncio.sleep(101)
        house.room.cut_off()
        await asyncio.sleep(400)
        house.room.talk("what time is it", "GetTime")
        await asyncio.sleep(100)
        assert len(house.room.said) == 1


@in_virtual_time
async def test_words_that_stop_it() -> None:
    """Said in the silence between; other words don't stop it, and nobody is talked over."""
    for intent in (*sorted(REACTIONS), "GetTime", None):
        async with a_house() as house:
            began_s = asyncio.get_running_loop().time()
            house.bell.timers.set(100)
            await asyncio.sleep(110)
            house.room.talk("words", intent, lasts_s=5)
            await asyncio.sleep(20)
            announced = [at_s - began_s for at_s in house.times()]
            assert announced == ([100] if intent in REACTIONS else [100, 115, 126])


@in_virtual_time
async def test_what_falls_due_while_something_rings_is_announced_with_it_at_once() -> None:
    """Both together, in order."""
    async with a_house() as house:
        house.bell.timers.set(100, "egg")
        house.bell.timers.set(106, "tea")
        await asyncio.sleep(112)
        assert [(at_s, text.count("done")) for at_s, _, text in house.room.said] == [(100, 1), (106, 2)]


@in_virtual_time
async def test_a_timer_set_later_and_sooner_is_not_overslept() -> None:
    """A change wakes the stage."""
    async with a_house() as house:
        long = house.bell.timers.set(1000)
        await asyncio.sleep(5)
        house.bell.timers.set(10, "tea")
        house.bell.timers.cancel(long)
        await asyncio.sleep(11)
        assert house.times() == [15]


@in_virtual_time
async def test_a_clock_that_is_set_is_noticed_within_half_a_minute() -> None:
    """An alarm that is hours ahead rings soon after the clock has been set to its time."""
    async with a_house() as house:
        house.bell.alarms.set(datetime.fromisoformat("2026-03-04 19:00"))
        await asyncio.sleep(3605)
        house.clock.ahead_s = 11 * 3600.0
        await asyncio.sleep(60)
        (first, *_) = house.times()
        assert 3605 < first <= 3635


@in_virtual_time
async def test_what_was_due_long_ago_is_told_when_somebody_is_there() -> None:
    """Not into an empty room at the start."""
    async with a_house(None, Timer(1, "egg", 60.0, -4000.0)) as house:
        await asyncio.sleep(990)
        house.room.talk("", None, lasts_s=1)  # a noise
        await asyncio.sleep(10)
        assert house.room.said == []
        house.room.talk("good morning", None)
        await asyncio.sleep(10)
        assert house.room.said == [(1002, False, "While I was off, you missed the egg timer.")]


@in_virtual_time
async def test_nothing_set_wakes_nobody() -> None:
    """The stage waits without a time limit."""
    async with a_house() as house:
        await asyncio.sleep(10)
        loop = asyncio.get_running_loop()
        assert house.bell.next_look_s() is None
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


def test_the_configuration_in_the_bells_terms() -> None:
    """Its defaults are the bell's."""
    assert bell_times(TimersConfig()) == BellTimes()
