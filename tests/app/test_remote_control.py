"""Commands from outside act on the running agent as people do, and people go first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from doubles import CountingSynthesizer, HeldSpeaker, MarkedVad, ScriptedRecognizer, ScriptedResponder, lend, until

from edge_agent.app.brain import Brain, RememberedVolume, open_brain
from edge_agent.app.core import open_core
from edge_agent.app.local_clock import LocalClock
from edge_agent.app.places import Places
from edge_agent.app.remote_control import ControlledParts, RemoteControl
from edge_agent.config.audio import ActivationConfig, EndpointConfig, InterruptionConfig
from edge_agent.config.schema import Config
from edge_agent.errors import BusyError, DeviceError
from edge_agent.mqtt.controls import CommandError, Controls
from edge_agent.pipeline.answering import Answer, Chunked
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.facts import MuteChanged, SpeechBegan
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.stages import Stages
from edge_agent.pipeline.turn import Conversation, Mode
from edge_agent.reason.actions import Actor
from edge_agent.reason.spoken import speech
from edge_agent.reason.templates import load_intents
from edge_agent.reason.timers import TimerBook
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pools import Station

INTENTS = load_intents("en", builtin=True, paths=[], outputs={})
assert speech("en").number(1) == "one"  # the first number reads a file, which the service does while it loads


class LateResponder:
    """Answers typed text when it is let.

    Attributes:
        closed: Answers that were given up.
    """

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.expired = 0
        self.closed = 0

    async def answer_text(self, text: str) -> Answer:
        """Answer by the model."""

        async def sentences(_: Chunked) -> AsyncGenerator[str, None]:
            try:
                yield "First."
                await self.let_go.wait()
                yield "Second."
            finally:
                self.closed += 1

        return Answer("llm", sentences, text)

    def expire(self) -> None:
        """Count."""
        self.expired += 1


class LoudVolume(RememberedVolume):
    """A volume that may refuse."""

    def set_percent(self, percent: int) -> None:
        """Set, but not 13."""
        if percent == 13:
            raise DeviceError("speaker", "is superstitious")
        super().set_percent(percent)


@dataclass
class Rig:
    """A runner on doubles with its remote control."""

    runner: Runner
    speaker: HeldSpeaker
    responder: LateResponder
    actor: Actor
    volume: LoudVolume = field(default_factory=lambda: LoudVolume(50))
    hears: bool = True
    kept: int = 0
    restarts: int = 0
    changes: int = 0
    pulled: list[str] = field(default_factory=list)

    def control(self, **parts: object) -> RemoteControl:
        """A remote control, some of whose parts are others."""
        brain = cast("Brain", SimpleNamespace(actor=self.actor, responder=self.responder))
        ears = Ears(self.runner, MarkedVad(), EndpointConfig(), ActivationConfig(), InterruptionConfig())
        own = ControlledParts(
            runner=lambda: self.runner,
            ears=lambda: ears,
            brain=lambda: brain,
            volume=lambda: self.volume,
            hears=lambda: self.hears,
            kept=self._keep,
            restart=self._restart,
            pull_model=self._pull,
        )
        return RemoteControl(replace(own, **cast("Any", parts)), self._change)

    async def _keep(self) -> None:
        self.kept += 1

    async def _pull(self, name: str) -> dict[str, object]:
        self.pulled.append(name)
        return {"name": name}

    def _restart(self) -> None:
        self.restarts += 1

    def _change(self) -> None:
        self.changes += 1


@asynccontextmanager
async def a_rig(
    mode: Mode = "wake_word", *, held: bool = False, speaker_error: Exception | None = None
) -> AsyncIterator[tuple[Rig, RemoteControl]]:
    """Leaving ends what is said."""
    clock, nothing = LocalClock(), cast("Any", None)
    actor = Actor(INTENTS, clock=clock, outputs=nothing, volume=nothing, status=nothing, timers=TimerBook(clock))
    speaker, asr, tts = HeldSpeaker(held=held), Pool("asr"), Pool("tts")

    @asynccontextmanager
    async def broken(_turn_id: int) -> AsyncIterator[tuple[HeldSpeaker, None]]:
        assert speaker_error is not None
        raise speaker_error
        yield speaker, None

    stages = Stages(
        ScriptedRecognizer(),
        Station(asr),
        ScriptedResponder(["Yes."]),
        CountingSynthesizer(),
        Station(tts),
        lend(speaker) if speaker_error is None else broken,  # type: ignore[arg-type]
    )
    controls: list[RemoteControl] = []

    class Passing(RemoteControl):
        """Passes on to the control that the rig makes."""

        def __init__(self) -> None: ...

        def state_changed(self, state: State, *, muted: bool) -> None:
            for control in controls:
                control.state_changed(state, muted=muted)

        def turn_ended(self, report: TurnReport) -> None:
            for control in controls:
                control.turn_ended(report)

    try:
        async with Runner(stages, Conversation.begin(mode), Passing()) as runner:
            rig = Rig(runner, speaker, LateResponder(), actor)
            controls.append(rig.control())
            yield rig, controls[0]
            runner.interrupt("the test ends")
            speaker.release()
    finally:
        await asr.close()
        await tts.close()


async def refused(command: Awaitable[object]) -> CommandError:
    """The error that a command ends with."""
    with pytest.raises(CommandError) as caught:
        await command
    return caught.value


def test_it_has_all_controls() -> None:
    """As commands expect them."""
    controls: Controls = RemoteControl(cast("Any", None))
    assert controls


async def test_a_text_is_said_and_its_end_is_told() -> None:
    """When it was played; two at once come one after the other."""
    async with a_rig(held=True) as (rig, control):
        saying = [asyncio.create_task(control.say("Dinner is ready. Come down.")) for _ in range(2)]
        await until(lambda: rig.speaker.pending)
        assert not saying[0].done()
        rig.speaker.release()
        assert [await one for one in saying] == [{"interrupted": False}] * 2
        assert rig.runner.state is State.IDLE


async def test_a_text_that_is_cut_off_says_so() -> None:
    """Somebody pressed the button, or commanded `stop`."""
    async with a_rig(held=True) as (rig, control):
        saying = asyncio.create_task(control.say("Dinner is ready."))
        await until(lambda: rig.speaker.pending)
        assert await control.stop() == {"silenced": True, "rang": False}
        assert await saying == {"interrupted": True}
        assert await control.stop() == {"silenced": False, "rang": False}


async def test_a_text_that_cannot_be_played_has_failed() -> None:
    """The speaker is gone."""
    async with a_rig(speaker_error=DeviceError("speaker", "is gone")) as (_, control):
        assert (await refused(control.say("Dinner is ready."))).code == "failed"


async def test_too_many_texts_are_refused_and_what_rings_still_finds_room() -> None:
    """Eight may wait."""
    async with a_rig(held=True) as (rig, control):
        saying = [asyncio.create_task(control.say(f"Text {number}.")) for number in range(9)]
        await until(lambda: len(rig.runner.conversation.waiting) == 8)
        assert (await refused(control.say("One more."))).code == "busy"
        rig.runner.announce("The egg timer is done.", alert=True)
        assert len(rig.runner.conversation.waiting) == 9
        for one in saying:
            one.cancel()
        await asyncio.wait(saying)


async def test_the_button_is_pressed() -> None:
    """And let go, so that the end of speech ends the utterance."""
    async with a_rig() as (rig, control):
        assert await control.listen() == {}
        assert rig.runner.state is State.LISTENING
        await control.stop()


async def test_without_an_open_microphone_there_is_no_listening() -> None:
    """Muted, absent, or in an answer that may not be cut off."""
    async with a_rig() as (rig, control):
        rig.hears = False
        assert "no microphone" in (await refused(control.listen())).message
        rig.hears = True
        rig.runner.post(MuteChanged(muted=True))
        assert "`unmute`" in (await refused(control.listen())).message


async def test_the_microphone_is_muted_and_unmuted() -> None:
    """Twice the same changes nothing, and does not end a listening."""
    async with a_rig() as (rig, control):
        assert await control.mute(muted=True) == {"muted": True}
        assert await control.mute(muted=True) == {"muted": True}
        assert rig.runner.muted
        assert await control.mute(muted=False) == {"muted": False}
        await control.listen()
        assert await control.mute(muted=False) == {"muted": False}
        assert rig.runner.state is State.LISTENING
        assert rig.changes == 4


async def test_the_volume_is_set_and_heard() -> None:
    """A speaker that was silenced is heard again; one that refuses says why."""
    async with a_rig() as (rig, control):
        rig.volume.set_muted(True)
        assert await control.set_volume(70) == {"percent": 70}
        assert (rig.volume.percent, rig.volume.muted) == (70, False)
        with pytest.raises(DeviceError, match="superstitious"):
            await control.set_volume(13)


async def test_timers_are_set_listed_and_cancelled() -> None:
    """By name, by length, or all; each change is on disk before it is told."""
    async with a_rig() as (rig, control):
        (tea,) = (await control.set_timer(240.0, "tea"))["timers"]
        assert tea == {"id": 1, "name": "tea", "seconds": 240.0, "left_s": pytest.approx(240, abs=1), "paused": False}
        await control.set_timer(600, "")
        await control.set_timer(600, "Eggs")
        assert [timer["id"] for timer in (await control.list_timers())["timers"]] == [1, 2, 3]
        assert (await refused(control.cancel_timers(name="rice", seconds=None, everything=False))).code == "failed"
        gone = await control.cancel_timers(name="eggs", seconds=None, everything=False)
        assert [timer["id"] for timer in gone["timers"]] == [3]
        gone = await control.cancel_timers(name="", seconds=600, everything=False)
        assert [timer["id"] for timer in gone["timers"]] == [2]
        gone = await control.cancel_timers(name="", seconds=None, everything=True)
        assert [timer["id"] for timer in gone["timers"]] == [1]
        assert await control.cancel_timers(name="", seconds=None, everything=True) == {"timers": []}
        assert rig.kept == 7


async def test_too_many_timers_are_refused() -> None:
    """As by voice."""
    async with a_rig() as (rig, control):
        rig.actor.bell.timers.limit = 1
        await control.set_timer(60, "")
        with pytest.raises(BusyError):
            await control.set_timer(60, "")


@pytest.mark.parametrize("command", ["stop", "cancel"])
async def test_what_rings_is_stopped(command: str) -> None:
    """By `stop`, and by cancelling it."""
    async with a_rig() as (rig, control):
        rig.actor.bell.timers.set(0.001, "egg")
        await asyncio.sleep(0.01)
        assert rig.actor.bell.look()
        if command == "stop":
            assert (await control.stop())["rang"]
        else:
            gone = await control.cancel_timers(name="EGG", seconds=None, everything=False)
            assert [timer["name"] for timer in gone["timers"]] == ["egg"]
        assert not rig.actor.bell.ringing


async def test_a_question_is_answered_in_text() -> None:
    """Nothing is said aloud, and the conversation knows nothing of it."""
    async with a_rig() as (rig, control):
        rig.responder.let_go.set()
        answer = await control.ask("why")
        assert answer == {"reply": "First. Second.", "intent": None, "slots": {}, "source": "llm"}
        assert (rig.responder.expired, rig.responder.closed) == (1, 1)
        assert rig.runner.state is State.IDLE
        assert not rig.speaker.played


async def test_whoever_speaks_goes_first() -> None:
    """A question is given up at once, and refused while somebody is served."""
    async with a_rig() as (rig, control):
        asking = asyncio.create_task(control.ask("why"))
        await asyncio.sleep(0.01)
        await control.listen()
        assert not asking.done()
        rig.runner.post(SpeechBegan())
        assert "spoke" in (await refused(asking)).message
        assert rig.responder.closed == 1
        assert (await refused(control.ask("why"))).code == "busy"


async def test_a_part_that_is_being_changed_is_unavailable() -> None:
    """Everything else works."""
    async with a_rig() as (rig, _):
        control = rig.control(runner=lambda: None, brain=lambda: None, ears=lambda: None)
        for command in (
            control.say("x"),
            control.ask("x"),
            control.listen(),
            control.stop(),
            control.mute(muted=True),
            control.list_timers(),
        ):
            assert (await refused(command)).code == "unavailable"
        assert await control.set_volume(5) == {"percent": 5}


async def test_a_restart_needs_somebody_who_starts_again() -> None:
    """Without a service manager the device would stay silent."""
    async with a_rig() as (rig, control):
        assert control.check_restart() == {}
        control.restart()
        assert rig.restarts == 1
        with pytest.raises(CommandError, match="nobody would start it again"):
            rig.control(restart=None).check_restart()


async def test_a_model_is_pulled_by_whoever_can() -> None:
    """And the status is told anew; not while the agent starts."""
    async with a_rig() as (rig, control):
        assert await control.pull_model("a-model") == {"name": "a-model"}
        assert (rig.pulled, rig.changes) == (["a-model"], 1)
        assert (await refused(rig.control(brain=lambda: None).pull_model("a-model"))).code == "unavailable"


async def test_a_real_brain_answers_by_its_intents(tmp_path: Path) -> None:
    """Time, and a timer that is then set; what it asks back is not waited for in the room."""
    config = Config()
    places = Places(models=tmp_path, cache=tmp_path, state=tmp_path)
    async with (
        a_rig() as (rig, _),
        open_core(config) as core,
        open_brain(config, places, core, volume=RememberedVolume(50)) as brain,
    ):
        control = rig.control(brain=lambda: brain)
        answer = await control.ask("set a tea timer for four minutes")
        assert (answer["intent"], answer["source"]) == ("SetTimer", "intent")
        assert answer["slots"] == {"timer_name": "tea", "minutes": 4}
        assert [timer["seconds"] for timer in (await control.list_timers())["timers"]] == [240.0]
        assert rig.kept == 1
        answer = await control.ask("set a timer")
        assert answer["reply"].endswith("?")
        answer = await control.ask("four minutes")
        assert answer["intent"] != "SetTimer"
