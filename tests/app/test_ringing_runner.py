"""Ringing through the real runner: an alert that somebody cuts off has been noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from doubles import CountingSynthesizer, HeldSpeaker, Notebook, ScriptedRecognizer, ScriptedResponder, lend

from edge_agent.app.alarm_clock import open_timers
from edge_agent.app.local_clock import LocalClock
from edge_agent.config.timers import TimersConfig
from edge_agent.pipeline.observer import Observers
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.stages import Stages
from edge_agent.pipeline.turn import Conversation
from edge_agent.reason.actions import Actor
from edge_agent.reason.spoken import speech
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pools import Station
from edge_agent.runtime.tasks import Supervisor

INTENTS = load_intents("en", builtin=True, paths=[], outputs={})
assert speech("en").number(1) == "one"  # the first number reads a file, which the service does while it loads


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition()` holds; bounded."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")


@asynccontextmanager
async def a_kitchen(*, held: bool) -> AsyncIterator[tuple[Actor, Runner, HeldSpeaker, Notebook]]:
    """A runner on doubles that announces what rings."""
    clock, nothing = LocalClock(), cast("Any", None)
    actor = Actor(INTENTS, clock=clock, outputs=nothing, volume=nothing, status=nothing, timers=TimerBook(clock))
    notebook, speaker, asr, tts = Notebook(), HeldSpeaker(held=held), Pool("asr"), Pool("tts")
    stages = Stages(
        ScriptedRecognizer(),
        Station(asr),
        ScriptedResponder(),
        CountingSynthesizer(),
        Station(tts),
        lend(speaker),  # type: ignore[arg-type]
    )
    try:
        async with (
            open_timers(TimersConfig(repeat_s=1.0), None, actor, clock, notebook.fault) as alarm_clock,
            Runner(stages, Conversation.begin("wake_word"), Observers(notebook, alarm_clock.ringing)) as runner,
            Supervisor(Metrics(), notebook.fault) as supervisor,
        ):
            alarm_clock.keep_running(supervisor, runner)
            yield actor, runner, speaker, notebook
    finally:
        await asr.close()
        await tts.close()


async def test_an_alert_is_spoken_and_cut_off() -> None:
    """The report says so, nothing rings any more, and a snooze still knows what it was."""
    async with a_kitchen(held=True) as (actor, runner, speaker, notebook):
        actor.bell.timers.set(0.01, "egg")
        await until(lambda: speaker.pending)
        assert actor.bell.ringing
        runner.interrupt("button")
        await until(lambda: notebook.turns)
        await runner.rested()
        (report,) = notebook.turns
        assert (report.alert, report.interrupted, report.heard) == (True, True, None)
        assert not actor.bell.ringing
        assert [item.name for item in actor.bell.snooze(600)] == ["egg"]
    assert notebook.faults == []


async def test_an_alert_that_nobody_minds_goes_on() -> None:
    """Spoken to its end it is not noticed: it still rings."""
    async with a_kitchen(held=False) as (actor, runner, _, notebook):
        actor.bell.timers.set(0.01, "egg")
        await until(lambda: notebook.turns)
        await runner.rested()
        (report,) = notebook.turns
        assert (report.alert, report.interrupted) == (True, False)
        assert report.reply is not None
        assert report.reply.endswith("egg timer is done.")
        assert [item.name for item in actor.bell.ringing] == ["egg"]
    assert notebook.faults == []
