"""Gives the language model's memory back when the device is about to run out of it, and takes the model up again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError, FaultError
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime.pressure import Rung
from edge_agent.runtime.scheduled import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.pressure import PressureState

_log = logging.getLogger(__name__)


class ModelKeeping(SilentObserver):
    """Observes the pressure: where memory is critical the model is freed, and loaded again when it may answer again.

    On the rung CRITICAL nobody asks the model anyway; heat alone is no reason to read a gigabyte from the card again.

    Args:
        core: What the model works on.
        brain: Its owner.
        observer: Is told where it can't be loaded again.
        on_loaded: Is called when it can be used again: its opening has to be evaluated anew.
    """

    def __init__(
        self, core: Core, brain: Brain, observer: Callable[[], Observer], on_loaded: Callable[[], None]
    ) -> None:
        self._core = core
        self._brain = brain
        self._observer = observer
        self._on_loaded = on_loaded
        self._is_loaded = self._is_wanted = True
        self._changes = 0
        self._works = False
        self._given_up = False

    @property
    def is_wanted(self) -> bool:
        """Whether there is memory for the model."""
        return self._is_wanted

    def renew(self) -> None:
        """Another model has taken the place of the one that was kept."""
        self._given_up = False
        self._is_loaded = self._is_wanted

    def pressure_changed(self, pressure: PressureState) -> None:
        """Decide whether the model is wanted in memory, and see to it."""
        if self._brain.model is None or self._given_up:
            return
        if pressure.rung >= Rung.CRITICAL and any(reason.startswith("memory") for reason in pressure.reasons):
            self._is_wanted = False
        elif pressure.allowance.llm:
            self._is_wanted = True
        if self._is_wanted != self._is_loaded and not self._works:
            self._works = True
            self._changes += 1
            self._core.scheduler.submit(Task(f"llm.keep.{self._changes}", self._change, kind="llm.keep"))

    async def _change(self) -> None:
        try:
            while self._is_wanted != self._is_loaded:
                wanted = self._is_wanted
                if wanted:
                    await self._brain.reload()
                    self._on_loaded()
                else:
                    await self._brain.unload()
                    _log.warning("the language model's memory was given back: the device has next to none left")
                self._is_loaded = wanted
        except (BadInputError, FaultError) as error:
            self._brain.do_without_model()
            self._is_wanted = self._is_loaded = True  # told once, and not tried again
            self._given_up = True
            message = f"no language model: {error}"
            _log.error("%s", message)
            self._observer().fault(message)
        finally:
            self._works = False


async def load_model(brain: Brain, observer: Observer, on_loaded: Callable[[], None]) -> None:
    """Take the language model into use when it is in memory; without it intents are answered all the same."""
    try:
        await brain.loaded()
    except (BadInputError, FaultError) as error:
        brain.do_without_model()
        message = f"no language model: {error}"
        _log.error("%s", message)
        observer.fault(message)
    else:
        on_loaded()
