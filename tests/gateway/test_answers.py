"""What the status socket answers."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from inspect import isawaitable
from typing import Any

import pytest

from edge_agent.audio import AudioChunk
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


async def test_audio_is_told_in_text(pool: Pool, reporter: Reporter) -> None:
    """What comes back is what was heard; a turn without is refused, as is what is no turn."""
    chunk = AudioChunk(bytes(range(256)), 16_000)
    desk = StatusDesk(reporter, pool, describe, audio={3: chunk}.get)
    told = desk({"get": "audio", "turn": 3})
    assert isawaitable(told)
    answer = await told
    assert (answer["turn"], answer["rate_hz"], b64decode(answer["pcm_base64"])) == (3, 16_000, chunk.pcm)
    missing = desk({"get": "audio", "turn": 4})
    assert isawaitable(missing)
    with pytest.raises(UnknownRequestError, match="no audio of turn 4 is kept"):
        await missing
    for turn in (None, True, "3", 1.0):
        with pytest.raises(UnknownRequestError, match="the number of a turn"):
            desk({"get": "audio", "turn": turn})


@pytest.mark.parametrize(("what", "key"), [("turns", "recorder.turns"), ("audio", "recorder.audio_turns")])
async def test_what_is_not_kept_is_refused_with_the_remedy(pool: Pool, reporter: Reporter, what: str, key: str) -> None:
    """It names the key to set."""
    with pytest.raises(UnknownRequestError, match=rf"^no {what} [a-z ]+kept; set {key} to 1 or more, and restart$"):
        StatusDesk(reporter, pool, describe)({"get": what, "turn": 1})


@pytest.mark.parametrize("request_", [{}, {"get": "everything"}, {"get": None}, {"set": "status"}])
async def test_what_there_is_not_is_refused(pool: Pool, reporter: Reporter, request_: dict[str, Any]) -> None:
    """With what there is."""
    with pytest.raises(UnknownRequestError, match=r"one of: status, metrics, prometheus, turns, audio$"):
        StatusDesk(reporter, pool, describe)(request_)
