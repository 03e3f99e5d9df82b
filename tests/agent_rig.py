"""A whole agent whose engines and devices are doubles that count how often they are loaded, opened and closed."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from doubles import (
    QUIET,
    SPEECH,
    CountingSynthesizer,
    HeldSpeaker,
    MarkedVad,
    Notebook,
    ScriptedModel,
    ScriptedRecognizer,
)

import edge_agent.app.build as real
from edge_agent.app.agent import Agent, World
from edge_agent.app.change import ChangeError
from edge_agent.app.places import Places
from edge_agent.audio import HEAR_RATE_HZ, AudioChunk
from edge_agent.config.audio import VadConfig
from edge_agent.config.schema import Config
from edge_agent.devices.sound_tally import SoundTally
from edge_agent.errors import ConfigProblem, DeviceError, GenerationError, ModelError, UnknownDeviceError
from edge_agent.events import Transcript
from edge_agent.grammar import Grammar
from edge_agent.pipeline.report import TurnReport
from edge_agent.runtime.ledger import ComputeGrant
from edge_agent.runtime.pool import Pool

FRAME_S = 0.001
"""Twenty times as fast as life."""
UTTERANCE = 30
"""Frames."""
ENOUGH_QUIET = 100
"""Frames after which an utterance has ended."""


class House:
    """Where the agent lives: what was loaded in it, and what is said.

    Attributes:
        loads: How often each kind was loaded or opened.
        closes: The same for closing.
        says: What the next utterances are heard as.
        plugged: Microphones and speakers that there are.
        spoken: What was rendered, behind the voice's name.
        loaded_at: What had been loaded or opened each time that all engines were loaded.
    """

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.says: list[str] = []
        self.plugged = {"", "mic", "speaker"}
        self.spoken: list[str] = []
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.heard_frames = 0
        self.corrupt_models: set[str] = set()
        self.corrupt_recognizer = False
        self.loaded_models = 0
        self.most_models = 0
        self.tuned: list[float] = []
        self.loaded_at: list[Counter[str]] = []

    def note_loaded(self) -> None:
        """Remember what was loaded when the agent said that all is."""
        self.loaded_at.append(self.loads.copy())

    def speak(self, text: str) -> None:
        """Somebody says so into the microphone."""
        self.says.append(text)
        for pcm in (*[SPEECH] * UTTERANCE, *[QUIET] * ENOUGH_QUIET):
            self.frames.put_nowait(pcm)


class Recognizer(ScriptedRecognizer):
    """Hears what was said in the house."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._house = house
        self.is_closed = False

    def load(self, grammar: Grammar | None) -> None:
        """Count."""
        if self._house.corrupt_recognizer:
            raise ModelError("Vosk model", Path("/models/vosk"), "is damaged", "copy it again")
        self._house.loads["recognizer"] += 1

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Not before the end."""
        return Transcript("", final=False)

    def finish(self) -> Transcript:
        """Follow the house."""
        assert not self.is_closed
        return Transcript(self._house.says.pop(0) if self._house.says else "", confidence=0.9, in_grammar=True)

    def close(self) -> None:
        """Count."""
        self.is_closed = True
        self._house.closes["recognizer"] += 1


class Voice(CountingSynthesizer):
    """Renders, and says in whose voice."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__()
        self._house = house
        self.name = name
        self.is_closed = False

    def load(self) -> None:
        """Count."""
        self._house.loads["voice"] += 1

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Write down."""
        assert not self.is_closed
        self._house.spoken.append(f"{self.name}: {sentence}")
        yield from super().synthesize(sentence)

    def close(self) -> None:
        """Count."""
        self.is_closed = True
        self._house.closes["voice"] += 1


class Model(ScriptedModel):
    """Is in memory between `load` and `close`."""

    def __init__(self, house: House, path: str) -> None:
        super().__init__()
        self._house = house
        self.name = path
        self._is_loaded = False

    def load(self) -> None:
        """Count; only one may be in memory."""
        if self.name in self._house.corrupt_models:
            raise GenerationError(self.name, "is broken")
        self._house.loads["model"] += 1
        self._is_loaded = True
        self._house.loaded_models += 1
        self._house.most_models = max(self._house.most_models, self._house.loaded_models)

    def tune(self, config: Any) -> None:  # noqa: ANN401 - the section of any version
        """Write down."""
        self._house.tuned.append(config.temperature)

    def close(self) -> None:
        """Count."""
        if self._is_loaded:
            self._is_loaded = False
            self._house.loaded_models -= 1
            self._house.closes["model"] += 1


class Microphone:
    """Hears the house, twenty times as fast as life."""

    dropped_frames = 0
    overflows = 0
    thread = None
    is_calm = False
    next_sign_s = math.inf

    def __init__(self, house: House, device: str) -> None:
        self._house = house
        self.name = device
        self.tally = SoundTally()
        self.on_look: Callable[[], None] = lambda: None

    @property
    def channel(self) -> Any:  # noqa: ANN401 - nobody looks
        """None."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        if self.name not in self._house.plugged:
            raise UnknownDeviceError("microphone", self.name, sorted(self._house.plugged))
        self._house.loads["microphone"] += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count."""
        self._house.closes["microphone"] += 1

    def rest(self, *, resting: bool) -> None:
        """Nothing to save."""

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield what is said, else silence."""
        is_heard = False
        while True:
            await asyncio.sleep(FRAME_S)
            if self.name not in self._house.plugged:
                raise DeviceError(self.name, "was lost")
            pcm = QUIET if self._house.frames.empty() else self._house.frames.get_nowait()
            self._house.heard_frames += 1
            if not is_heard:
                is_heard = True
                self.on_look()
            yield AudioChunk(pcm, HEAR_RATE_HZ)


class Speaker(HeldSpeaker):
    """Plays at once."""

    underruns = 0
    is_open = False

    def __init__(self, house: House, device: str) -> None:
        super().__init__()
        self._house = house
        self.name = device
        self.volume = 0

    async def __aenter__(self) -> Self:
        if self.name not in self._house.plugged:
            raise UnknownDeviceError("speaker", self.name, sorted(self._house.plugged))
        self._house.loads["speaker"] += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count."""
        self._house.closes["speaker"] += 1

    def finish(self) -> None:
        """Everything is played."""

    def set_volume(self, percent: int, *, muted: bool) -> None:
        """Write down."""
        self.volume = percent


def furnish(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """Let the agent find the house's engines and devices."""

    def recognizer(_config: Config, _places: Places) -> Recognizer:
        return Recognizer(house)

    def synthesizer(config: Config, places: Places, grant: ComputeGrant) -> Any:  # noqa: ANN401 - a real one or not
        if config.tts.engine == "piper":
            return real.build_synthesizer(config, places, grant)
        return Voice(house, config.tts.flite.voice)

    def model(config: Config, places: Places, grant: ComputeGrant) -> Any:  # noqa: ANN401 - a real one or not
        if config.llm.model is None:
            return None
        if config.llm.model.name == "absent.gguf":
            return real.build_model(config, places, grant)
        return Model(house, config.llm.model.name)

    async def vad(_config: VadConfig, _pool: Pool) -> MarkedVad:
        house.loads["vad"] += 1
        return MarkedVad()

    for place in ("voice", "loading"):
        monkeypatch.setattr(f"edge_agent.app.{place}.build_recognizer", recognizer)
        monkeypatch.setattr(f"edge_agent.app.{place}.build_synthesizer", synthesizer)
        monkeypatch.setattr(f"edge_agent.app.{place}.make_vad", vad)
    for place in ("brain", "loading"):
        monkeypatch.setattr(f"edge_agent.app.{place}.build_model", model)
    monkeypatch.setattr("edge_agent.app.listening.Microphone", lambda device: Microphone(house, device))
    monkeypatch.setattr("edge_agent.app.listening.refresh_devices", lambda: True)
    monkeypatch.setattr("edge_agent.app.listening._FIRST_RETRY_S", 0.05)
    monkeypatch.setattr("edge_agent.app.speaker_watch.choose_device", lambda kind, wanted: None)
    monkeypatch.setattr("edge_agent.app.speaker_watch.devices_changed", lambda: False)
    monkeypatch.setattr("edge_agent.app.mouth.Speaker", lambda device, **_: Speaker(house, device))
    monkeypatch.setattr("edge_agent.app.status.StatusBook.channels", lambda _: ())


class Resident:
    """An agent that runs in its house.

    Attributes:
        levels: What the log's level was set to.
    """

    def __init__(self, agent: Agent, house: House, notebook: Notebook, levels: list[str]) -> None:
        self.agent, self.house, self.notebook, self.levels = agent, house, notebook, levels

    async def apply(self, **changes: Any) -> None:  # noqa: ANN401 - sections of a configuration
        """Change some keys of some sections."""
        await self.agent.apply(changed(self.agent.config, **changes))

    async def refused(self, **changes: Any) -> tuple[ConfigProblem, ...]:  # noqa: ANN401 - the same
        """Try to, in vain, and return why."""
        with pytest.raises(ChangeError) as refused:
            await self.apply(**changes)
        return refused.value.problems

    async def ask(self, text: str) -> TurnReport:
        """Say something and return what became of it."""
        before = len(self.notebook.turns)
        self.house.speak(text)
        await self.until(lambda: len(self.notebook.turns) > before)
        return self.notebook.turns[-1]

    async def until(self, condition: Any) -> None:  # noqa: ANN401 - whatever can be called
        """Wait; bounded."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - it is many things that are waited for
                await asyncio.sleep(0.002)


def changed(config: Config, **changes: Any) -> Config:  # noqa: ANN401 - sections of a configuration
    """Return `config` with keys of sections, or plain keys, changed."""
    tree = config.model_dump()
    for name, value in changes.items():
        if isinstance(value, dict):
            tree[name] = {**tree[name], **value}
        else:
            tree[name] = value
    return Config.model_validate(tree)


@asynccontextmanager
async def live_in(
    house: House,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    **sections: Any,  # noqa: ANN401 - sections of a configuration
) -> AsyncIterator[Resident]:
    """Run an agent in the house, with everything that it keeps below `home`."""
    furnish(monkeypatch, house)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    places = {name: str(home / name) for name in ("models", "cache", "state")}
    config = Config.model_validate(
        {"cores": {"compute": 2}, "directories": places, "gpio": {"driver": "simulated"}, **sections}
    )
    notebook, levels = Notebook(), list[str]()
    world = World(notebook, set_log_level=levels.append, on_loaded=house.note_loaded)
    async with Agent.open(config, world) as agent:
        home_alone = Resident(agent, house, notebook, levels)
        await home_alone.until(lambda: house.heard_frames)
        yield home_alone
