"""What was measured changes what the ledger grants; what is configured goes before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from edge_agent.app.core import Core, open_core
from edge_agent.app.tune import applying
from edge_agent.app.tune.applying import TunedThreads
from edge_agent.app.tune.board import read_board
from edge_agent.app.tune.stored import Engine, Measurements, Plan, Tuned, store_tuned, tune_file
from edge_agent.config.schema import Config
from edge_agent.reason.llm import LanguageModel
from edge_agent.runtime.ledger import Claim
from edge_agent.runtime.plan import ThreadPlan, grants
from edge_agent.runtime.topology import read_topology
from edge_agent.speak.tts import SpeechSynthesizer


@dataclass(frozen=True)
class Named:
    """As much of an engine as the ledger looks at."""

    name: str
    most_threads: int | None = None


MODEL = cast("LanguageModel", Named("llama.cpp small"))
VOICE = cast("SpeechSynthesizer", Named("piper amy"))
CORES = {"compute": 4, "reserve": 1}


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    applying._told.clear()
    yield
    applying._told.clear()


def configured(tmp_path: Path, **more: Any) -> Config:  # noqa: ANN401 - sections of the configuration
    """Return a configuration whose state is in the test's directory."""
    directories = {name: str(tmp_path) for name in ("state", "cache", "models")}
    return Config.model_validate({"directories": directories, "cores": CORES, **more})


BOARD = read_board(read_topology(), compute_cores=CORES["compute"], reserve=CORES["reserve"])
"""The machine that the test runs on, with the configured cores."""


async def store(tmp_path: Path, plan: Plan, **changes: object) -> None:
    """Store a plan that was found on this board."""
    tuned = Tuned(
        measured_at=datetime(2026, 11, 30, tzinfo=UTC),
        board=BOARD,
        llm=Engine(name="llama.cpp small"),
        tts=Engine(name="piper amy"),
        measured=Measurements(),
        plan=plan,
    )
    await asyncio.to_thread(store_tuned, tune_file(tmp_path), tuned.model_copy(update=changes))


def granted(core: Core, *claims: Claim) -> list[int]:
    """Return the threads that claims hold when all of them compute."""
    for claim in claims:
        core.ledger._account.open(claim._state, 0.0)
    try:
        return [core.ledger._account.settle(claim._state, 0.0) for claim in claims]
    finally:
        for claim in claims:
            core.ledger._account.close(claim._state, 0.0)


async def shares(config: Config, voice: SpeechSynthesizer = VOICE, model: LanguageModel = MODEL) -> list[list[int]]:
    """Return what the ledger grants the model alone, the voice alone, and both."""
    async with open_core(config) as core:
        core.size_voice(config, voice)
        core.size_model(config, model)
        llm, tts = core.llm_claim, core.tts_claim
        return [granted(core, llm), granted(core, tts), granted(core, tts, llm)]


async def test_a_stored_plan_changes_what_the_ledger_grants(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The model leaves a core that did not help it; the voice takes three alone, one beside the model; told once."""
    caplog.set_level(logging.INFO, logger="edge_agent.app.tune")
    config = configured(tmp_path)
    assert await shares(config) == [[4], [2], [2, 2]]
    await store(tmp_path, Plan(llm=3, tts=3, tts_beside=1))
    assert await shares(config) == [[3], [3], [1, 3]]
    assert await shares(config) == [[3], [3], [1, 3]]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "llama.cpp small on 3 threads; piper amy on 3 threads, 1 beside the language model" in told[0]


async def test_what_is_configured_goes_before(tmp_path: Path) -> None:
    """Each key for its engine."""
    await store(tmp_path, Plan(llm=3, tts=3, tts_beside=1))
    assert await shares(configured(tmp_path, llm={"threads": 2})) == [[2], [3], [2, 2]]
    assert await shares(configured(tmp_path, tts={"piper": {"threads": 2}})) == [[3], [2], [2, 2]]


async def test_engines_that_were_not_measured_take_the_usual(tmp_path: Path) -> None:
    """A voice that can use one thread only is never given more."""
    await store(tmp_path, Plan(llm=3, tts=3, tts_beside=1))
    other = cast("LanguageModel", Named("llama.cpp other"))
    flite = cast("SpeechSynthesizer", Named("flite slt", 1))
    assert await shares(configured(tmp_path), model=other) == [[4], [3], [3, 1]]
    assert await shares(configured(tmp_path), voice=flite) == [[3], [1], [1, 3]]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"board": {"model": "another one"}}, "was measured on another board"),
        ({"tainted": ("it was hot",)}, "is not to be trusted"),
        (None, "is not valid JSON"),
    ],
    ids=["another board", "tainted", "broken"],
)
async def test_what_can_not_be_used_is_told_once_and_ignored(
    changes: dict[str, Any] | None, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent starts all the same."""
    if changes is None:
        await asyncio.to_thread(tune_file(tmp_path).write_text, "{", encoding="utf-8")
    elif "board" in changes:
        await store(tmp_path, Plan(llm=1), board=BOARD.model_copy(update=changes["board"]))
    else:
        await store(tmp_path, Plan(llm=1), **changes)
    config = configured(tmp_path)
    for _ in range(2):
        assert await shares(config) == [[4], [2], [2, 2]]
    assert [why in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [True]


async def test_cores_that_are_configured_otherwise_make_another_board(tmp_path: Path) -> None:
    """Threads for four cores are not those for two."""
    await store(tmp_path, Plan(llm=3, tts=3, tts_beside=1))
    fewer = Config.model_validate({"cores": {"compute": 2, "reserve": 0}}).cores
    config = configured(tmp_path).model_copy(update={"cores": fewer})
    assert await shares(config) == [[2], [1], [1, 1]]


def test_nothing_stored_is_nothing_known() -> None:
    """The usual threads."""
    assert TunedThreads().for_model("m") == TunedThreads().for_voice("v") == ThreadPlan()


def test_a_voice_makes_way_only_for_who_can_use_it() -> None:
    """Beside a model that takes one thread, the voice takes the rest; without a model, all it can."""
    plan = ThreadPlan(llm=1, tts=3, tts_beside=1)
    assert grants(5, reserve=1, active=("TTS", "LLM"), plan=plan) == {"TTS": 3, "LLM": 1}
    assert grants(5, reserve=1, active=("TTS",), plan=plan) == {"TTS": 3}
    assert grants(5, reserve=1, active=("ASR", "TTS", "LLM"), plan=ThreadPlan(None, 3, 1)) == {
        "ASR": 1,
        "TTS": 1,
        "LLM": 3,
    }
