"""How long the load of a field test lasts, and how often it is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from edge_agent.app.field import load_step
from edge_agent.app.field.load_step import Sample, try_load
from edge_agent.config.schema import Config
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    import pytest

    from edge_agent.app.agent import Agent
    from edge_agent.app.field.session import Watcher


def idle_agent() -> Agent:
    """Return an agent, as far as the load looks at it, with nothing to speak or think with."""
    agent = SimpleNamespace(
        mouth=SimpleNamespace(set_muted=lambda _: None),
        config=Config(),
        brain=None,
        runner=None,
        ears=None,
        book=SimpleNamespace(describe=lambda: {"audio": {"frames_lost": 0}}),
    )
    return cast("Agent", agent)


async def test_a_long_load_lasts_its_whole_time_with_fewer_samples_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on samples spreads them; it does not end the load."""
    monkeypatch.setattr(load_step, "_EVERY_S", 0.001)
    monkeypatch.setattr(load_step, "_MOST_SAMPLES", 4)
    samples: list[Sample] = []
    pool = Pool("field")
    try:
        watcher = cast("Watcher", SimpleNamespace(faults=[]))
        found = await try_load(idle_agent(), watcher, pool, 0.4 / 60, samples.append)
    finally:
        await pool.close()
    assert samples[-1].at_s >= 0.4
    assert len(samples) <= 6  # the first, the last, and those between
    assert len(found.parts) == len(samples)
