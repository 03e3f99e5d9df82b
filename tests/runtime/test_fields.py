"""Fields of log records: a record's own, and those of what goes on around it."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from edge_agent.runtime.fields import fields_of, log_fields
from edge_agent.runtime.logs import logging_to
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.tasks import Supervisor

_log = logging.getLogger("edge_agent.test")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The fields of each record that is written while `logging_to` lasts."""
    found: list[dict[str, object]] = []

    def format_record(self: logging.Formatter, record: logging.LogRecord) -> str:
        found.append(fields_of(record))
        return ""

    monkeypatch.setattr("edge_agent.runtime.logs.LineFormatter.format", format_record)
    return found


def test_a_record_has_its_own_fields_and_those_around_it(entries: list[dict[str, object]]) -> None:
    """Its own count; of what is around it, the innermost; afterwards they are gone."""
    with logging_to(io.StringIO(), "info"):
        with log_fields(EDGE_STAGE="hear", EDGE_DEVICE="a"):
            with log_fields(EDGE_TURN=3, EDGE_DEVICE="b"):
                _log.info("one", extra={"EDGE_DEVICE": "c", "other": 1})
                _log.info("two")
            _log.info("three", extra={"EDGE_STAGE": None})
        _log.info("four")
    assert entries == [
        {"EDGE_STAGE": "hear", "EDGE_TURN": 3, "EDGE_DEVICE": "c"},
        {"EDGE_STAGE": "hear", "EDGE_TURN": 3, "EDGE_DEVICE": "b"},
        {"EDGE_DEVICE": "a"},
        {},
    ]


def test_a_stage_is_named_in_all_that_is_logged_in_it(entries: list[dict[str, object]]) -> None:
    """In the tasks that it starts, too; and a stage that is started from within a turn is not part of that."""

    async def helper() -> None:
        _log.info("from a task of the stage")

    async def work() -> None:
        await asyncio.create_task(helper())

    async def run() -> None:
        async with Supervisor(Metrics(), lambda _: None) as stages:
            with log_fields(EDGE_TURN=7):
                stages.keep("pressure", work)
            await asyncio.sleep(0.01)

    with logging_to(io.StringIO(), "info"):
        asyncio.run(run())
    assert entries == [{"EDGE_STAGE": "pressure"}]
