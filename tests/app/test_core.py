"""The runtime is opened as configured, and closed with nothing left."""

from __future__ import annotations

import pytest

from edge_agent.app.core import IdleGate, make_ledger, open_core
from edge_agent.config.schema import Config
from edge_agent.runtime.topology import Topology

BOARD = Topology(cores=(0, 1, 2, 3), big=(0, 1, 2, 3), little=(), quota=None, compute_cores=3, reserve=1, physical=4)


@pytest.mark.parametrize(
    ("cores", "found"),
    [({}, (4, 1)), ({"compute": 2}, (3, 1)), ({"reserve": 0}, (3, 0)), ({"compute": 1, "reserve": 2}, (3, 2))],
)
def test_the_configuration_goes_before_the_board(cores: dict[str, int], found: tuple[int, int]) -> None:
    """Unset keys are what the board gives."""
    statistics = make_ledger(Config.model_validate({"cores": cores}), BOARD).statistics()
    assert (statistics.cores, statistics.reserve) == found


async def test_engines_have_their_claims() -> None:
    """Recognition, voice and language model, each with a rank and no more threads than configured."""
    config = Config.model_validate({"cores": {"compute": 4, "reserve": 1}, "llm": {"threads": 3}})
    async with open_core(config) as core:
        claims = {claim.name: (claim.rank, claim.most) for claim in core.ledger.statistics().claims}
        assert await core.match.run(lambda: 7, kind="test") == 7
    assert claims == {"asr": ("hearing", 1), "tts": ("speaking", 2), "llm": ("reasoning", 3)}


def test_idle_work_needs_time_and_means() -> None:
    """Nobody is served, and the device can afford it."""
    gate = IdleGate()
    assert gate()
    gate.is_serving = True
    assert not gate()
    gate.is_serving, gate.can_afford = False, False
    assert not gate()
