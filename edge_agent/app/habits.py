"""What was learned of how people speak, kept over a restart."""

from __future__ import annotations

import json
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from edge_agent.errors import BusyError, JobTimeoutError
from edge_agent.hear.pauses import PauseLearner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.app.core import Core
    from edge_agent.app.places import Places
    from edge_agent.config.audio import EndpointConfig
    from edge_agent.runtime.pool import Pool

_log = logging.getLogger(__name__)

_FILE = "pauses.json"
_SAVE_EVERY_S = 900.0
_LAST_SAVING_S = 0.5
_MOST_BYTES = 100_000


class Habits:
    """What was learned, and where it is kept.

    Attributes:
        pauses: Learns how long people pause.
    """

    def __init__(self, pauses: PauseLearner, path: Path, pool: Pool) -> None:
        self.pauses = pauses
        self._path = path
        self._pool = pool
        self._saved = pauses.state()

    def configure(self, config: EndpointConfig) -> PauseLearner:
        """Learn within other bounds from now on, what is known already included; return who does."""
        self.pauses = PauseLearner(config, self.pauses.state())
        return self.pauses

    async def save(self) -> None:
        """Write down what has changed; a failure is logged."""
        if (state := self.pauses.state()) == self._saved:
            return
        try:
            await self._pool.run(lambda: _save(self._path, state), kind="pauses.save", timeout_s=_LAST_SAVING_S)
            self._saved = state
        except (OSError, JobTimeoutError, BusyError) as error:
            _log.warning("what was learned of pauses is not saved: %s", error)


@asynccontextmanager
async def open_habits(config: EndpointConfig, places: Places, core: Core) -> AsyncIterator[Habits]:
    """Give back what was learned of pauses; save it now and then, and on leaving.

    A file that can't be read or written is logged: the pauses are learned anew.
    """
    path = places.state / _FILE
    learner = await core.pools.file_io.run(lambda: _load(config, path), kind="pauses.load")
    habits = Habits(learner, path, core.pools.file_io)
    core.scheduler.every("pauses.save", _SAVE_EVERY_S, habits.save)
    try:
        yield habits
    finally:
        await habits.save()


def _load(config: EndpointConfig, path: Path) -> PauseLearner:
    try:
        with path.open("rb") as file:
            state: dict[str, Any] = json.loads(file.read(_MOST_BYTES))
        return PauseLearner(config, state)
    except FileNotFoundError:
        return PauseLearner(config)
    except (OSError, ValueError) as error:
        _log.warning("%s is of no use (%s): pauses are learned anew", path, error)
        return PauseLearner(config)


def _save(path: Path, state: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
