"""Pulls a model into the running agent, by order from outside: behind everything else, and taken into use at once."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.app.change import ChangeError
from edge_agent.app.model_choice import available_memory_mib, use_of
from edge_agent.app.parts import Part
from edge_agent.app.places import find_places
from edge_agent.models.catalog import load_catalog
from edge_agent.models.fetching import Terms
from edge_agent.models.identity import owner_of
from edge_agent.models.layout import ModelsHome
from edge_agent.models.pulling import Manner, Pulled, pull
from edge_agent.mqtt.controls import CommandError
from edge_agent.net.http import open_http
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pressure import Rung

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.models.catalog import CatalogModel
    from edge_agent.runtime.metrics import Metrics
    from edge_agent.runtime.pressure import PressureState

_log = logging.getLogger(__name__)

_NICENESS = 15
"""Below everything that anybody waits for."""
_LEAVING_S = 1.0
_LOOK_S = 2.0
_LONGEST_WAIT_S = 900.0
"""A device that stays hot or short of memory for so long has another trouble than this download."""
_PARTS: dict[str, frozenset[Part]] = {
    "vosk": frozenset({Part.RECOGNIZER}),
    "piper": frozenset({Part.VOICE}),
    "llm": frozenset({Part.MODEL, Part.BRAIN}),
}
"""What takes a model of each kind into use; the table in `parts` has the same for its key."""


class ModelPulling:
    """Pulls models for one running agent, one at a time. Belongs to the loop.

    Args:
        config: The configuration that runs.
        pressure: The last look at the sensors; None before the first.
        renew: Has parts loaded anew, as `Agent.renew` does.
        catalog_path: None: the catalogue that comes with edge_agent.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        pressure: Callable[[], PressureState | None],
        renew: Callable[[frozenset[Part]], Any],
        metrics: Metrics,
        catalog_path: Path | None = None,
    ) -> None:
        self._config = config
        self._pressure = pressure
        self._renew = renew
        self._metrics = metrics
        self._catalog_path = catalog_path
        self._told: tuple[str, int] = ("", -1)

    async def pull(self, name: str) -> dict[str, Any]:
        """Pull a model of the catalogue, and take it into use where the configuration chooses it.

        Cancelled, it keeps what came so far.

        Raises:
            CommandError: The device is too hot or too short of memory for it.
            UnknownModelError: There is none of that name.
            FaultError: It can't be had; the message says why.
        """
        if reasons := self._strain():
            raise CommandError("unavailable", f"no model is pulled now: {reasons}; send it again later")
        pool = Pool("models", most_workers=1, niceness=_NICENESS, metrics=self._metrics)
        try:
            catalog = await pool.run(partial(load_catalog, self._catalog_path), kind="models.catalog")
            model = catalog.find(name)
            if model.comes_with is not None:
                return _told(model, is_new=False, message=f"comes with the Python package {model.comes_with}")
            places = await pool.run(partial(find_places, self._config().directories), kind="models.places")
            home = ModelsHome(places.models)
            if os.geteuid() == 0 and (owner := await pool.run(partial(owner_of, home.root), kind="models.owner")):
                message = (
                    f"the models are {owner.name}'s and the agent runs as root: sudo edge-agent models pull {name}"
                )
                raise CommandError("unavailable", message)
            manner = Manner(terms=Terms(pace=self._pace), progress=self._progress)
            async with open_http(resolve_on=pool) as http:
                pulled = await pull(model, home, http, pool, manner)
            return await self._take(pulled, home, pool)
        finally:
            await pool.close(_LEAVING_S)

    async def _take(self, pulled: Pulled, home: ModelsHome, pool: Pool) -> dict[str, Any]:
        """Take a model into use, if the configuration chooses it; return what is told."""
        model = pulled.model
        if not pulled.is_new:
            return _told(model, is_new=False, message="was here already, and is as it should be")
        use = await pool.run(partial(use_of, self._config(), home.root, model, pulled.path), kind="models.use")
        if not use.is_used:
            return _told(model, is_new=True, message=f"is here and not used: {use.remedy}")
        free_mib = await pool.run(available_memory_mib, kind="models.memory")
        if model.kind == "llm" and model.memory_mib is not None and free_mib < model.memory_mib:
            return _told(model, is_new=True, message="is here; there is too little memory to change to it: restart")
        try:
            await self._renew(_PARTS[model.kind])
        except ChangeError as error:
            reason = "; ".join(problem.message for problem in error.problems)
            _log.error("%s is here, but can't be taken into use: %s", model.id, reason)
            return _told(model, is_new=True, message=f"is here, but can't be taken into use now: {reason}; restart")
        _log.info("%s is here, and in use", model.id)
        return _told(model, is_new=True, is_used=True, message="is here, and in use")

    async def _pace(self) -> None:
        """Wait while the device has other troubles.

        Raises:
            CommandError: It has them for too long.
        """
        waited_s = 0.0
        while reasons := self._strain():
            if waited_s >= _LONGEST_WAIT_S:
                raise CommandError(
                    "unavailable", f"{reasons} for {waited_s:.0f} s; what came so far is kept: send it again later"
                )
            await asyncio.sleep(_LOOK_S)
            waited_s += _LOOK_S

    def _strain(self) -> str:
        """Say why nothing is to be done that can wait; empty where it may."""
        pressure = self._pressure()
        if pressure is None or pressure.rung < Rung.HOT:
            return ""
        return f"the device is under pressure ({', '.join(pressure.reasons) or pressure.rung.label})"

    def _progress(self, step: str, name: str, done: int, total: int) -> None:
        """Log each quarter."""
        quarter = 4 * done // max(1, total)
        if (f"{step} {name}", quarter) != self._told and step in {"download", "unpack"}:
            self._told = (f"{step} {name}", quarter)
            _log.info("%s of %s: %d %%", step, name, 25 * quarter)


def _told(model: CatalogModel, *, is_new: bool, message: str, is_used: bool = False) -> dict[str, Any]:
    return {"name": model.id, "kind": model.kind, "is_new": is_new, "in_use": is_used, "message": message}
