"""Which models directory a command line works on: the service's where it is installed, whoever asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.places import find_places
from edge_agent.errors import BadInputError
from edge_agent.models.layout import ModelsHome

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.schema import Config


_STATE = "var/lib/edge-agent"


class ModelsNotAllowedError(BadInputError):
    """The models belong to somebody else."""

    def __init__(self, directory: Path, verb: str, command: str) -> None:
        super().__init__(f"{directory} may not be {verb} by you; run: sudo edge-agent {command}")
        self.directory = directory


def find_models(
    config: Config,
    command: str,
    *,
    changes: bool,
    root: Path = Path("/"),
    access: Callable[[Path, int], bool] = os.access,
) -> ModelsHome:
    """Return the models directory. Blocking.

    Args:
        config: May name one.
        command: What the person has typed, for the remedy.
        changes: It is to be changed, not only looked at.
        root: Where `var` is.
        access: Tells what this user may do, as access(2) does.

    Raises:
        ModelsNotAllowedError: This user may not look at it; or it is the service's, and this user may not change it.
    """
    state = root / _STATE
    is_installed = state.is_dir()
    default = state / "models" if is_installed else find_places(config.directories).models
    models = config.directories.models or default
    try:
        is_there = models.is_dir()
    except PermissionError:
        raise ModelsNotAllowedError(models, "read", command) from None
    if is_there and not access(models, os.R_OK | os.X_OK):
        raise ModelsNotAllowedError(models, "read", command)
    if (
        changes
        and is_installed
        and config.directories.models is None
        and not access(models if is_there else state, os.W_OK)
    ):
        raise ModelsNotAllowedError(models, "changed", command)
    return ModelsHome(models)
