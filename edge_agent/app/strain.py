"""What the agent gives up when the device gets hot or short of something, and takes up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.runtime.ledger import Rank
from edge_agent.runtime.pressure import Levels, PressureLadder, Rung, Thresholds

if TYPE_CHECKING:
    from edge_agent.app.core import Core
    from edge_agent.config.running import PressureConfig
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.respond import Responder
    from edge_agent.runtime.pressure import PressureState
    from edge_agent.speak.phrases import PhraseCache

_MARGIN_C = 3.0


def make_ladder(config: PressureConfig) -> PressureLadder:
    """Return the ladder with the configured temperatures."""
    levels = Levels(config.warm_c, config.hot_c, config.critical_c, margin=_MARGIN_C)
    return PressureLadder(Thresholds(temperature_c=levels))


class Strain:
    """Carries out what each rung of the ladder says. Belongs to the loop.

    Attributes:
        responder: Is told what it may do; another one has to take over what this one was told.
        phrases: Gives memory back.
        state: The last look at the sensors; None before the first.
    """

    def __init__(self, core: Core, responder: Responder, phrases: PhraseCache, observer: Observer) -> None:
        self._core = core
        self.responder = responder
        self.phrases = phrases
        self._observer = observer
        self._was_calm = True
        self.state: PressureState | None = None

    def look(self, state: PressureState) -> None:
        """Remember a look at the sensors."""
        self.state = state

    def change(self, state: PressureState) -> None:
        """Go over to another rung."""
        core, allowed = self._core, state.allowance
        self.responder.allowance = allowed
        # At no share the responder does not ask the model any more; what it is answering at this moment goes on to its
        # end on one core: half an answer helps nobody, and a claim that is capped at nothing would hang in its job.
        share = allowed.llm_threads_share
        core.ledger.cap(Rank.REASONING, None if share >= 1 else max(share, 1 / core.ledger.compute_cores))
        core.idle.can_afford = allowed.idle_work
        core.scheduler.wake()
        if state.rung >= Rung.HOT:
            self.phrases.trim(self.phrases.statistics().size_bytes // 2)
        if state.rung is not Rung.NORMAL or not self._was_calm:
            self._observer.pressure_changed(state)
        self._was_calm = state.rung is Rung.NORMAL
