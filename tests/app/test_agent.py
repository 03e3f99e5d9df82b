"""The running agent's configuration changes: only what is concerned restarts, and what fails costs nothing."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest
from agent_rig import House, Resident, changed, live_in

from edge_agent.pipeline.commands import State

Opens = Callable[..., AbstractAsyncContextManager[Resident]]
WITHIN_S = 5.0


@pytest.fixture
def house() -> House:
    """An empty one."""
    return House()


@pytest.fixture
def open_home(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opens:
    """Open an agent in the house, with these sections of its configuration."""
    return lambda **sections: live_in(house, tmp_path, monkeypatch, **sections)


async def test_it_answers_and_proves_itself_well(open_home: Opens, house: House) -> None:
    """Before any change every engine is tried."""
    async with open_home() as home:
        assert await home.agent.prove(WITHIN_S) == []
        assert (await home.ask("what time is it")).intent == "GetTime"
    assert house.loads["recognizer"] == house.closes["recognizer"] == 1
    assert house.loads["voice"] == house.closes["voice"] == 1


async def test_the_sounds_of_a_listener_are_those_that_are_configured(open_home: Opens) -> None:
    """No words at all are one in any case."""
    async with open_home(interruption={"ignored": ["zounds"]}) as home:
        assert home.agent.runner is not None
        is_backchannel = home.agent.runner.stages.is_backchannel
        assert [is_backchannel(words) for words in ("", "zounds", "mhm", "five")] == [True, True, False, False]
        await home.apply(interruption={"ignored": None})
        is_backchannel = home.agent.runner.stages.is_backchannel
        assert [is_backchannel(words) for words in ("", "zounds", "mhm", "five")] == [True, False, True, False]


async def test_another_voice_restarts_the_voice_alone(open_home: Opens, house: House) -> None:
    """The next answer is in it; the microphone stays open, and nothing else is loaded."""
    async with open_home() as home:
        await home.ask("what time is it")
        loads, runner, ears = house.loads.copy(), home.agent.runner, home.agent.ears
        await home.apply(tts={"flite": {"voice": "rms"}})
        assert await home.agent.prove(WITHIN_S) == []
        await home.ask("what time is it")
        assert house.spoken[-1].startswith("rms: It's")
        assert house.loads - loads == {"voice": 1}
        assert house.closes == {"voice": 1}
        assert (home.agent.runner, home.agent.ears) == (runner, ears)
        assert home.agent.book.engines["tts"] == "rms"


async def test_an_utterance_under_way_is_answered_in_the_new_voice(open_home: Opens, house: House) -> None:
    """The voice changes while somebody speaks: no frame is lost, and the answer is whole."""
    async with open_home() as home:
        house.speak("what time is it")
        await home.until(lambda: home.agent.runner is not None and home.agent.runner.state is State.HEARING)
        await home.apply(tts={"flite": {"voice": "rms"}})
        await home.until(lambda: home.notebook.turns)
        assert home.agent.ears is not None
        assert home.notebook.turns[0].intent == "GetTime"
        assert [line.partition(":")[0] for line in house.spoken if "It's" in line] == ["rms"]
        assert house.loads["microphone"] == 1
        assert house.heard_frames - home.agent.ears.frames_heard <= 1


async def test_a_voice_that_is_absent_is_refused_and_the_old_one_goes_on(open_home: Opens, house: House) -> None:
    """The key is named, nothing was restarted, and going back restarts nothing either."""
    async with open_home() as home:
        before, loads = home.agent.config, house.loads.copy()
        (problem,) = await home.refused(tts={"engine": "piper", "piper": {"voice": "/models/absent.onnx"}})
        assert problem.key == "tts.piper.voice"
        assert "absent.onnx" in problem.message
        assert home.agent.config == before
        await home.ask("what time is it")
        await home.agent.apply(before)
        assert house.loads == loads + Counter({"speaker": 1})
        assert not house.closes


async def test_a_recognizer_that_does_not_load_is_refused(open_home: Opens, house: House) -> None:
    """The old one hears on."""
    async with open_home() as home:
        house.corrupt_recognizer = True
        (problem,) = await home.refused(asr={"closed": False})
        assert problem.key == "asr.vosk.model"
        assert (await home.ask("what time is it")).intent == "GetTime"
        house.corrupt_recognizer = False
        await home.apply(asr={"closed": False})
        assert await home.agent.prove(WITHIN_S) == []
        assert (house.loads["recognizer"], house.closes["recognizer"]) == (2, 2)


async def test_intents_are_replaced_between_turns(open_home: Opens, house: House, tmp_path: Path) -> None:
    """A new sentence is understood, and the chat, timers and the voice are what they were."""
    async with open_home() as home:
        await home.ask("set a timer for ten minutes")
        brain = home.agent.brain
        assert brain is not None
        said, timers = len(brain.history), brain.bell.timers.timers
        own = tmp_path / "own.yaml"
        text = 'intents:\n  Party:\n    data:\n      - sentences: ["party time"]\n    action: {reply: "Hooray."}\n'
        await asyncio.to_thread(own.write_text, text)
        await home.apply(intents={"paths": [own]})
        assert await home.agent.prove(WITHIN_S) == []
        assert (await home.ask("party time")).reply == "Hooray."
        assert (len(timers), brain.bell.timers.timers) == (1, timers)
        assert len(brain.history) == said + 1
        assert (house.loads["recognizer"], house.loads["voice"], house.loads["microphone"]) == (2, 1, 1)


async def test_intents_that_do_not_load_are_refused(open_home: Opens, house: House, tmp_path: Path) -> None:
    """The file is named, and what was understood before is understood."""
    broken = tmp_path / "broken.yaml"
    await asyncio.to_thread(broken.write_text, "intents: [")
    async with open_home() as home:
        (problem,) = await home.refused(intents={"paths": [broken]})
        assert problem.key == "intents.paths"
        assert "broken.yaml" in problem.message
        assert (await home.ask("what time is it")).intent == "GetTime"
        assert house.loads["recognizer"] == 1


async def test_a_language_that_nobody_has_is_the_languages_fault(open_home: Opens) -> None:
    """No file was named by anybody."""
    async with open_home() as home:
        (problem,) = await home.refused(language="xx")
        assert problem.key == "language"
        assert (await home.ask("what time is it")).intent == "GetTime"


async def test_another_language(open_home: Opens, house: House) -> None:
    """Brain, recognizer and voice are replaced together."""
    async with open_home() as home:
        await home.apply(language="zh")
        assert await home.agent.prove(WITHIN_S) == []
        assert (await home.ask("现在几点")).intent == "GetTime"
        assert (house.loads["recognizer"], house.loads["voice"], house.loads["microphone"]) == (2, 2, 1)


async def test_only_one_model_is_in_memory(open_home: Opens, house: House) -> None:
    """The old one is freed before the new one is loaded, and what was said stays in the chat."""
    async with open_home(llm={"model": "/models/one.gguf"}) as home:
        assert home.agent.brain is not None
        assert (await home.agent.brain.responder.answer_text("tell me about rain")).source == "llm"
        await home.apply(llm={"model": Path("/models/two.gguf")})
        assert await home.agent.prove(WITHIN_S) == []
        assert home.agent.book.engines["llm"] == "two.gguf"
        assert (await home.agent.brain.responder.answer_text("tell me about rain")).source == "llm"
        await home.apply(llm={"model": None})
        assert (await home.agent.brain.responder.answer_text("tell me about rain")).source == "none"
    assert (house.most_models, house.loaded_models, house.loads["model"]) == (1, 0, 2)
    assert house.loads["recognizer"] == house.loads["voice"] == 1


async def test_a_model_that_does_not_load_is_rolled_back(open_home: Opens, house: House) -> None:
    """An absent one is found before anything is closed; with a broken one the old model has to be loaded again."""
    house.corrupt_models.add("broken.gguf")
    async with open_home(llm={"model": "/models/one.gguf"}) as home:
        before, brain = home.agent.config, home.agent.brain
        assert brain is not None
        (problem,) = await home.refused(llm={"model": Path("/models/absent.gguf")})
        assert (problem.key, house.loads["model"]) == ("llm.model", 1)
        (problem,) = await home.refused(llm={"model": Path("/models/broken.gguf")})
        assert problem.key == "llm.model"
        assert (await home.ask("what time is it")).intent == "GetTime"
        await home.agent.apply(before)
        assert await home.agent.prove(WITHIN_S) == []
        assert (await brain.responder.answer_text("tell me about rain")).source == "llm"
        assert (house.loads["model"], house.most_models) == (2, 1)


async def test_how_a_model_answers_needs_no_restart(open_home: Opens, house: House) -> None:
    """Temperature and threads are taken over by the model that is loaded."""
    async with open_home(llm={"model": "/models/one.gguf"}) as home:
        await home.apply(llm={"temperature": 0.0, "threads": 1})
        assert house.tuned == [0.0]
        body = home.agent._body
        assert body is not None
        assert body.core.llm_claim.most == 1
        await home.apply(llm={"threads": None})
        assert body.core.llm_claim.most == 2
    assert house.loads["model"] == 1


async def test_another_microphone_has_to_be_heard(open_home: Opens, house: House) -> None:
    """One that is not there is found by the health gate and named; going back it is heard again."""
    async with open_home(audio={"input_device": "mic"}) as home:
        await home.ask("what time is it")
        before, loads = home.agent.config, house.loads.copy()
        await home.apply(audio={"input_device": "gramophone"})
        (problem,) = await home.agent.prove(0.3)
        assert problem.key == "audio.input_device"
        assert "gramophone" in problem.message
        await home.agent.apply(before)
        assert await home.agent.prove(WITHIN_S) == []
        assert house.loads - loads == {"microphone": 1}
        assert (await home.ask("what time is it")).intent == "GetTime"


async def test_a_microphone_that_is_unplugged_fails_any_change(open_home: Opens, house: House) -> None:
    """Audio must flow, whatever was changed."""
    async with open_home(audio={"input_device": "mic"}) as home:
        await home.until(lambda: house.heard_frames)
        house.plugged.discard("mic")
        await home.apply(timers={"snooze_minutes": 3})
        assert [problem.key for problem in await home.agent.prove(0.3)] == ["audio.input_device"]


async def test_another_speaker_is_opened_before_it_is_believed(open_home: Opens, house: House) -> None:
    """The one before is closed; one that is absent is named. The volume is not lost."""
    async with open_home(audio={"volume": 30}) as home:
        await home.ask("what time is it")
        home.agent.mouth.set_percent(45)
        await home.apply(audio={"output_device": "gramophone"})
        problems = await home.agent.prove(WITHIN_S)
        assert [problem.key for problem in problems] == ["audio.output_device"]
        await home.apply(audio={"output_device": "speaker"})
        assert await home.agent.prove(WITHIN_S) == []
        assert (house.loads["speaker"], house.closes["speaker"], home.agent.mouth.percent) == (2, 1, 45)
        await home.apply(audio={"volume": 60})
        assert home.agent.mouth.percent == 60
        assert (house.loads["microphone"], house.loads["voice"]) == (1, 1)


async def test_another_mode_keeps_the_engines(open_home: Opens, house: House) -> None:
    """From always listening to the button and back; ears and runner are the same objects."""
    async with open_home(gpio={"driver": "simulated", "button": {"pin": 4}}) as home:
        runner, ears = home.agent.runner, home.agent.ears
        assert runner is not None
        assert ears is not None
        assert runner.state.value == "listening"
        await home.apply(activation={"mode": "button"}, endpoint={"hang_over_s": 0.4})
        assert await home.agent.prove(WITHIN_S) == []
        assert runner.state.value == "idle"
        ears.press()
        assert (await home.ask("what time is it")).intent == "GetTime"
        await home.apply(activation={"mode": "always"})
        await runner.rested()
        assert (await home.ask("what time is it")).intent == "GetTime"
        assert (home.agent.runner, home.agent.ears) == (runner, ears)
    assert {kind: house.loads[kind] for kind in ("recognizer", "voice", "microphone", "vad")} == {
        "recognizer": 1,
        "voice": 1,
        "microphone": 1,
        "vad": 3,
    }


async def test_outputs_stay_as_they_are_switched(open_home: Opens) -> None:
    """Another output is added, one pin moves; what was on stays on, and the new name is understood."""
    gpio = {"driver": "simulated", "outputs": {"lamp": {"pin": 5}, "fan": {"pin": 6}}}
    async with open_home(gpio=gpio) as home:
        assert (await home.ask("turn on the lamp")).reply == "The lamp is on."
        brain = home.agent.brain
        assert brain is not None
        outputs = {"lamp": {"pin": 5}, "fan": {"pin": 7}, "radio": {"pin": 8}}
        await home.apply(gpio={"outputs": outputs, "light": {"pin": 6}, "button": {"pin": 9}})
        assert await home.agent.prove(WITHIN_S) == []
        assert brain.outputs.state("lamp")
        assert (await home.ask("turn on the radio")).reply == "The radio is on."
        await home.apply(gpio={"outputs": {"radio": {"pin": 8}}, "light": {"pin": 9}, "button": None})
        assert brain.outputs.names() == ("radio",)
        assert brain.outputs.state("radio")


async def test_a_pin_that_can_not_be_had_is_named(open_home: Opens) -> None:
    """The outputs that there were are switched as before."""
    async with open_home(gpio={"driver": "simulated", "outputs": {"lamp": {"pin": 5}}}) as home:
        before, brain = home.agent.config, home.agent.brain
        assert brain is not None
        await home.ask("turn on the lamp")
        (problem,) = await home.refused(gpio={"outputs": {"lamp": {"pin": 5}, "fan": {"pin": 50}}})
        assert problem.key == "gpio.outputs"
        assert "50" in problem.message
        assert brain.outputs.names() == ("lamp",)
        await home.agent.apply(before)
        assert brain.outputs.state("lamp")


async def test_pins_that_can_not_be_had_at_all_come_back(
    open_home: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no real ones; with the simulated ones again the lamp is switched."""
    monkeypatch.setattr("edge_agent.devices.pins._DEVICES", tmp_path)
    async with open_home(gpio={"driver": "simulated", "outputs": {"lamp": {"pin": 5}}}) as home:
        before = home.agent.config
        (problem,) = await home.refused(gpio={"driver": "lgpio"})
        assert problem.key == "gpio.outputs"
        assert "gpiochip" in problem.message
        assert "no GPIO pins" in str((await home.ask("turn on the lamp")).reply)
        await home.agent.apply(before)
        assert (await home.ask("turn on the lamp")).reply == "The lamp is on."


async def test_all_that_had_been_set_before_a_failure_is_set_back(open_home: Opens, house: House) -> None:
    """The model fails last; by then volume, mode and intents are those of the change."""
    house.corrupt_models.add("broken.gguf")
    async with open_home(audio={"volume": 30}, gpio={"driver": "simulated", "button": {"pin": 4}}) as home:
        before, runner = home.agent.config, home.agent.runner
        assert runner is not None
        await home.refused(
            llm={"model": Path("/models/broken.gguf")},
            audio={"volume": 60},
            activation={"mode": "button"},
            log_level="debug",
            tts={"flite": {"voice": "rms"}},
        )
        assert (runner.conversation.mode, home.agent.mouth.percent) == ("button", 60)
        await home.agent.apply(before)
        assert await home.agent.prove(WITHIN_S) == []
        assert (runner.conversation.mode, home.agent.mouth.percent) == ("always", 30)
        assert home.levels == ["debug", "info"]
        await home.ask("what time is it")
        assert house.spoken[-1].startswith("slt: It's")
        assert house.loaded_models == 0


async def test_what_is_only_a_number_is_set(open_home: Opens, house: House) -> None:
    """Log, recorder, timers, store, phrases, pressure: no engine and no device hears of it."""
    async with open_home() as home:
        await home.ask("what time is it")
        loads = house.loads.copy()
        await home.apply(
            log_level="debug",
            recorder={"turns": 0},
            timers={"repeat_s": 2.0},
            store={"history_days": 0},
            phrases={"memory_mib": 1.0},
            pressure={"warm_c": 60.0},
        )
        assert await home.agent.prove(WITHIN_S) == []
        assert home.levels == ["debug"]
        assert home.agent.recorder.turns(10) == []
        await home.ask("what time is it")
        assert (house.loads, home.agent.book.describe()["counters"]["turns"]) == (loads, 2)


async def test_the_link_has_to_come_back(open_home: Opens) -> None:
    """A broker that is not reached within the time is a problem; none is configured: none is missed."""
    async with open_home() as home:
        answers = [None, False]
        home.agent.link_is_well = lambda: answers[-1]
        assert [problem.key for problem in await home.agent.prove(0.3)] == ["mqtt.host"]
        answers.append(True)
        assert await home.agent.prove(WITHIN_S) == []


async def test_another_core_takes_everything_down_and_up(open_home: Opens, house: House) -> None:
    """Chat, timers, counters, volume, muting and the numbers of turns go on."""
    async with open_home() as home:
        await home.ask("set a timer for ten minutes")
        home.agent.mouth.set_percent(45)
        brain, ears = home.agent.brain, home.agent.ears
        assert brain is not None
        assert ears is not None
        timers = brain.bell.timers.timers
        ears.hold()
        await home.apply(cores={"compute": 1})
        assert home.agent.brain is not brain
        assert await home.agent.prove(WITHIN_S) == []
        assert home.agent.runner is not None
        assert home.agent.brain is not None
        assert home.agent.ears is not None
        assert home.agent.runner.muted
        home.agent.ears.hold()
        assert (await home.ask("what time is it")).turn == 2
        assert (home.agent.brain.bell.timers.timers, len(home.agent.brain.history)) == (timers, 2)
        assert (home.agent.mouth.percent, home.agent.book.describe()["counters"]["turns"]) == (45, 2)
        assert {kind: house.loads[kind] for kind in ("recognizer", "voice")} == {"recognizer": 2, "voice": 2}
    # Told when both are loaded, and before the microphone is opened: the first and the second time.
    kinds = ("recognizer", "voice", "microphone")
    assert [[loads[kind] for kind in kinds] for loads in house.loaded_at] == [[1, 1, 0], [2, 2, 1]]
    assert {kind: house.closes[kind] for kind in ("recognizer", "voice")} == {"recognizer": 2, "voice": 2}


async def test_a_core_that_fails_is_followed_by_another_one(open_home: Opens, house: House) -> None:
    """In between nothing runs, which is said; going back works."""
    async with open_home() as home:
        await home.ask("set a timer for ten minutes")
        before = home.agent.config
        house.corrupt_recognizer = True
        (problem,) = await home.refused(cores={"compute": 1})
        assert problem.key == "asr.vosk.model"
        assert (home.agent.runner, home.agent.ears, home.agent.brain) == (None, None, None)
        assert home.agent.reporter.report().pools == ()
        assert len(await home.agent.prove(WITHIN_S)) == 1
        house.corrupt_recognizer = False
        await home.agent.apply(before)
        assert await home.agent.prove(WITHIN_S) == []
        assert home.agent.brain is not None
        assert len(home.agent.brain.bell.timers.timers) == 1


async def test_a_change_that_is_cancelled_is_followed_by_another_one(open_home: Opens, house: House) -> None:
    """At whatever moment: the agent still answers, or does after the next change, and frees what it does not use."""
    async with open_home() as home:
        before = home.agent.config
        for steps in range(0, 60, 3):
            changing = asyncio.create_task(
                home.agent.apply(changed(before, language="zh", tts={"flite": {"voice": f"voice {steps}"}}))
            )
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            changing.cancel()
            await asyncio.wait({changing})
            await home.agent.apply(before)
            assert (await home.ask("what time is it")).intent == "GetTime"
        assert await home.agent.prove(WITHIN_S) == []
    assert house.loads["voice"] <= house.closes["voice"]
    assert house.loads["recognizer"] <= house.closes["recognizer"]


async def test_leaving_in_the_middle_of_a_change(open_home: Opens, house: House) -> None:
    """The change is cancelled first, as a task of the service is; nothing is left."""
    async with open_home() as home, asyncio.TaskGroup() as tasks:
        changing = tasks.create_task(home.apply(language="zh", cores={"compute": 1}))
        await asyncio.sleep(0.02)
        changing.cancel()
    assert house.closes["voice"] >= house.loads["voice"]
    assert house.closes["microphone"] == house.loads["microphone"]


async def test_a_turn_that_does_not_end_is_cut_off(
    open_home: Opens, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can keep a change away by talking on and on."""
    monkeypatch.setattr("edge_agent.app.swapping.quiet.__defaults__", (0.1,))
    async with open_home(endpoint={"max_length_s": 60}) as home:
        for _ in range(40):
            house.speak("and so on")
        await home.until(lambda: home.agent.runner is not None and home.agent.runner.state is State.HEARING)
        await home.apply(vad={"aggressiveness": 3})
        assert house.loads["vad"] == 2


@pytest.mark.slow
async def test_a_thousand_changes_leave_nothing_behind(open_home: Opens, house: House) -> None:
    """Tasks, threads, files and objects are as many after a thousand changes as after a hundred, but for idle ones."""
    async with open_home() as home:

        async def change(times: int) -> tuple[int, int, int, int]:
            for number in range(times):
                await home.apply(
                    tts={"flite": {"voice": f"voice {number % 7}"}}, endpoint={"hang_over_s": 0.5 + number % 5 / 10}
                )
            await home.ask("what time is it")
            gc.collect()
            process = psutil.Process()
            return len(asyncio.all_tasks()), threading.active_count(), process.num_fds(), len(gc.get_objects())

        before = await change(100)
        after = await change(1000)
        assert all(now <= then + 5 for now, then in zip(after[:3], before[:3], strict=True)), (before, after)
        assert after[3] < 1.05 * before[3]  # one object a change would be 1 %, and no part is a single object
    assert house.loads["voice"] == house.closes["voice"]


async def test_changes_wait_for_each_other(open_home: Opens, house: House) -> None:
    """Two at once are made one after the other."""
    async with open_home() as home:
        await asyncio.gather(home.apply(tts={"flite": {"voice": "one"}}), home.apply(vad={"aggressiveness": 1}))
        assert home.agent.config.vad.aggressiveness == 1
        assert (house.loads["voice"], house.closes["voice"]) == (3, 2)


async def test_what_was_wrong_before_is_not_held_against_a_change(open_home: Opens, house: House) -> None:
    """Microphone and speaker are unplugged: another log level is kept all the same, another microphone is not."""
    async with open_home() as home:
        house.plugged = {"spare"}
        await home.until(lambda: any("microphone" in fault for fault in home.notebook.faults))
        await home.apply(log_level="debug")
        assert await home.agent.prove(WITHIN_S) == []
        await home.apply(audio={"input_device": "mic"})
        (problem,) = await home.agent.prove(0.5)
        assert problem.key == "audio.input_device"
        await home.apply(audio={"input_device": "spare"})
        assert await home.agent.prove(WITHIN_S) == []
