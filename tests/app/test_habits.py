"""What was learned of pauses survives a restart; a file of no use costs what it held, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_agent.app.core import open_core
from edge_agent.app.habits import open_habits
from edge_agent.app.places import Places
from edge_agent.config.audio import EndpointConfig
from edge_agent.config.schema import Config


async def live(state: Path, *pauses_s: float) -> float:
    """Let somebody speak with these pauses, and return the silence that is learned after."""
    places = Places(models=state, cache=state, state=state)
    async with open_core(Config()) as core, open_habits(EndpointConfig(), places, core) as habits:
        learner = habits.pauses
        for pause_s in pauses_s:
            learner.pause(pause_s)
            learner.utterance_ended(3.0, 0.6)
        return learner.silence_s


async def test_pauses_are_known_after_a_restart(tmp_path: Path) -> None:
    """A slow speaker stays one."""
    learned_s = await live(tmp_path, *[0.7] * 10)
    assert learned_s > EndpointConfig().hang_over_s
    assert await live(tmp_path) == pytest.approx(learned_s)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b'{"open": 5}', b"9" * 200_000])
async def test_a_file_of_no_use_is_learned_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning that names it."""
    await asyncio.to_thread((tmp_path / "pauses.json").write_bytes, content)
    assert await live(tmp_path) == EndpointConfig().hang_over_s
    assert "pauses.json" in caplog.text


async def test_a_directory_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was learned is lost with the process."""
    await asyncio.to_thread((tmp_path / "file").write_bytes, b"")
    await live(tmp_path / "file" / "state", 0.7)
    assert "is not saved" in caplog.text
