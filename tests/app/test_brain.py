"""The brain answers while its language model is still on the way, and without one that can't be loaded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from doubles import Notebook, ScriptedModel, said

from edge_agent.app.brain import Brain, RememberedVolume, open_brain
from edge_agent.app.chores import Chores
from edge_agent.app.core import open_core
from edge_agent.app.model_keeping import load_model
from edge_agent.app.places import Places
from edge_agent.config.schema import Config
from edge_agent.errors import GenerationError


class SlowModel(ScriptedModel):
    """Loads when it is let, or fails to."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self._error = error

    def load(self) -> None:
        """Wait; bounded."""
        assert self.go_on.wait(10)
        if self._error is not None:
            raise self._error


class SwitchingModel(SlowModel):
    """Answers everything with a call that switches the lamp on."""

    def say(self, question: str) -> Generator[str, None, None]:
        """Yield the call."""
        yield '{"tool":"SwitchOutput","switch":"on","output":"lamp"}'


class StuckOutputs:
    """A lamp whose switch hangs until it is let go; bounded.

    Attributes:
        switching: Set once somebody tries.
        let_go: To be set by the test.
        switched: What came of it, in the end.
    """

    def __init__(self) -> None:
        self.switching, self.let_go = threading.Event(), threading.Event()
        self.switched: list[tuple[str, str]] = []

    def names(self) -> tuple[str, ...]:
        """The lamp."""
        return ("lamp",)

    def switch(self, name: str, to: str) -> bool:
        """Hang."""
        self.switching.set()
        assert self.let_go.wait(10)
        self.switched.append((name, to))
        return True

    def state(self, name: str) -> bool:
        """Off."""
        return False

    def close(self) -> None:
        """No pin to free."""


@asynccontextmanager
async def think(
    model: SlowModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config | None = None
) -> AsyncIterator[tuple[Brain, Chores]]:
    """Open a brain with this model."""
    monkeypatch.setattr("edge_agent.app.brain.build_model", lambda *_: cast("Any", model))
    config, places = config or Config(), Places(models=tmp_path, cache=tmp_path, state=tmp_path)
    async with open_core(config) as core, open_brain(config, places, core, volume=RememberedVolume(50)) as brain:
        yield brain, Chores(core, brain)


async def ask(brain: Brain, text: str) -> tuple[str, str]:
    """Return who answers and what."""
    answer = await brain.responder.answer_text(text)
    return answer.source, await said(answer)


async def test_intents_are_answered_while_the_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the model could answer is put off in words; once it is there, it answers."""
    model = SlowModel()
    async with think(model, tmp_path, monkeypatch) as (brain, chores):
        assert (await ask(brain, "what time is it"))[0] == "intent"
        assert await ask(brain, "tell me about rain") == (
            "none",
            "I'm still starting up. Ask me that again in a moment.",
        )
        model.go_on.set()
        await load_model(brain, Notebook(), chores.warm_soon)
        assert await ask(brain, "tell me about rain") == ("llm", "Well.")
    assert model.closed


async def test_a_model_that_cannot_be_loaded_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported once, and from then on it is as if there were none."""
    model, notebook = SlowModel(GenerationError("llama.cpp", "no memory")), Notebook()
    model.go_on.set()
    async with think(model, tmp_path, monkeypatch) as (brain, chores):
        await load_model(brain, notebook, chores.warm_soon)
        assert notebook.faults == ["no language model: llama.cpp: no memory"]
        source, text = await ask(brain, "tell me about rain")
        assert (source, "no language model" in text) == ("none", True)


async def test_leaving_does_not_wait_for_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A native call can't be broken off; it is left behind, logged, and its thread ends by itself."""
    monkeypatch.setattr("edge_agent.app.core._SHUT_S", 0.02)
    monkeypatch.setattr("edge_agent.runtime.pools._LEAVING_S", 0.05)
    model = SlowModel()
    began_s = time.monotonic()
    async with think(model, tmp_path, monkeypatch):
        await asyncio.sleep(0)
    assert time.monotonic() - began_s < 5
    assert not model.go_on.is_set()
    assert "is left behind" in caplog.text
    model.go_on.set()


async def test_an_output_that_hangs_is_given_up_in_the_tools_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's call is answered with an apology while the switch still hangs, and the brain works on."""
    outputs, model = StuckOutputs(), SwitchingModel()
    model.go_on.set()
    monkeypatch.setattr("edge_agent.app.brain.GpioOutputs", lambda *_: outputs)
    config = Config.model_validate({"gpio": {"outputs": {"lamp": {"pin": 5}}}, "llm": {"tool_timeout_s": 0.1}})
    async with think(model, tmp_path, monkeypatch, config) as (brain, _):
        try:
            await brain.loaded()
            assert brain.responder.has_tools
            assert await ask(brain, "it is rather dark in here") == ("llm", "That didn't work.")
            assert outputs.switching.is_set()
            assert (outputs.let_go.is_set(), outputs.switched) == (False, [])
            assert (await ask(brain, "what time is it"))[0] == "intent"
        finally:
            outputs.let_go.set()
    assert outputs.switched == [("lamp", "on")]
