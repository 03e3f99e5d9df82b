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

_log = logging.getLogger(__name__)

_FILE = "pauses.json"
_SAVE_EVERY_S = 900.0
_LAST_SAVING_S = 0.5
_MOST_BYTES = 100_000


@asynccontextmanager
async def open_pauses(config: EndpointConfig, places: Places, core: Core) -> AsyncIterator[PauseLearner]:
    """Give back what was learned of pauses; save it now and then, and on leaving.

    A file that can't be read or written is logged: the pauses are learned anew.
    """
    path = places.state / _FILE
    learner = await core.pools.file_io.run(lambda: _load(config, path), kind="pauses.load")
    saved = learner.state()

    async def save() -> None:
        nonlocal saved
        if (state := learner.state()) == saved:
            return
        try:
            await core.pools.file_io.run(lambda: _save(path, state), kind="pauses.save", timeout_s=_LAST_SAVING_S)
            saved = state
        except (OSError, JobTimeoutError, BusyError) as error:
            _log.warning("what was learned of pauses is not saved: %s", error)

    core.scheduler.every("pauses.save", _SAVE_EVERY_S, save)
    try:
        yield learner
    finally:
        await save()


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
