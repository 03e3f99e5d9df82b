"""Idle work: done when nobody is served, cut off when somebody speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from doubles import CountingSynthesizer, ScriptedModel

from edge_agent.app.brain import Brain, RememberedVolume, open_brain
from edge_agent.app.chores import Chores
from edge_agent.app.core import Core, open_core
from edge_agent.app.places import Places
from edge_agent.app.voice import Engines, Voice
from edge_agent.config.schema import Config
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.respond import sentences_of
from edge_agent.pipeline.speaking import Renderer, SpokenPhrases
from edge_agent.reason.llm import ChatMessage
from edge_agent.runtime.metrics import Outcome
from edge_agent.runtime.pressure import PressureState, Rung
from edge_agent.runtime.sensors import Reading
from edge_agent.speak.phrases import PhraseCache


class WarmedModel(ScriptedModel):
    """Warms in many small steps, and writes down what."""

    def __init__(self) -> None:
        super().__init__()
        self.openings: list[list[str]] = []
        self.steps = 0
        self.most_steps = 3
        self.stopped = False

    def warm(self, messages: Sequence[ChatMessage]) -> Generator[None, None, None]:
        """Count steps."""
        self.openings.append([message.content for message in messages])
        for _ in range(self.most_steps):
            self.steps += 1
            yield

    def stop(self, job: Generator[object, None, None] | None = None) -> None:
        """Steps are short."""
        self.stopped = True


class Home:
    """An agent with nothing to do."""

    def __init__(self, core: Core, brain: Brain, model: WarmedModel, *, keep_prefix: bool) -> None:
        self.core, self.brain, self.model = core, brain, model
        self.chores = Chores(core, brain, keep_prefix=keep_prefix)
        self.synthesizer = CountingSynthesizer()
        self.cache = PhraseCache(10_000_000)
        self.phrases = SpokenPhrases(self.cache, "counting")
        engines = Engines(cast("Any", None), self.synthesizer, None)
        self.voice = Voice(
            cast("Any", None),
            cast("Any", None),
            engines,
            self.phrases,
            make_stages=cast("Any", None),
            caches=AsyncExitStack(),
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait; bounded."""
        for _ in range(3000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it never came about")


@asynccontextmanager
async def open_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, keep_prefix: bool = True
) -> AsyncIterator[Home]:
    """Open it, with waits that take no time."""
    model = WarmedModel()
    monkeypatch.setattr("edge_agent.app.brain.build_model", lambda *_: cast("Any", model))
    monkeypatch.setattr("edge_agent.app.chores._SETTLE_S", 0.0)
    config = Config.model_validate({"cores": {"compute": 2}, "llm": {"system_prompt": "Be brief.", "tools": False}})
    places = Places(models=tmp_path, cache=tmp_path, state=tmp_path)
    async with open_core(config) as core, open_brain(config, places, core, volume=RememberedVolume(50)) as brain:
        await brain.loaded()
        yield Home(core, brain, model, keep_prefix=keep_prefix)


async def test_the_next_chats_opening_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """System prompt first; after an answer of the model its history too."""
    async with open_home(tmp_path, monkeypatch) as home:
        home.chores.warm_soon()
        await home.until(lambda: home.model.steps == 3)
        home.brain.history.add("hello", "Hi.")
        home.chores.turn_ended(TurnReport(1, source="llm"))
        await home.until(lambda: home.model.steps == 9)
    assert home.model.openings == [["Be brief."], ["Be brief."], ["Be brief.", "hello", "Hi."]]


async def test_every_turn_that_the_model_will_be_shown_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An intent's turn is in the history, too; a turn that left no trace asks for nothing."""
    async with open_home(tmp_path, monkeypatch) as home:
        home.chores.warm_soon()
        await home.until(lambda: home.core.scheduler.outcome("llm.warm.1"))
        home.chores.turn_ended(TurnReport(1, source="none"))
        home.chores.turn_ended(TurnReport(2, source="intent"))
        assert len(home.model.openings) == 1
        home.brain.history.add("what time is it", "It's ten.")
        home.chores.turn_ended(TurnReport(3, source="intent"))
        await home.until(lambda: home.core.scheduler.outcome("llm.warm.2"))
        home.chores.turn_ended(TurnReport(4, source="intent"))
        await asyncio.sleep(0.01)
        assert home.core.scheduler.outcome("llm.warm.3") is None
    assert home.model.openings == [["Be brief."], ["Be brief."], ["Be brief.", "what time is it", "It's ten."]]


async def test_nothing_is_warmed_where_no_prefix_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`llm.keep_prefix = false` costs no idle work."""
    async with open_home(tmp_path, monkeypatch, keep_prefix=False) as home:
        home.chores.warm_soon()
        home.chores.turn_ended(TurnReport(1, source="llm"))
        await asyncio.sleep(0.01)
        assert home.core.scheduler.outcome("llm.warm.1") is None
    assert home.model.openings == []


async def test_after_heat_the_opening_is_evaluated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, when it is over; being warm for a while is nothing."""
    async with open_home(tmp_path, monkeypatch) as home:
        for rung in (Rung.WARM, Rung.NORMAL, Rung.WARM, Rung.CRITICAL, Rung.HOT):
            home.chores.pressure_changed(PressureState(rung, (), Reading(), 0.0))
            await asyncio.sleep(0.001)
        assert home.model.openings == []
        home.chores.pressure_changed(PressureState(Rung.WARM, (), Reading(), 0.0))
        home.chores.pressure_changed(PressureState(Rung.NORMAL, (), Reading(), 0.0))
        await home.until(lambda: home.model.steps == 3)
        await asyncio.sleep(0.01)
    assert home.model.openings == [["Be brief."]]


async def test_openings_that_wait_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no time for it, however many turns end: it is evaluated once, as it is then."""
    async with open_home(tmp_path, monkeypatch) as home:
        home.core.idle.can_afford = False
        for number in range(5):
            home.brain.history.add(f"question {number}", "Yes.")
            home.chores.turn_ended(TurnReport(number, source="llm"))
        home.core.idle.can_afford = True
        home.core.scheduler.wake()
        await home.until(lambda: home.model.steps == 6)
        await asyncio.sleep(0.01)
    assert [len(messages) for messages in home.model.openings] == [1, 11]


async def test_speech_cuts_idle_work_off_and_quiet_takes_it_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While someone speaks not a step is run; afterwards it is begun anew."""
    async with open_home(tmp_path, monkeypatch) as home:
        home.model.most_steps = 10**9
        home.chores.warm_soon()
        await home.until(lambda: home.model.steps > 5)
        home.chores.state_changed(State.HEARING, muted=False)
        activity = home.core.metrics.activity("llm", "llm.warm")
        await home.until(lambda: activity.ended[Outcome.CANCELLED])
        await home.core.llm.run(int, kind="test")
        steps = home.model.steps
        home.chores.state_changed(State.THINKING, muted=False)
        await asyncio.sleep(0.01)
        assert home.model.steps == steps
        home.chores.state_changed(State.LISTENING, muted=False)
        await home.until(lambda: home.model.steps > steps)
        assert len(home.model.openings) == 2


async def test_sentences_that_are_always_the_same_are_rendered_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said later, they come from the cache: not a word is rendered again."""
    async with open_home(tmp_path, monkeypatch) as home:
        home.chores.render_fixed(home.voice)
        await home.until(lambda: home.core.scheduler.outcome("phrases.render.1"))
        rendered = list(home.synthesizer.rendered)
        assert "understand" in " ".join(rendered)
        renderer = Renderer(home.synthesizer, home.core.tts, home.phrases)
        spoken = [piece async for piece in renderer.render(sentences_of("Sorry, I didn't understand that."))]
        assert home.synthesizer.rendered == rendered
        assert [piece.sentence for piece in spoken if piece.chunk is None] == ["Sorry, I didn't understand that."]
        assert sum(piece.chunk is not None for piece in spoken) == 5
        assert [piece async for piece in renderer.render(sentences_of("Something new."))]
        assert home.synthesizer.rendered == [*rendered, "Something", "new."]
