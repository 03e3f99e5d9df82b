"""Microphone and speaker are taken away from a running agent and come back: real PortAudio on PulseAudio null sinks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles import Notebook
from live_agent import render
from pulse_rig import PulseRig
from sounds import tone

from edge_agent.app import listening, speaker_watch
from edge_agent.app.agent import Agent, World
from edge_agent.config.schema import Config
from edge_agent.devices import portaudio
from edge_agent.devices.cards import SoundCard
from edge_agent.events import DeviceState, DeviceStateChanged

pytestmark = [pytest.mark.live, pytest.mark.slow]

WITHIN_S = 20.0
QUESTION = "set a timer for twenty five minutes"


class Diary(Notebook):
    """Writes down what becomes of the devices, too."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[DeviceStateChanged] = []

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Write down."""
        self.changes.append(change)

    def passed(self, device: str) -> list[str]:
        """What became of one of them, in order."""
        return [change.state.value for change in self.changes if change.device == device]


@asynccontextmanager
async def living(rig: PulseRig, home: Path) -> AsyncIterator[tuple[Agent, Diary]]:
    """Run an agent on the rig's devices."""
    places = {name: str(home / name) for name in ("models", "cache", "state")}
    audio = {"input_device": rig.microphone, "output_device": rig.speaker}
    diary = Diary()
    config = Config.model_validate({"directories": places, "audio": audio})
    async with Agent.open(config, World(diary)) as agent:
        assert await agent.prove(WITHIN_S) == []
        yield agent, diary


async def until(condition: Callable[[], object]) -> None:
    """Wait; bounded."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is many things that are waited for
            await asyncio.sleep(0.01)


async def ask(rig: PulseRig, diary: Diary, question: Path) -> None:
    """Say it, and wait for the end of the answer."""
    turns = len(diary.turns)
    await asyncio.to_thread(rig.play, question)
    await until(lambda: len(diary.turns) > turns)
    assert diary.turns[-1].intent == "SetTimer"


def audio_of(agent: Agent) -> dict[str, Any]:
    """What the status says of sound."""
    audio: dict[str, Any] = agent.book.describe()["audio"]
    return audio


def frames_of(agent: Agent) -> int:
    """How many frames were heard."""
    assert agent.ears is not None
    return agent.ears.frames_heard


async def test_a_microphone_that_is_away_for_seconds_comes_back(sound_system: PulseRig, tmp_path: Path) -> None:
    """The status tells the whole story in order, and the next question is answered; nothing was started anew."""
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, diary):
        ears = agent.ears
        assert audio_of(agent)["microphone_state"] == "flowing"
        await asyncio.to_thread(sound_system.unload_microphone)
        await until(lambda: audio_of(agent)["microphone_state"] in {"absent", "stalled"})
        told = agent.book.describe()
        assert told["audio"]["microphone"] is None
        assert sound_system.microphone in told["trouble"]["microphone"]
        await asyncio.sleep(5)
        await asyncio.to_thread(sound_system.load_microphone)
        await until(lambda: audio_of(agent)["microphone_state"] == "flowing")
        heard = frames_of(agent)
        await until(lambda: frames_of(agent) > heard + 10)
        await ask(sound_system, diary, question)
        audio = audio_of(agent)
        assert (audio["microphone"], audio["microphone_reopened"]) == (sound_system.microphone, 1)
        assert agent.book.describe()["trouble"]["microphone"] == ""
        assert agent.ears is ears
    states = diary.passed("microphone")
    assert states[0] == states[-1] == "flowing"
    assert {*states[1:-1]} <= {"absent", "stalled"}
    assert len(diary.faults) <= 2


async def test_a_microphone_that_is_suspended_is_stalled_until_it_wakes_up(
    sound_system: PulseRig, tmp_path: Path
) -> None:
    """It can be opened all the while, and delivers nothing; that counts as no success."""
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, diary):
        await asyncio.to_thread(lambda: sound_system.suspend_microphone(suspended=True))
        await until(lambda: audio_of(agent)["microphone_state"] == "stalled")
        await asyncio.sleep(4)
        assert audio_of(agent)["microphone_state"] == "stalled"
        await asyncio.to_thread(lambda: sound_system.suspend_microphone(suspended=False))
        await until(lambda: audio_of(agent)["microphone_state"] == "flowing")
        await ask(sound_system, diary, question)
    assert diary.passed("microphone") == ["flowing", "stalled", "flowing"]
    assert len(diary.faults) <= 2


async def test_a_speaker_that_is_away_is_known_and_found_again(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost in an answer it is told; it is tried while nobody speaks, and works again before the next answer."""
    monkeypatch.setattr(speaker_watch, "_FIRST_S", 0.5)
    monkeypatch.setattr(speaker_watch, "_EVERY_S", 1.0)
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, diary):
        await ask(sound_system, diary, question)
        assert audio_of(agent)["speaker_state"] == "ready"
        await until(lambda: not agent.mouth.is_open)
        await asyncio.to_thread(sound_system.unload_speaker)
        await asyncio.to_thread(sound_system.play, question)
        await until(lambda: audio_of(agent)["speaker_state"] == "absent")
        assert agent.book.describe()["trouble"]["speaker"]
        await asyncio.to_thread(sound_system.load_speaker)
        await until(lambda: audio_of(agent)["speaker_state"] == "ready")
        await until(lambda: not agent.mouth.is_open)
        assert audio_of(agent)["speaker_reopened"] == 1
        await ask(sound_system, diary, question)
        assert audio_of(agent)["microphone_reopened"] == 0
    assert diary.passed("speaker") == ["ready", "absent", "ready"]
    assert diary.passed("microphone") == ["flowing"]


async def test_a_card_that_comes_is_looked_for_while_the_microphone_listens(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PortAudio lists nothing new while a stream is open: the microphone makes room, and hears again at once."""
    cards: list[SoundCard] = []
    monkeypatch.setattr(portaudio, "read_cards", lambda: tuple(cards))
    monkeypatch.setattr(speaker_watch, "_FIRST_S", 0.5)
    refreshed: list[bool] = []

    def refresh() -> bool:
        refreshed.append(portaudio.refresh_devices())
        return refreshed[-1]

    monkeypatch.setattr(listening, "refresh_devices", refresh)
    monkeypatch.setattr(listening, "SERVER_SILENT_S", 600.0)  # zeros are not what this is about
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    async with living(sound_system, tmp_path) as (agent, diary):
        await asyncio.to_thread(sound_system.unload_speaker)
        await agent.mouth.play(tone(0.1, 16_000, 440))
        await until(lambda: audio_of(agent)["speaker_state"] == "absent")
        await asyncio.sleep(5)
        assert refreshed == []
        cards.append(SoundCard(1, "Device", "USB PnP Sound Device"))
        await until(lambda: refreshed)
        assert refreshed == [True]
        heard = frames_of(agent)
        await until(lambda: frames_of(agent) > heard + 10)
        assert audio_of(agent)["microphone_reopened"] == 1
        await asyncio.to_thread(sound_system.load_speaker)
        await until(lambda: audio_of(agent)["speaker_state"] == "ready")
        await ask(sound_system, diary, question)
        assert refreshed == [True]
    assert diary.passed("microphone") == ["flowing"]
    assert diary.faults == []


async def test_a_null_sink_that_rests_is_no_trouble(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All zeros: the microphone is opened again in between, and a question right behind that is understood."""
    monkeypatch.setattr(listening, "SERVER_SILENT_S", 4.0)
    question = await asyncio.to_thread(render, tmp_path / "question.wav", QUESTION)
    with caplog.at_level(logging.INFO, "edge_agent.app.listening"):
        async with living(sound_system, tmp_path) as (agent, diary):
            for reopened in (1, 2):
                await until(lambda: audio_of(agent)["microphone_reopened"] == reopened)  # noqa: B023
                assert audio_of(agent)["silent_s"] >= 4
                await ask(sound_system, diary, question)
            await until(lambda: diary.changes[-1].state is DeviceState.SILENT)
            assert audio_of(agent)["microphone"] == sound_system.microphone
            assert audio_of(agent)["frames_lost"] == 0
    assert diary.faults == []
    assert {change.state for change in diary.changes if change.device == "microphone"} == {
        DeviceState.FLOWING,
        DeviceState.SILENT,
    }
    told = [record for record in caplog.records if record.name == "edge_agent.app.listening"]
    assert [record.getMessage() for record in told if record.levelno > logging.INFO] == []
