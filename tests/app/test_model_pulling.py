"""A model is pulled by order into the running agent, behind everything else, and taken into use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from agent_rig import House, Resident, live_in
from doubles import until
from hostile_server import HostileServer, hostile_server, status, whole
from model_files import an_entry, as_toml

from edge_agent.app import model_pulling
from edge_agent.app.change import ChangeError
from edge_agent.app.model_choice import named_by, use_of
from edge_agent.app.model_pulling import ModelPulling
from edge_agent.app.parts import RESTARTS, Part
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigProblem
from edge_agent.models.catalog import CatalogModel
from edge_agent.models.errors import DownloadError, UnknownModelError
from edge_agent.models.identity import Owner
from edge_agent.mqtt.controls import CommandError
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.pressure import PressureState, Rung

NAME = "tiny-instruct"
VOICE = "en_US-tiny-low"
Opens = Callable[..., AbstractAsyncContextManager[Resident]]


@pytest.fixture
def open_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opens:
    """Open an agent in a house, with these sections of its configuration."""
    return lambda house, **sections: live_in(house, tmp_path, monkeypatch, **sections)


@dataclass
class Rig:
    """What pulls, and what it does to the agent."""

    server: HostileServer
    pulling: ModelPulling
    home: Path
    pressure: list[PressureState | None] = field(default_factory=lambda: [None])
    renewed: list[frozenset[Part]] = field(default_factory=list)
    refuses: bool = False

    async def renew(self, parts: frozenset[Part]) -> None:
        """Note it, or refuse."""
        if self.refuses:
            raise ChangeError([ConfigProblem("", "the voice is hoarse", "")])
        self.renewed.append(parts)


def pressed(rung: Rung, *reasons: str) -> PressureState:
    """What the sensors say."""
    return cast("PressureState", SimpleNamespace(rung=rung, reasons=reasons))


@asynccontextmanager
async def a_rig(tmp_path: Path, content: bytes, **sections: Any) -> AsyncIterator[Rig]:  # noqa: ANN401 - of a configuration
    """A language model is offered."""
    config = Config.model_validate({"directories": {"models": str(tmp_path / "models")}, **sections})
    async with hostile_server() as server:
        rig: Rig
        server.serve(f"/{NAME}.gguf", whole(content))
        model = an_entry("llm", NAME, {f"{NAME}.gguf": content}, server.url(""), memory_mib=1, memory_from="measured")
        (tmp_path / "catalog.toml").write_text(as_toml(model))
        pulling = ModelPulling(
            lambda: config,
            lambda: rig.pressure[0],
            lambda parts: rig.renew(parts),  # noqa: PLW0108 - it is made below
            Metrics(),
            tmp_path / "catalog.toml",
        )
        rig = Rig(server, pulling, tmp_path)
        yield rig


async def test_a_model_is_pulled_and_in_use(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """Its parts are loaded anew; the second time nothing is."""
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        assert await rig.pulling.pull(NAME.upper()) == {
            "name": NAME,
            "kind": "llm",
            "is_new": True,
            "in_use": True,
            "message": "is here, and in use",
        }
        assert rig.renewed == [frozenset({Part.MODEL, Part.BRAIN})]
        assert (tmp_path / "models" / "llm" / f"{NAME}.gguf").read_bytes() == gguf_files[1]
        told = await rig.pulling.pull(NAME)
        assert (told["is_new"], told["in_use"], told["message"]) == (
            False,
            False,
            "was here already, and is as it should be",
        )
        assert len(rig.renewed) == 1


async def test_an_agent_of_root_s_leaves_another_user_s_directory_alone(
    tmp_path: Path, gguf_files: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner could have put links there; the command line knows how to become that user."""
    owner = Owner(4242, 4242, "somebody", "/")
    monkeypatch.setattr(model_pulling, "owner_of", lambda _: owner)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        with pytest.raises(CommandError, match=f"the models are somebody's .*: sudo edge-agent models pull {NAME}"):
            await rig.pulling.pull(NAME)
        assert not (tmp_path / "models").exists()


async def test_what_the_configuration_does_not_choose_is_only_there(
    tmp_path: Path, gguf_files: dict[int, bytes]
) -> None:
    """And it is said what would change that."""
    other = tmp_path / "models" / "llm" / "another.gguf"
    other.parent.mkdir(parents=True)
    other.write_bytes(gguf_files[2])
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        told = await rig.pulling.pull(NAME)
        assert (told["is_new"], told["in_use"], rig.renewed) == (True, False, [])
        assert (
            f'another.gguf is used; to use this one set llm.model = "{other.with_name(NAME)}.gguf"' in told["message"]
        )


async def test_what_does_not_start_is_told(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """The model stays; the agent goes on with what it had."""
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        rig.refuses = True
        told = await rig.pulling.pull(NAME)
        assert told["message"] == "is here, but can't be taken into use now: the voice is hoarse; restart"


async def test_too_little_memory_is_no_time_for_a_change(
    tmp_path: Path, gguf_files: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart frees everything first."""
    monkeypatch.setattr(model_pulling, "available_memory_mib", lambda: 0)
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        assert "there is too little memory to change to it: restart" in (await rig.pulling.pull(NAME))["message"]
        assert rig.renewed == []


async def test_only_the_catalogue_is_pulled(tmp_path: Path, gguf_files: dict[int, bytes]) -> None:
    """Not what is not in it, and what can't be had says why."""
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        with pytest.raises(UnknownModelError, match='did you mean "tiny-instruct"'):
            await rig.pulling.pull("tiny-instruct2")
        rig.server.serve(f"/{NAME}.gguf", status(404))
        with pytest.raises(DownloadError, match="answered 404"):
            await rig.pulling.pull(NAME)


async def test_a_hot_device_is_left_alone(
    tmp_path: Path, gguf_files: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is begun; one that is under way waits, and is given up after a while with what it has."""
    monkeypatch.setattr(model_pulling, "_LOOK_S", 0.001)
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        rig.pressure[0] = pressed(Rung.HOT, "82 °C")
        with pytest.raises(CommandError, match=r"no model is pulled now: the device is under pressure \(82 °C\)"):
            await rig.pulling.pull(NAME)
        assert not rig.server.asked
        rig.pressure[0] = pressed(Rung.WARM)
        rig.server.serve(f"/{NAME}.gguf", whole(gguf_files[1], stalls_at=5000), whole(gguf_files[1]))
        pulling = asyncio.create_task(rig.pulling.pull(NAME))
        await until(lambda: rig.server.asked)
        rig.pressure[0] = pressed(Rung.CRITICAL)
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        rig.pressure[0] = pressed(Rung.NORMAL)
        pulling = asyncio.create_task(rig.pulling.pull(NAME))
        await until(lambda: len(rig.server.asked) == 2)
        rig.pressure[0] = pressed(Rung.HOT)
        await asyncio.sleep(0.02)
        assert not pulling.done()
        rig.pressure[0] = None
        assert (await pulling)["in_use"]


async def test_heat_that_does_not_end_ends_the_pull(
    tmp_path: Path, gguf_files: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quarter of an hour."""
    monkeypatch.setattr(model_pulling, "_LOOK_S", 0.001)
    monkeypatch.setattr(model_pulling, "_LONGEST_WAIT_S", 0.005)
    async with a_rig(tmp_path, gguf_files[1]) as rig:
        states = iter([None])
        rig.pulling._pressure = lambda: next(states, pressed(Rung.HOT))
        with pytest.raises(CommandError, match="what came so far is kept: send it again later"):
            await rig.pulling.pull(NAME)


async def test_the_running_agent_speaks_with_what_was_pulled(
    open_home: Opens, tmp_path: Path, voice_files: dict[int, tuple[bytes, bytes]]
) -> None:
    """The voice is loaded beside the old one; nothing else restarts, and the next answer is whole."""
    house = House()
    async with open_home(house) as home, hostile_server() as server:
        files = dict(zip((f"{VOICE}.onnx", f"{VOICE}.onnx.json"), voice_files[1], strict=True))
        for name, content in files.items():
            server.serve(f"/{name}", whole(content))
        (tmp_path / "catalog.toml").write_text(as_toml(an_entry("piper", VOICE, files, server.url(""))))
        agent, loads = home.agent, house.loads.copy()
        pulling = ModelPulling(
            lambda: agent.config, lambda: None, agent.renew, agent.metrics, tmp_path / "catalog.toml"
        )
        assert (await pulling.pull(VOICE))["in_use"]
        assert house.loads - loads == {"voice": 1}
        assert await agent.prove(5.0) == []
        assert (await home.ask("what time is it")).intent == "GetTime"


async def test_what_is_renewed_may_fail_and_costs_nothing(open_home: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    """The voice before goes on, and so does a later change."""
    house = House()
    async with open_home(house) as home:

        def broken(*_: object) -> None:
            raise ChangeError([ConfigProblem("", "is broken", "")])

        with monkeypatch.context() as patched:
            patched.setattr("edge_agent.app.loading.build_synthesizer", broken)
            with pytest.raises(ChangeError):
                await home.agent.renew(frozenset({Part.VOICE}))
        assert (await home.ask("what time is it")).intent == "GetTime"
        await home.agent.renew(frozenset({Part.VOICE}))
        assert house.loads["voice"] == 2


def test_the_parts_are_those_of_the_keys() -> None:
    """What a change of `llm.model` restarts takes a pulled one into use, and so on."""
    for kind, key in (("vosk", "asr"), ("piper", "tts"), ("llm", "llm.model")):
        assert frozenset(RESTARTS[key]) == model_pulling._PARTS[kind]


def entry(kind: Any, name: str, language: str = "en") -> CatalogModel:  # noqa: ANN401 - a literal
    """An entry that is only named."""
    files = {"vosk": [".zip"], "piper": [".onnx", ".onnx.json"], "llm": [".gguf"]}[kind]
    return an_entry(kind, name, {f"{name}{ending}": b"x" for ending in files}, "https://x.org", languages=(language,))


def test_what_is_used_is_what_the_agent_would_find(tmp_path: Path) -> None:
    """Else it is said why not."""
    (tmp_path / "vosk" / "vosk-model-small-en-us").mkdir(parents=True)
    voice = tmp_path / "piper" / "en_US-b-low" / "en_US-b-low.onnx"
    voice.parent.mkdir(parents=True)
    voice.touch()
    config = Config()
    vosk = tmp_path / "vosk" / "vosk-model-small-en-us"
    assert use_of(config, tmp_path, entry("vosk", "vosk-model-small-en-us"), vosk).is_used
    assert use_of(config, tmp_path, entry("piper", "en_US-b-low"), voice).is_used
    german = use_of(config, tmp_path, entry("piper", "de_DE-a-low", "de"), tmp_path / "piper" / "de.onnx")
    assert german.remedy == 'it is for another language than the configured "en"'
    sphinx = Config.model_validate({"asr": {"engine": "pocketsphinx"}})
    assert "asr.engine" in use_of(sphinx, tmp_path, entry("vosk", "vosk-model-small-en-us"), vosk).remedy
    flite = Config.model_validate({"tts": {"engine": "flite"}})
    assert "tts.engine" in use_of(flite, tmp_path, entry("piper", "en_US-b-low"), voice).remedy
    first = tmp_path / "piper" / "en_US-a-low.onnx"
    first.touch()
    assert "tts.piper.voice" in use_of(config, tmp_path, entry("piper", "en_US-b-low"), voice).remedy


def test_a_configuration_names_models_and_what_is_in_them(tmp_path: Path) -> None:
    """A voice of a directory is named by its file."""
    voice = tmp_path / "piper" / "v" / "v.onnx"
    config = Config.model_validate({"tts": {"piper": {"voice": str(voice)}}})
    assert named_by(config, voice) == "tts.piper.voice"
    assert named_by(config, voice.parent) == "tts.piper.voice"
    assert named_by(config, tmp_path / "llm" / "m.gguf") is None
