"""When memory is critical the model is freed, and it is there again when that is over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from doubles import Notebook, ScriptedModel, said, until

from edge_agent.app.brain import RememberedVolume, open_brain
from edge_agent.app.core import open_core
from edge_agent.app.model_keeping import ModelKeeping
from edge_agent.app.places import Places
from edge_agent.config.schema import Config
from edge_agent.errors import GenerationError
from edge_agent.runtime.pressure import PressureState, Rung, allowance
from edge_agent.runtime.sensors import Reading


class LoadedModel(ScriptedModel):
    """Counts how often it was loaded, and fails to be where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.fails = False

    def load(self) -> None:
        """Count."""
        if self.fails:
            raise GenerationError("scripted", "no memory")
        self.loads += 1
        self.closed = False


def state(rung: Rung, reason: str) -> PressureState:
    """A device under pressure."""
    return PressureState(rung, (reason,) if reason else (), Reading(), 0.0)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_memory_is_given_back_and_the_model_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """Freed on CRITICAL for memory alone; loaded and warmed when it may answer; a failure is one fault."""
    model, notebook, warmed = LoadedModel(), Notebook(), list[bool]()
    monkeypatch.setattr("edge_agent.app.brain.build_model", lambda *_: cast("Any", model))
    places = Places(models=tmp_path, cache=tmp_path, state=tmp_path)

    async with open_core(Config()) as core, open_brain(Config(), places, core, volume=RememberedVolume(50)) as brain:
        await brain.loaded()
        keeping = ModelKeeping(core, brain, lambda: notebook, lambda: warmed.append(True))

        def change(rung: Rung, reason: str = "") -> None:
            brain.responder.allowance = allowance(rung)
            keeping.pressure_changed(state(rung, reason))

        change(Rung.CRITICAL, "86 degrees")
        await asyncio.sleep(0.01)
        assert not model.closed
        change(Rung.CRITICAL, "memory: 30 MiB left")
        await until(lambda: model.closed)
        assert "overloaded" in await said(await brain.responder.answer_text("tell me about rain"))
        model.fails = not comes_back
        change(Rung.HOT, "memory: 90 MiB left")
        if comes_back:
            await until(lambda: warmed == [True])
            assert model.loads == 2
            assert await said(await brain.responder.answer_text("tell me about rain")) == "Well."
            assert notebook.faults == []
        else:
            await until(lambda: notebook.faults)
            assert notebook.faults == ["no language model: scripted: no memory"]
            assert "no language model" in await said(await brain.responder.answer_text("tell me about rain"))
