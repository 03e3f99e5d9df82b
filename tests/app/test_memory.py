"""Turns are kept over a restart, as long as configured, and a broken database costs nothing but itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from edge_agent.app.brain import Brain
from edge_agent.app.core import open_core
from edge_agent.app.memory import Memory, open_database, open_memory
from edge_agent.app.places import Places
from edge_agent.config.schema import Config
from edge_agent.pipeline.report import TurnReport
from edge_agent.reason.history import History


class Mind:
    """The part of a brain that remembers."""

    def __init__(self) -> None:
        self.history = History(6)


@asynccontextmanager
async def remember(state: Path, **store: float) -> AsyncIterator[tuple[Memory, History, list[str]]]:
    """Open the memory of an agent whose state is in `state`; yield what it tells, too."""
    config = Config.model_validate({"store": store, "cores": {"compute": 2}})
    places, mind, told = Places(models=state, cache=state, state=state), Mind(), list[str]()
    async with (
        open_core(config) as core,
        open_database(places, core, told.append) as database,
        open_memory(config, database, core, cast("Brain", mind)) as memory,
    ):
        yield memory, mind.history, told


def turn(heard: str | None, reply: str | None) -> TurnReport:
    """A turn that has ended."""
    report = TurnReport(1, heard=heard, reply=reply, reply_heard=reply, source="llm")
    report.timings.done_s = 2.0
    return report


async def test_a_restart_goes_on_with_the_conversation(tmp_path: Path) -> None:
    """What was asked and heard is shown to the language model again, oldest first."""
    async with remember(tmp_path) as (memory, history, _):
        assert len(history) == 0
        memory.turn_ended(turn("who was here", "Nobody."))
        memory.turn_ended(turn(None, "Ding."))
        memory.turn_ended(turn("and now", "Still nobody."))
    async with remember(tmp_path) as (_, history, told):
        messages = [message.content for message in history.messages("", "so")]
    assert messages == ["who was here", "Nobody.", "and now", "Still nobody.", "so"]
    assert told == []


async def test_turns_of_long_ago_are_not_taken_up(tmp_path: Path) -> None:
    """With no minutes to resume the conversation begins anew."""
    async with remember(tmp_path) as (memory, _, _):
        memory.turn_ended(turn("who was here", "Nobody."))
    async with remember(tmp_path, resume_minutes=0.0) as (_, history, _):
        assert len(history) == 0


async def test_nothing_is_stored_where_nobody_wants_it(tmp_path: Path) -> None:
    """With no days of history the database, which timers need all the same, holds no word of it."""
    async with remember(tmp_path, history_days=0) as (memory, _, _):
        memory.turn_ended(turn("my secret", "Yes."))
    files = await asyncio.to_thread(lambda: [path.read_bytes() for path in tmp_path.iterdir()])
    assert files
    assert not any(b"secret" in content for content in files)


async def test_a_corrupt_database_is_set_aside_and_told(tmp_path: Path) -> None:
    """The agent starts, and says where the old one is."""
    await asyncio.to_thread((tmp_path / "edge-agent.db").write_bytes, b"SQLite format 3\0" + b"\xff" * 5000)
    async with remember(tmp_path) as (memory, _, told):
        memory.turn_ended(turn("hello", "Hi."))
    (line,) = told
    assert "was corrupt" in line
    assert str(tmp_path) in line


async def test_a_database_that_cannot_be_had_is_done_without(tmp_path: Path) -> None:
    """Told once, in one line; turns go on."""
    await asyncio.to_thread((tmp_path / "edge-agent.db").mkdir)
    async with remember(tmp_path) as (memory, _, told):
        memory.turn_ended(turn("hello", "Hi."))
    (line,) = told
    assert line.startswith("conversations, timers and alarms are not stored: ")
