"""Speech into an answer, or just after it: whose turn it is, what is done, what is remembered, what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from virtual_scene import (
    SENTENCES,
    WORD_S,
    WORDS,
    NotingActor,
    Props,
    RememberingModel,
    Scene,
    ScriptedJudge,
    WordMatcher,
    costs,
    virtual_scene,
)
from virtual_stage import MindReader, Person
from virtual_time import in_virtual_time

from edge_agent.app.voice import interrupts
from edge_agent.audio import AudioChunk
from edge_agent.config.audio import EndpointConfig, InterruptionConfig
from edge_agent.errors import DeviceError, GenerationError
from edge_agent.events import Completeness, EndpointReason, Transcript
from edge_agent.pipeline.calling import Toolset
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.facts import Activated
from edge_agent.reason.actions import Control, Reply
from edge_agent.reason.ask import Ask
from edge_agent.reason.matcher import IntentMatch
from edge_agent.speak.sink import AudioSink

LATER_S = 3.0
"""Into an answer: too late to be the rest of the question."""


async def play(props: Props, script: Callable[[Scene, Person], Awaitable[None]]) -> Scene:
    """Play a script to its end and a bit beyond, whatever then still goes on ended; return the scene."""

    async def until_quiet(scene: Scene, person: Person) -> None:
        await script(scene, person)
        await asyncio.sleep(0.5)

    async with virtual_scene(until_quiet, props) as (scene, person):
        await scene.ears.listen(person, patient=False)
        scene.runner.interrupt("end")
    return scene


class BreakingModel(RememberingModel):
    """Breaks in its first answer, after so many steps in which it says nothing."""

    def __init__(self, after_steps: int) -> None:
        super().__init__()
        self._after_steps = after_steps

    def say(self, question: str) -> Generator[str, None, None]:
        """Break, or answer."""
        if len(self.chats) == 1:
            yield from [""] * self._after_steps
            raise GenerationError("scripted", "out of memory")
        yield from super().say(question)


class HesitantModel(RememberingModel):
    """Says two words, and finds out only three seconds later that this is all."""

    def say(self, question: str) -> Generator[str, None, None]:
        """Say them."""
        number = question.rsplit(maxsplit=1)[-1]
        yield f" n{number}s0w0 n{number}s0w1.\n"
        yield from [""] * 60


class CallingModel(RememberingModel):
    """Calls a tool, whatever it is asked."""

    def say(self, question: str) -> Generator[str, None, None]:
        """Yield the call."""
        yield '{"tool":"SetTimer"}'


class OneTool:
    """A toolbox with a timer in it."""

    prompt = "There is a timer."
    grammar = "root ::= call"

    def parse(self, text: str, *, reading: str | None = None) -> IntentMatch:
        """Everything is a timer."""
        return IntentMatch("SetTimer", {}, text, reading or "", 0)


class DoubtfulReader(MindReader):
    """Is not sure of "stop"."""

    def finish(self) -> Transcript:
        """Reject it."""
        transcript = super().finish()
        if transcript.text == "stop":
            return Transcript("", confidence=0.1, in_grammar=True, doubtful="stop")
        return transcript


class HalfHeard(MindReader):
    """Is sure of no word that stands alone."""

    def finish(self) -> Transcript:
        """Doubt it."""
        transcript = super().finish()
        return replace(transcript, confidence=0.4) if len(transcript.text.split()) == 1 else transcript


class LateReader(HalfHeard):
    """Has no words before it is asked to be thorough."""

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Hear, and tell of nothing."""
        super().accept(chunk)
        return None

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Hear them then."""
        return super().preview() if thorough else Transcript("", final=False)


def one_tool() -> Toolset:
    """The timer, done on the loop."""
    return Toolset(OneTool(), 1.0, "n9s0w0.")


@pytest.mark.parametrize(
    ("model", "cut_in_s", "for_s"),
    [
        pytest.param(BreakingModel(24), 0.75, 1.2, id="the model breaks"),
        pytest.param(HesitantModel(), LATER_S, 2.4, id="the answer ends"),
    ],
)
@in_virtual_time
async def test_an_answer_that_ends_while_it_is_held_does_not_silence_the_next(
    model: RememberingModel, cut_in_s: float, for_s: float
) -> None:
    """By itself or by an error: the hold ends with it, and who spoke meanwhile is answered aloud."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await asyncio.sleep(cut_in_s)
        await person.say("tell me of 2", for_s)
        await scene.speaking(2)
        await scene.runner.rested()

    scene = await play(Props(model=model), script)
    assert scene.reports[-1].reply_heard == scene.reports[-1].reply
    assert scene.speaker.pending_s == 0
    assert not scene.runner.has_rival


@in_virtual_time
async def test_the_next_question_is_asked_with_what_was_heard_of_the_answer_before() -> None:
    """The interrupted turn is in the history as soon as it is cut off: the model knows what it said, and no more."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(LATER_S)
        await person.say("tell me of 2", 0.8)
        await scene.speaking(2)

    scene = await play(Props(), script)
    system, question, answer, *rest = scene.model.shown[-1]
    assert (system, question, rest) == ("Count.", "tell me of 1", ["tell me of 2"])
    whole = [f"n1s{sentence}w{word}" for sentence in range(SENTENCES) for word in range(WORDS)]
    words = answer.replace(".", "").split()
    assert words == whole[: len(words)]
    assert LATER_S / WORD_S - 1 <= len(words) < len(whole)


@in_virtual_time
async def test_words_long_after_the_question_do_not_go_on_with_it() -> None:
    """They are a question of their own; the first one was answered for seconds."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(5.0)
        await person.say("tell me of 2", 0.8)
        await scene.speaking(2)

    scene = await play(Props(), script)
    assert [report.heard for report in scene.reports] == ["tell me of 1", "tell me of 2"]


@in_virtual_time
async def test_a_stop_that_is_only_guessed_at_is_obeyed_in_an_answer() -> None:
    """It interrupts, and then it is "stop" that is carried out: not noise, and nothing for the model."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(LATER_S)
        await person.say("stop", 0.5)
        await asyncio.sleep(3.0)

    actor = NotingActor(Reply("", control=Control.STOP))
    props = Props(
        reader=DoubtfulReader(),
        matcher=WordMatcher(Stop="stop"),
        actor=actor,
        interrupts=partial(interrupts, InterruptionConfig(), "en"),
    )
    scene = await play(props, script)
    assert actor.done == ["stop"]
    assert [(turn.heard, turn.intent, turn.cut_off_by) for turn in scene.reports] == [
        ("tell me of 1", None, "stop word"),
        ("stop", "Stop", None),
    ]


@pytest.mark.parametrize(("mode", "is_answered"), [("button", False), ("always", True)])
@pytest.mark.parametrize("words", ["tell me of 2", "mhm"])
@in_virtual_time
async def test_what_may_not_interrupt_is_answered_only_where_one_may_speak_anyway(
    mode: str, words: str, *, is_answered: bool
) -> None:
    """The answer ends by itself while somebody speaks into it, at a level where only "stop" interrupts."""

    async def script(scene: Scene, person: Person) -> None:
        scene.runner.post(Activated("button"))
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(2.0)
        await person.say(words, 2.4)
        await asyncio.sleep(3.0)

    only_stop = InterruptionConfig.model_validate({"by": "stop_word"})
    props = Props(
        by="stop_word",
        mode="button" if mode == "button" else "always",
        model=HesitantModel(),
        interrupts=partial(interrupts, only_stop, "en"),
    )
    if words == "mhm":  # nobody answers that; here it only must not be taken for anything else
        props.matcher, props.actor = WordMatcher(Nod="mhm"), NotingActor(Reply(""))
    scene = await play(props, script)
    assert [report.heard for report in scene.reports] == ["tell me of 1", *([words] if is_answered else [])]
    assert scene.reports[0].cut_off_by is None
    assert scene.sounded == ({1, 2} if is_answered and words != "mhm" else {1})
    assert props.actor.done == (["mhm"] if is_answered and words == "mhm" else [])


@in_virtual_time
async def test_a_verdict_on_one_pause_says_nothing_about_the_next() -> None:
    """It was a complete command when the pause began; when that is known, somebody has gone on and paused again."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("turn on the lamp", 0.8)
        await asyncio.sleep(0.25)
        await person.say("and the", 0.4)
        await asyncio.sleep(0.9)
        await person.say("tell me of 3", 0.5)
        await asyncio.sleep(3.0)

    judge = ScriptedJudge(Completeness.COMPLETE, Completeness.UNFINISHED)
    slow = {"asr.preview": 0.7}
    scene = await play(Props(judge=judge, step_s=lambda kind: slow.get(kind, costs(kind))), script)
    endpoint = scene.reports[0].endpoint
    assert endpoint is not None
    assert endpoint.reason is EndpointReason.SILENCE
    assert endpoint.silence_s > EndpointConfig().complete_s + 0.1


@in_virtual_time
async def test_a_verdict_that_comes_late_does_not_dismiss_who_speaks_again() -> None:
    """A sound alone would be no interruption; when it is known to be none, a sentence follows it already."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(LATER_S)
        await person.say("mhm", 0.3)
        await asyncio.sleep(0.3)
        saying = asyncio.create_task(person.say("mhm", 1.2))
        await asyncio.sleep(0.9)
        person.words.append("tell me of 2")
        await saying
        await scene.speaking(2)

    slow = {"asr.preview": 0.6}
    scene = await play(Props(step_s=lambda kind: slow.get(kind, costs(kind))), script)
    first, second = scene.reports
    assert (first.cut_off_by, second.heard) == ("speech", "tell me of 2")
    assert second.endpoint is not None
    assert second.endpoint.speech_end_s >= 0.3 + 0.3 + 1.2


@pytest.mark.parametrize("reader", [HalfHeard, LateReader])
@pytest.mark.parametrize(("word", "gap_s"), [("five", 0.35), ("five", 0.45), ("the", 0.45)])
@in_virtual_time
async def test_an_answer_does_not_go_on_between_the_first_two_words_of_who_speaks_into_it(
    word: str, gap_s: float, reader: type[HalfHeard]
) -> None:
    """The first word is too little to interrupt by itself, and no sound of a listener's either: the rest is awaited."""
    began_s: list[float] = []

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(LATER_S)
        began_s.append(asyncio.get_running_loop().time())
        await person.say(word, 0.35)
        await asyncio.sleep(gap_s)
        await person.say(f"{word} tell me of 2", 0.8)
        await scene.speaking(2)

    scene = await play(Props(reader=reader(), interrupts=partial(interrupts, InterruptionConfig(), "en")), script)
    assert [turn.heard for turn in scene.reports] == ["tell me of 1", f"{word} tell me of 2"]
    first = [sound for sound in scene.speaker.close_book() if sound.value == 1]
    assert first[-1].end_s <= began_s[0] + 0.25


@in_virtual_time
async def test_after_a_doubtful_word_the_answer_goes_on() -> None:
    """Free dictation makes a word of any noise: held for as long as somebody may go on, then played to its end."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(LATER_S)
        await person.say("the", 0.2)
        await scene.runner.rested()

    scene = await play(Props(reader=HalfHeard(), interrupts=partial(interrupts, InterruptionConfig(), "en")), script)
    (turn,) = scene.reports
    assert (turn.interrupted, turn.reply_heard) == (False, turn.reply)
    sounds = [sound for sound in scene.speaker.close_book() if sound.value == 1]
    longest_s = max(later.begin_s - sooner.end_s for sooner, later in pairwise(sounds))
    assert EndpointConfig().hang_over_s < longest_s < EndpointConfig().longest_s + 0.3


@in_virtual_time
async def test_a_tool_is_not_called_in_a_turn_that_was_just_cut_off() -> None:
    """The button is pressed in the very moment in which the speaker opens and the call would be carried out."""
    scenes: list[Scene] = []

    async def script(scene: Scene, person: Person) -> None:
        scenes.append(scene)
        await person.say("wake me", 0.8)
        await asyncio.sleep(3.0)

    props = Props(model=CallingModel(), tools=one_tool(), actor=NotingActor(Reply("n1s0w0.")))

    @asynccontextmanager
    async def open_speaker(_turn_id: int) -> AsyncIterator[tuple[AudioSink, Path | None]]:
        await asyncio.sleep(1.0)
        scenes[0].runner.interrupt("button")
        yield props.speaker, None

    props.open_speaker = open_speaker
    scene = await play(props, script)
    assert [turn.cut_off_by for turn in scene.reports] == ["button"]
    assert scene.model.chats != []
    assert props.actor.done == []


@in_virtual_time
async def test_what_a_tool_has_acted_on_is_not_gone_on_with() -> None:
    """Joined to what comes next it would be acted on twice."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("wake me", 0.8)
        await scene.speaking(1)
        await person.say("thank you", 0.6)
        await asyncio.sleep(2.0)

    props = Props(model=CallingModel(), tools=one_tool(), actor=NotingActor(Reply("n1s0w0 n1s0w1 n1s0w2.")))
    scene = await play(props, script)
    assert [turn.heard for turn in scene.reports] == ["wake me", "thank you"]
    assert props.actor.done == ["wake me", "thank you"]


@in_virtual_time
async def test_what_a_tool_asks_back_is_listened_for() -> None:
    """In a mode in which people must call the agent, and even where it does not wait for follow-ups."""

    async def script(scene: Scene, person: Person) -> None:
        scene.runner.post(Activated("wake word"))
        await person.say("wake me", 0.8)
        await scene.speaking(1)
        await scene.runner.rested()
        assert (scene.runner.state, scene.runner.invitation) == (State.LISTENING, "question")

    asks = Reply("n1s0w0.", asks=Ask("SetTimer", {}, "duration"))
    props = Props(mode="wake_word", model=CallingModel(), tools=one_tool(), actor=NotingActor(asks))
    await play(props, script)
    assert props.actor.done == ["wake me"]


@in_virtual_time
async def test_half_a_command_waits_while_its_other_half_is_said() -> None:
    """Understood when somebody has gone on already: nothing is done before the rest is known, then all of it, once."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("turn on the light", 0.8)
        await asyncio.sleep(0.8)
        await person.say("in the kitchen", 1.0)
        assert props.actor.done == []
        await asyncio.sleep(4.0)

    slow = {"asr.preview": 1.0, "intent.match": 0.1}
    props = Props(
        matcher=WordMatcher(One="turn on the light", Both="turn on the light in the kitchen"),
        actor=NotingActor(Reply("n1s0w0.")),
        step_s=lambda kind: slow.get(kind, costs(kind)),
    )
    scene = await play(props, script)
    assert props.actor.done == ["turn on the light in the kitchen"]
    assert scene.reports[-1].heard == "turn on the light in the kitchen"
    assert any("held" in mark.detail for mark in scene.reports[0].timeline.marks)


@in_virtual_time
async def test_a_turn_that_was_cut_off_is_done_then() -> None:
    """What was flushed was never played: the report's last sample is the one before the button."""
    cut_at_s: list[float] = []

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(1.0)
        scene.runner.interrupt("button")
        await asyncio.sleep(0.1)

    scene = await play(Props(), script)
    (turn,) = scene.reports
    cut_at_s += [mark.at_s for mark in turn.timeline.marks if mark.detail == "button"]
    assert turn.timings.first_audio_s is not None
    assert turn.timings.done_s is not None
    assert turn.timings.first_audio_s < turn.timings.done_s
    assert turn.timings.done_s == pytest.approx(cut_at_s[0], abs=0.05)


@in_virtual_time
async def test_an_answer_goes_on_where_the_microphone_is_lost_while_somebody_cuts_in() -> None:
    """Nobody will ever hear what they say: the answer is played to its end, and the agent listens again."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(1.0)
        await person.say("tell me of 2", 0.6)
        assert scene.runner.has_rival
        raise DeviceError("microphone", "unplugged")

    async with virtual_scene(script) as (scene, person):
        with pytest.raises(DeviceError):
            await scene.ears.listen(person, patient=False)
        scene.ears.abandon()
        assert not scene.runner.has_rival
        await scene.runner.rested()
    (turn,) = scene.reports
    assert (turn.interrupted, turn.reply_heard) == (False, turn.reply)
    assert scene.sounded == {1}
    assert scene.runner.state is State.LISTENING


@in_virtual_time
async def test_noise_in_the_time_for_a_follow_up_is_not_talked_back_at() -> None:
    """Who has called the agent is told that nothing was understood, once; a television is not."""

    async def script(scene: Scene, person: Person) -> None:
        scene.runner.post(Activated("wake word"))
        for _ in range(10):
            await person.say("", 0.8)
            await asyncio.sleep(1.5)
        await scene.runner.rested()

    scene = await play(Props(mode="wake_word", follow_up=True, unclear="n1s0w0."), script)
    assert [turn.reply for turn in scene.reports] == ["n1s0w0.", None]
    assert scene.runner.state is State.IDLE


@in_virtual_time
async def test_an_answer_that_failed_in_the_pause_is_tried_again() -> None:
    """What broke before anybody wanted it is not handed out as the answer."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)

    scene = await play(Props(model=BreakingModel(0)), script)
    assert len(scene.model.chats) >= 2
    (turn,) = scene.reports
    assert (turn.heard, turn.source) == ("tell me of 1", "llm")
    assert not any(mark.stage == "fault" for mark in turn.timeline.marks)
