"""What the device remembers over a restart: the conversation, in its database."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_agent.errors import FaultError
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime.batch import Batcher
from edge_agent.store.database import Database
from edge_agent.store.history import HistoryStore, StoredTurn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.runtime.scheduled import Periodic

_log = logging.getLogger(__name__)

_BATCH_TURNS = 20
_BATCH_S = 5.0
_WAITING_TURNS = 200
_PRUNE_EVERY_S = 6 * 3600.0
_CHECKPOINT_EVERY_S = 3600.0


class Memory(SilentObserver):
    """Writes turns down as they end, several at once, where that is wanted."""

    def __init__(self, config: Config, turns: Batcher[StoredTurn] | None) -> None:
        self._language = config.language
        self._keep_days = config.store.history_days
        self._turns = turns

    @property
    def keep_days(self) -> float:
        """How long turns are kept; 0: they are not."""
        return self._keep_days

    def configure(self, config: Config) -> None:
        """Keep turns so long, and in that language, from now on; those that are too old go at the next tidying."""
        self._language = config.language
        self._keep_days = config.store.history_days

    def turn_ended(self, report: TurnReport) -> None:
        """Queue the turn for the database."""
        if self._turns is None or not self._keep_days or report.heard is None:
            return
        began_at = datetime.now(UTC) - timedelta(seconds=report.timings.done_s or 0.0)
        self._turns.add(
            StoredTurn(
                turn=report.turn,
                started_at=began_at,
                heard=report.heard,
                reply=report.reply_heard,
                source=report.source,
                language=self._language,
                intent=report.intent,
                slots=report.slots,
            )
        )


@asynccontextmanager
async def open_database(places: Places, core: Core, report: Callable[[str], None]) -> AsyncIterator[Database | None]:
    """Open the database; one that can't be used is reported, and the agent goes on without: None."""
    database = Database(
        places.state / "edge-agent.db", core.pools.file_io, set_aside=lambda path: report(_set_aside(path))
    )
    try:
        await database.__aenter__()
    except FaultError as error:
        message = f"conversations, timers and alarms are not stored: {error}"
        report(message)
        _log.error("%s", message)
        yield None
        return
    try:
        keep_small(database, core)
        yield database
    finally:
        await database.__aexit__(None, None, None)


def keep_small(database: Database, core: Core) -> None:
    """Have the database's log written back now and then, for as long as there is this core."""
    core.scheduler.every("store.checkpoint", _CHECKPOINT_EVERY_S, database.checkpoint)


@asynccontextmanager
async def open_memory(
    config: Config, database: Database | None, core: Core, brain: Brain, *, recalls: bool = True
) -> AsyncIterator[Memory]:
    """Give the brain back what was said last, and keep what is said from now on, where that is wanted and can be.

    Without `recalls` the brain knows already.
    """
    if database is None:
        yield Memory(config, None)
        return
    history = HistoryStore(database)
    if recalls and config.store.history_days:
        await _recall(config, history, brain)
    async with Batcher(
        history.append, _BATCH_TURNS, _BATCH_S, _WAITING_TURNS, on_full="drop_oldest", name="store.turns"
    ) as turns:
        memory = Memory(config, turns)
        tidying = _keep_tidy(memory, core, database, history)
        try:
            yield memory
        finally:
            tidying.cancel()


async def _recall(config: Config, history: HistoryStore, brain: Brain) -> None:
    """Show the language model what was said shortly before a restart."""
    since = datetime.now(UTC) - timedelta(minutes=config.store.resume_minutes)
    for turn in await history.recent(config.llm.history_turns) if config.llm.history_turns else ():
        if turn.started_at >= since and turn.heard and turn.reply and turn.language == config.language:
            brain.history.add(turn.heard, turn.reply)


def _keep_tidy(memory: Memory, core: Core, database: Database, history: HistoryStore) -> Periodic:
    async def prune() -> None:
        before = datetime.now(UTC) - timedelta(days=memory.keep_days)
        await history.prune(older_than=before)
        await database.optimize()

    return core.scheduler.every("store.prune", _PRUNE_EVERY_S, prune, first_s=60.0)


def _set_aside(path: Path) -> str:
    return f"the database was corrupt and is now {path}; a new one was begun"
