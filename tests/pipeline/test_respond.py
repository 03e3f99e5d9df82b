"""The responder: what is understood, foreseen, done, asked back, and what the model may call."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

import pytest
from doubles import ScriptedModel, said
from virtual_stage import VirtualStation
from virtual_time import in_virtual_time

from edge_agent.app.brain import RememberedVolume
from edge_agent.events import Completeness, Transcript
from edge_agent.pipeline.answering import Chunked
from edge_agent.pipeline.calling import Toolset
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.respond import FixedTexts, Responder
from edge_agent.reason.actions import Actor, Reply
from edge_agent.reason.completeness import CompletenessJudge
from edge_agent.reason.history import History
from edge_agent.reason.matcher import IntentMatch, IntentMatcher
from edge_agent.reason.rehearsal import Rehearsal
from edge_agent.reason.templates import IntentSet, load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.reason.tools import ToolBox
from edge_agent.runtime.pressure import Rung, allowance


class StillClock:
    """It is always noon."""

    def __init__(self) -> None:
        self.monotonic_s = 0.0

    def now(self) -> datetime:
        """Noon."""
        return datetime(2026, 11, 24, 12, tzinfo=UTC)

    def localize(self, local: datetime) -> datetime:
        """In UTC."""
        return local.replace(tzinfo=UTC)

    def monotonic(self) -> float:
        """What the test says."""
        return self.monotonic_s


class Lamp:
    """One output."""

    def __init__(self) -> None:
        self.switched: list[tuple[str, str]] = []

    def names(self) -> Sequence[str]:
        """The lamp."""
        return ["lamp"]

    def switch(self, name: str, to: str) -> bool:
        """Write down."""
        self.switched.append((name, to))
        return to == "on"


class Steady:
    """A board that is well."""

    def uptime_s(self) -> float:
        """A minute."""
        return 60.0

    def temperature_c(self) -> float | None:
        """Unknown."""
        return None

    def memory_free_bytes(self) -> int | None:
        """Unknown."""
        return None


class Published(list[tuple[str, Mapping[str, str | int | float]]]):
    """Events."""

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Write down."""
        self.append((name, slots))


class CallingModel(ScriptedModel):
    """Answers every question with the same call."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self._call = call

    def say(self, question: str) -> Generator[str, None, None]:
        """Yield the call in pieces."""
        yield ""
        for at in range(0, len(self._call), 5):
            yield self._call[at : at + 5]


@cache
def templates() -> tuple[IntentSet, IntentMatcher, CompletenessJudge, ToolBox]:
    """Load the intents that come with the agent, and a lamp."""
    intents = load_intents("en", builtin=True, paths=(), outputs={"lamp": ()})
    matcher = IntentMatcher(intents.intents, "en")
    return intents, matcher, CompletenessJudge(intents.intents, "en", matcher.automaton), ToolBox(intents)


@dataclass
class Scene:
    """A responder and all that it can touch."""

    model: ScriptedModel | None = None
    tools: Toolset | None = None
    speculates: bool = True
    clock: StillClock = field(default_factory=StillClock)
    lamp: Lamp = field(default_factory=Lamp)
    published: Published = field(default_factory=Published)
    volume: RememberedVolume = field(default_factory=lambda: RememberedVolume(50))

    def __post_init__(self) -> None:
        """Build it."""
        intents, matcher, judge, _ = templates()
        self.timers = TimerBook(self.clock)
        ports = {"clock": self.clock, "outputs": self.lamp, "volume": self.volume, "status": Steady()}
        self.actor = Actor(intents, timers=self.timers, **ports)  # type: ignore[arg-type]
        self.responder = Responder(
            matcher,
            self.actor,
            History(4),
            FixedTexts("no model", "not understood", "too strained", "loading"),
            match_station=VirtualStation(lambda _: 0.001),  # type: ignore[arg-type]
            model=self.model,
            model_station=VirtualStation(lambda _: 0.001),  # type: ignore[arg-type]
            system_prompt="Be brief.",
            most_tokens=50,
            publisher=self.published,
            answers_the_unclear=True,
            judge=judge,
            rehearse=Rehearsal(intents, self.actor.bell, **ports),  # type: ignore[arg-type]
            tools=self.tools,
            speculates=self.speculates,
            monotonic=self.clock.monotonic,
        )

    async def ask(self, text: str, *, in_grammar: bool = True) -> str:
        """Say something and return what is answered."""
        understanding = await self.responder.understand(Transcript(text, 0.9, in_grammar=in_grammar))
        return await said(self.responder.answer(understanding))


@in_virtual_time
async def test_understanding_and_foreseeing_have_no_effect() -> None:
    """What an intent will say is known beforehand, and comes out so; only answering does it."""
    scene = Scene()
    for text, reply in [
        ("turn on the lamp", "The lamp is on."),
        ("set a timer for ten minutes", "Timer set for ten minutes."),
        ("set an alarm for seven", None),
        ("volume up", "Volume sixty percent."),
        ("what time is it", "It's noon."),
    ]:
        understanding = await scene.responder.understand(Transcript(text, 0.9, in_grammar=True))
        foreseen = scene.responder.foresee(understanding)
        assert foreseen is not None
        assert reply is None or foreseen.text == reply
        assert (scene.lamp.switched, scene.volume.percent) == ([], 50)
        assert not scene.timers.timers
        assert not scene.actor.bell.alarms.alarms
        answer = scene.responder.answer(understanding, foreseen)
        assert answer.text == foreseen.text
        scene.lamp.switched.clear()
        scene.volume.percent = 50
        for timer in scene.timers.timers:
            scene.timers.cancel(timer)
        for alarm in scene.actor.bell.alarms.alarms:
            scene.actor.bell.alarms.cancel(alarm)


@in_virtual_time
async def test_what_cannot_be_known_is_not_foreseen() -> None:
    """A toggle, a repetition, and anything while the device is warm or speculation is off."""
    scene = Scene(ScriptedModel())
    for text in ("toggle the lamp", "say that again"):
        foreseen = scene.responder.foresee(await scene.responder.understand(Transcript(text, 0.9, in_grammar=True)))
        assert foreseen is None or foreseen.text != "The lamp is on."
    question = await scene.responder.understand(Transcript("tell me of rain", 0.9))
    assert scene.responder.foresee(question) is not None
    scene.responder.allowance = allowance(Rung.WARM)
    assert scene.responder.foresee(question) is None
    assert Scene(ScriptedModel(), speculates=False).responder.foresee(question) is None


@in_virtual_time
async def test_the_models_answer_is_the_foreseen_one() -> None:
    """Begun in the pause, it is not begun again."""
    scene = Scene(ScriptedModel())
    question = await scene.responder.understand(Transcript("tell me of rain", 0.9))
    foreseen = scene.responder.foresee(question)
    assert foreseen is not None
    assert scene.responder.answer(question, foreseen) is foreseen


@in_virtual_time
async def test_a_missing_slot_is_asked_for_and_the_answer_completes_the_intent() -> None:
    """It asks "for how long?", and "five minutes" sets the timer; by itself "five minutes" means nothing."""
    scene = Scene()
    assert await scene.ask("five minutes") == "not understood"
    understanding = await scene.responder.understand(Transcript("set a timer", 0.9, in_grammar=True))
    answer = scene.responder.answer(understanding)
    assert answer.then == "question"
    assert (await said(answer)).startswith("For how long?")
    completing = await scene.responder.understand(Transcript("five minutes", 0.9, in_grammar=True))
    assert completing.completeness is Completeness.COMPLETE
    foreseen = scene.responder.foresee(completing)
    assert foreseen is not None
    assert foreseen.text == "Timer set for five minutes."
    done = scene.responder.answer(completing, foreseen)
    assert (done.intent, done.text) == ("SetTimer", "Timer set for five minutes.")
    assert [timer.duration_s for timer in scene.timers.timers] == [300]
    assert await scene.ask("five minutes") == "not understood"


@in_virtual_time
async def test_a_question_is_forgotten() -> None:
    """When another command came, when listening lapsed, or after half a minute; noise does not answer it."""
    scene = Scene()
    for forget in ("command", "lapse", "time"):
        assert (await scene.ask("set a timer")).startswith("For how long?")
        if forget == "command":
            await scene.ask("what time is it")
        elif forget == "lapse":
            scene.responder.expire()
        else:
            scene.clock.monotonic_s += 31
        assert await scene.ask("five minutes") == "not understood"
    await scene.ask("set a timer")
    await scene.ask("")
    assert await scene.ask("five minutes") == "Timer set for five minutes."


@in_virtual_time
async def test_what_was_cut_in_two_by_a_long_pause_is_put_together() -> None:
    """An intent of both parts counts; else the second part alone, if it is one; else the model is told all of it."""
    scene = Scene(ScriptedModel())
    whole = await scene.responder.understand(Transcript("for five minutes", 0.9, in_grammar=True), before="set a timer")
    assert whole.match is not None
    assert (whole.match.intent, whole.match.slots) == ("SetTimer", {"minutes": 5})
    second = await scene.responder.understand(Transcript("what time is it", 0.9, in_grammar=True), before="well then")
    assert second.match is not None
    assert second.match.intent == "GetTime"
    told = await scene.responder.understand(Transcript("of the moon", 0.9), before="tell me a story")
    assert (told.match, told.text) == (None, "tell me a story of the moon")


def toolset(perform: object = None, timeout_s: float = 5.0) -> Toolset:
    """The intents as tools."""
    return Toolset(templates()[3], timeout_s, "That didn't work.", perform)  # type: ignore[arg-type]


@in_virtual_time
async def test_a_call_is_carried_out_and_its_answer_spoken() -> None:
    """Not before the question has certainly ended, and nothing of the call itself is said."""
    scene = Scene(CallingModel('{"tool":"SetTimer","minutes":10}'), toolset())
    question = await scene.responder.understand(Transcript("wake me when the eggs are done", 0.9))
    answer = scene.responder.foresee(question)
    assert answer is not None
    assert answer.sentences is not None
    committed = asyncio.Event()
    spoken: list[str] = []
    order: list[str] = []

    async def kept() -> None:
        order.append(f"kept with {len(scene.timers.timers)} timer, {len(spoken)} said")

    async def speak() -> None:
        assert answer.sentences is not None
        spoken.extend([sentence async for sentence in answer.sentences(Chunked(lambda: None, committed, kept))])

    speaking = asyncio.create_task(speak())
    await asyncio.sleep(5)
    assert (spoken, scene.timers.timers) == ([], ())
    committed.set()
    await speaking
    assert spoken == ["Timer set for ten minutes."]
    assert order == ["kept with 1 timer, 0 said"]
    assert [timer.duration_s for timer in scene.timers.timers] == [600]
    assert answer.outcome is not None
    assert "called SetTimer" in answer.outcome.describe()
    report = TurnReport(1, heard="wake me when the eggs are done")
    scene.responder.remember(report, "Timer set for ten minutes.", call=answer.outcome.call)
    assert scene.responder.opening()[-1].content == '{"tool":"SetTimer","minutes":10}\nTimer set for ten minutes.'


@in_virtual_time
async def test_a_call_that_lacks_something_asks_back_as_an_intent_does() -> None:
    """The outcome says that an answer is to be listened for, and that answer completes the call."""
    scene = Scene(CallingModel('{"tool":"SetTimer"}'), toolset())
    question = await scene.responder.understand(Transcript("wake me when the eggs are done", 0.9))
    answer = scene.responder.answer(question)
    assert answer.outcome is not None
    assert answer.outcome.then is None
    assert (await said(answer)).startswith("For how long?")
    assert answer.outcome.then == "question"
    assert scene.timers.timers == ()
    assert await scene.ask("five minutes") == "Timer set for five minutes."


@in_virtual_time
async def test_no_tool_is_called_twice_for_one_answer() -> None:
    """Begun in the pause, wanted at the endpoint, begun again where it was thrown away: one call is carried out."""
    scene = Scene(CallingModel('{"tool":"SetTimer","minutes":10}'), toolset())
    question = await scene.responder.understand(Transcript("wake me when the eggs are done", 0.9))
    thrown_away, foreseen = scene.responder.foresee(question), scene.responder.foresee(question)
    assert thrown_away is not None
    assert thrown_away.sentences is not None
    assert foreseen is not None
    reading = aiter(thrown_away.sentences(Chunked(lambda: None, asyncio.Event(), nothing_to_keep)))
    waiting = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(5)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert scene.timers.timers == ()
    answer = scene.responder.answer(question, foreseen)
    assert answer is foreseen
    assert await said(answer) == "Timer set for ten minutes."
    assert len(scene.timers.timers) == 1
    assert isinstance(scene.model, CallingModel)
    assert len(scene.model.chats) == 2


@pytest.mark.parametrize(
    "call", ['{"tool":"LaunchRocket"}', '{"tool":"SetTimer","minutes":9999}', '{"tool":"SetTimer","min', "{}"]
)
@in_virtual_time
async def test_a_wrong_call_does_nothing_and_says_so(call: str) -> None:
    """Whatever the model makes up: one spoken line, and no exception."""
    scene = Scene(CallingModel(call), toolset())
    assert await scene.ask("do something", in_grammar=False) == "That didn't work."
    assert scene.timers.timers == ()


@in_virtual_time
async def test_a_tool_that_hangs_is_given_up() -> None:
    """After its time-out, in virtual time; the turn goes on with words."""

    async def hang(_match: IntentMatch) -> Reply:
        await asyncio.sleep(3600)
        return Reply("never")

    scene = Scene(CallingModel('{"tool":"GetTime"}'), toolset(hang, timeout_s=2.0))
    began_s = asyncio.get_running_loop().time()
    assert await scene.ask("do something", in_grammar=False) == "That didn't work."
    assert 2.0 <= asyncio.get_running_loop().time() - began_s < 3.0


@in_virtual_time
async def test_the_tools_are_told_in_the_system_prompt_and_only_there() -> None:
    """The opening stays the same from turn to turn, so that it stays evaluated."""
    scene = Scene(ScriptedModel(), toolset())
    opening = scene.responder.opening()
    assert [message.role for message in opening] == ["system"]
    assert "SetTimer" in opening[0].content
    assert scene.responder.opening() == opening
    scene.responder.do_without_tools()
    assert scene.responder.opening()[0].content == "Be brief."
