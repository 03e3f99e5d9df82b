"""What the status socket answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import isawaitable
from typing import Any

import pytest

from edge_agent.errors import UnknownRequestError
from edge_agent.gateway.answers import StatusDesk
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.report import Reporter, Sources


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool that is closed afterwards."""
    pool = Pool("general")
    yield pool
    await pool.close()


@pytest.fixture
def reporter() -> Reporter:
    """A reporter of one finished turn."""
    metrics = Metrics(lambda: 5.0)
    turn = metrics.activity("tasks", "turn")
    turn.begin()
    turn.end(Outcome.COMPLETED, 0.0, 1.0)
    return Reporter(Sources(metrics))


def describe() -> dict[str, Any]:
    """Return the rest of the status."""
    return {"state": "idle", "version": "0.1.0", "engines": {"asr": "vosk", "llm": None}, "counters": {"turns": 1}}


async def test_the_status_is_the_service_s_and_the_report(pool: Pool, reporter: Reporter) -> None:
    """One object."""
    status = StatusDesk(reporter, pool, describe)({"get": "status"})
    assert isinstance(status, dict)
    assert {**describe(), "pressure": None, "uptime_s": 0.0}.items() <= status.items()
    assert status["report"]["tasks"]["completed"] == 1


async def test_metrics_and_prometheus_have_the_same_numbers(pool: Pool, reporter: Reporter) -> None:
    """One for programs of ours, one for Prometheus, which is rendered on the pool."""
    desk = StatusDesk(reporter, pool, describe)
    metrics, text = desk({"get": "metrics"}), desk({"get": "prometheus"})
    assert isinstance(metrics, dict)
    assert metrics["work"][0]["completed"] == 1
    assert isawaitable(text)
    rendered = str(await text)
    assert 'edge_agent_work_total{kind="turn",outcome="completed",place="tasks"} 1.0' in rendered
    assert 'edge_agent_info{asr="vosk",version="0.1.0"} 1.0' in rendered


async def test_turns_are_told_where_they_are_kept(pool: Pool, reporter: Reporter) -> None:
    """So many as asked for, ten unless told."""
    desk = StatusDesk(reporter, pool, describe, turns=lambda last: [{"turn": number} for number in range(last)])
    assert desk({"get": "turns", "last": 2}) == [{"turn": 0}, {"turn": 1}]
    assert len(desk({"get": "turns"})) == 10  # type: ignore[arg-type]
    for last in (0, 101, "2", True, 1.5, None):
        with pytest.raises(UnknownRequestError, match="a number from 1 to 100"):
            desk({"get": "turns", "last": last})


@pytest.mark.parametrize("request_", [{}, {"get": "everything"}, {"get": None}, {"set": "status"}, {"get": "turns"}])
async def test_what_there_is_not_is_refused(pool: Pool, reporter: Reporter, request_: dict[str, Any]) -> None:
    """With what there is."""
    with pytest.raises(UnknownRequestError, match=r"one of: status, metrics, prometheus$"):
        StatusDesk(reporter, pool, describe)(request_)
