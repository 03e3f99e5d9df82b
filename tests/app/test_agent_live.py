"""The running agent is changed while it hears and speaks: real engines, and PulseAudio null sinks for devices."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_rig import changed
from doubles import Notebook
from pulse_rig import PulseRig

from edge_agent.app.agent import Agent, World
from edge_agent.app.change import ChangeError
from edge_agent.audio import AudioChunk
from edge_agent.config.schema import Config
from edge_agent.engines.flite import FliteSynthesizer
from edge_agent.pipeline.commands import State

pytestmark = [pytest.mark.live, pytest.mark.slow]
WITHIN_S = 20.0
QUESTION = "set a timer for twenty five minutes"


@asynccontextmanager
async def living(rig: PulseRig, home: Path, **sections: Any) -> AsyncIterator[tuple[Agent, Notebook]]:  # noqa: ANN401
    """Run an agent on the rig's devices."""
    places = {name: str(home / name) for name in ("models", "cache", "state")}
    audio = {"input_device": rig.microphone, "output_device": rig.speaker}
    config = Config.model_validate({"directories": places, "audio": audio, **sections})
    notebook = Notebook()
    async with Agent.open(config, World(notebook)) as agent:
        assert await agent.prove(WITHIN_S) == []
        yield agent, notebook


async def until(condition: Callable[[], object]) -> None:
    """Wait; bounded."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is many things that are waited for
            await asyncio.sleep(0.01)


def render(path: Path, text: str) -> Path:
    """Have Flite say something into a file."""
    if (flite := shutil.which("flite")) is None:
        pytest.skip("flite is not installed")
    subprocess.run([flite, "-voice", "slt", "-t", text, "-o", path], check=True, timeout=30)
    return path


async def ask(rig: PulseRig, notebook: Notebook, question: Path) -> None:
    """Say it, and wait for the end of the answer."""
    turns = len(notebook.turns)
    await asyncio.to_thread(rig.play, question)
    await until(lambda: len(notebook.turns) > turns)


async def test_the_voice_changes_while_somebody_speaks(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The utterance is heard to its end and answered in the new voice; the microphone stays open, nothing is lost."""
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    voices: list[tuple[str, str]] = []
    synthesize = FliteSynthesizer.synthesize

    def noting(self: FliteSynthesizer, sentence: str) -> Generator[AudioChunk, None, None]:
        voices.append((self.name, sentence))
        return synthesize(self, sentence)

    monkeypatch.setattr(FliteSynthesizer, "synthesize", noting)
    async with living(sound_system, tmp_path) as (agent, notebook), asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(sound_system, notebook, question))
        await until(lambda: agent.runner is not None and agent.runner.state is State.HEARING)
        await agent.apply(changed(agent.config, tts={"flite": {"voice": "rms"}}))
        await until(lambda: notebook.turns)
        (turn,) = notebook.turns
        assert (turn.intent, turn.interrupted) == ("SetTimer", False)
        assert [voice for voice, sentence in voices if sentence == turn.reply] == ["flite rms"]
        assert await agent.prove(WITHIN_S) == []
        audio = agent.book.describe()["audio"]
        assert (audio["frames_lost"], audio["microphone_reopened"]) == (0, 0)
    assert notebook.faults == []


async def test_a_voice_that_is_absent_costs_nothing(sound_system: PulseRig, tmp_path: Path) -> None:
    """It is refused by name, and the question is answered with the voice that there was."""
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, notebook):
        with pytest.raises(ChangeError) as refused:
            await agent.apply(changed(agent.config, tts={"engine": "piper", "piper": {"voice": tmp_path / "no.onnx"}}))
        assert [problem.key for problem in refused.value.problems] == ["tts.piper.voice"]
        await ask(sound_system, notebook, question)
        assert notebook.turns[0].intent == "SetTimer"
        assert agent.book.engines["tts"] == "flite slt"


async def test_devices_that_are_not_there_are_found_by_the_health_gate(sound_system: PulseRig, tmp_path: Path) -> None:
    """A name that matches nothing, for either direction; a plug that was pulled before is no fault of other changes."""
    async with living(sound_system, tmp_path) as (agent, _):
        before = agent.config
        await agent.apply(changed(before, audio={"input_device": "gramophone", "output_device": "trumpet"}))
        found = {problem.key: problem.message for problem in await agent.prove(3.0)}
        assert "trumpet" in found["audio.output_device"]
        await agent.apply(changed(before, audio={"input_device": "gramophone"}))
        assert [problem.key for problem in await agent.prove(3.0)] == ["audio.input_device"]
        await agent.apply(before)
        assert await agent.prove(WITHIN_S) == []
        await asyncio.to_thread(sound_system.unload_microphone)
        await until(lambda: agent.book.describe()["audio"]["microphone"] is None)
        await agent.apply(changed(before, timers={"snooze_minutes": 3}))
        assert await agent.prove(1.0) == []
        await agent.apply(changed(before, audio={"input_device": sound_system.microphone.upper()}))
        assert [problem.key for problem in await agent.prove(1.0)] == ["audio.input_device"]
        await asyncio.to_thread(sound_system.load_microphone)
        assert await agent.prove(WITHIN_S) == []


async def test_intents_mode_and_log_change_while_it_listens(
    sound_system: PulseRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New sentences are heard at once, by a recognizer that knows them; with the button nobody is heard unasked."""
    own = tmp_path / "own.yaml"
    text = 'intents:\n  Party:\n    data:\n      - sentences: ["party time"]\n    action: {reply: "Hooray."}\n'
    await asyncio.to_thread(own.write_text, text)
    question = await asyncio.to_thread(render, tmp_path / "question.wav", "party time")
    gpio = {"driver": "simulated", "button": {"pin": 4}}
    async with living(sound_system, tmp_path, gpio=gpio) as (agent, notebook):
        runner = agent.runner
        await agent.apply(changed(agent.config, intents={"paths": [own], "builtin": False}))
        assert await agent.prove(WITHIN_S) == []
        await ask(sound_system, notebook, question)
        assert notebook.turns[0].reply == "Hooray."
        await agent.apply(changed(agent.config, activation={"mode": "button"}))
        await asyncio.to_thread(sound_system.play, question)
        assert len(notebook.turns) == 1
        assert agent.ears is not None
        agent.ears.press()
        await ask(sound_system, notebook, question)
        assert agent.runner is runner
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_another_core_hears_and_speaks_again(sound_system: PulseRig, tmp_path: Path) -> None:
    """Everything is taken down and up in the same process, within seconds."""
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, notebook):
        await agent.apply(changed(agent.config, cores={"compute": 1}))
        assert await agent.prove(WITHIN_S) == []
        await ask(sound_system, notebook, question)
        assert notebook.turns[0].intent == "SetTimer"
