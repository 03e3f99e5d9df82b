"""What the ledger takes of the stored measurements: as far as board, model and voice are those of then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.app.places import find_places
from edge_agent.app.tune.board import read_board
from edge_agent.app.tune.errors import StoredTuneError
from edge_agent.app.tune.stored import read_usable, tune_file
from edge_agent.runtime.plan import UNMEASURED, ThreadPlan

if TYPE_CHECKING:
    from edge_agent.app.tune.stored import Tuned
    from edge_agent.config.schema import Config
    from edge_agent.runtime.ledger import CoreLedger
    from edge_agent.runtime.topology import Topology

_log = logging.getLogger(__name__)

_told: set[str] = set()
"""What was logged already: the core is opened anew for some changes of the configuration, and in tests."""
_MOST_TOLD = 64


class TunedThreads:
    """Answers for the model and the voice in use. Belongs to the loop.

    Args:
        tuned: None: nothing usable is stored.
    """

    def __init__(self, tuned: Tuned | None = None) -> None:
        self._tuned = tuned
        self._model: str | None = None
        self._voice: str | None = None

    def for_model(self, name: str | None) -> ThreadPlan:
        """Return the plan with that language model; None: there is none."""
        self._model = name
        if self._tuned is not None and name is not None:
            self._tell_of("language model", None if self._tuned.llm is None else self._tuned.llm.name, name)
        return self._plan()

    def for_voice(self, name: str) -> ThreadPlan:
        """Return the plan with that voice."""
        self._voice = name
        if self._tuned is not None and self._tuned.tts is not None:
            self._tell_of("voice", self._tuned.tts.name, name)
        return self._plan()

    def _plan(self) -> ThreadPlan:
        return UNMEASURED if self._tuned is None else self._tuned.threads(model=self._model, voice=self._voice)

    @staticmethod
    def _tell_of(what: str, then: str | None, now: str) -> None:
        if then != now:
            _tell_once(
                logging.INFO,
                f"this board was tuned with the {what} {then or 'none'}; for {now} the usual threads are taken until "
                "`edge-agent tune` has measured it",
            )


def load_tuned(config: Config, topology: Topology, ledger: CoreLedger) -> TunedThreads:
    """Read what is stored for this board; what can't be used is told once, and ignored. Blocking."""
    path = tune_file(find_places(config.directories).state)
    compute, whole = ledger.compute_cores, ledger.statistics().cores
    try:
        tuned = read_usable(path, read_board(topology, compute_cores=compute, reserve=whole - compute))
    except StoredTuneError as error:
        _tell_once(logging.WARNING, f"not used: {error}")
        return TunedThreads()
    if tuned is not None:
        _tell_once(logging.INFO, f"cores are shared as {path} says: {describe(tuned)}")
    return TunedThreads(tuned)


def describe(tuned: Tuned) -> str:
    """Return the plan in one line."""
    plan, parts = tuned.plan, []
    if tuned.llm is not None and plan.llm is not None:
        parts.append(f"{tuned.llm.name} on {_threads(plan.llm)}")
    if tuned.tts is not None and plan.tts is not None:
        beside = f", {plan.tts_beside} beside the language model" if plan.tts_beside is not None else ""
        parts.append(f"{tuned.tts.name} on {_threads(plan.tts)}{beside}")
    return "; ".join(parts) or "nothing that can be shared"


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _tell_once(level: int, text: str) -> None:
    if text not in _told and len(_told) < _MOST_TOLD:
        _told.add(text)
        _log.log(level, "%s", text)
