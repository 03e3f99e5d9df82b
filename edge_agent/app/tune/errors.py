"""Why a board is not measured, or not by what was stored of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


class ServiceRunsError(BadInputError):
    """The service runs and takes cores and memory: what is measured beside it would be wrong, and disturb it."""

    def __init__(self) -> None:
        super().__init__(
            "the service runs and needs the cores; run: sudo systemctl stop edge-agent; sudo edge-agent tune; "
            "sudo systemctl start edge-agent (started by hand: end `edge-agent run` first)"
        )


class TuneNotAllowedError(BadInputError):
    """The service's state belongs to somebody else."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory} may not be written by you; run: sudo edge-agent tune (or --dry-run)")
        self.directory = directory


class StoredTuneError(BadInputError):
    """What was stored can't be used; `reason` says why, in words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; run `edge-agent tune` again, or remove it")
        self.path = path
        self.reason = reason
