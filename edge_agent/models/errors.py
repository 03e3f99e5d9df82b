"""What can go wrong with a model on its way here.

BadInputError
├── CatalogError        the catalogue can't be read, one line for each wrong key
├── UnknownModelError   no model goes by that name
├── NotInstalledError   it is in the catalogue, and not here
├── PackagedModelError  it comes with a Python package, and is looked after by pip
├── NothingRecommendedError  the catalogue has nothing that suits language and board
└── ModelInUseError     the configuration names it
FaultError
├── DownloadError       no source gave the file
├── ArchiveError        an archive holds what no model needs
├── ProofError          all of it came, and it does not work
├── RoomError           the disk has no room for it
├── PlaceError          the models directory can't be read or written
└── ModelBusyError      another process pulls or removes the same one
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.suggest import suggest
from edge_agent.errors import BadInputError, BusyError, ConfigError, FaultError
from edge_agent.models.identity import as_typed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MIB = 1 << 20


class CatalogError(ConfigError):
    """The catalogue has problems; `problems` holds all of them."""


class UnknownModelError(BadInputError):
    """The catalogue has no model of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        near = suggest(name, known)
        super().__init__(f"{name!r} is not in the catalogue{near} (see `edge-agent models list`)")
        self.name = name
        self.known = tuple(known)


class NotInstalledError(BadInputError):
    """A model of the catalogue is not here; `is_missed`: it is wanted, and was not to be removed."""

    def __init__(self, name: str, directory: Path, *, is_missed: bool = True) -> None:
        pull = as_typed(directory, f"models pull {name}")
        remedy = f"get it with `{pull}`" if is_missed else "there is nothing to remove"
        super().__init__(f"{name} is not in {directory}; {remedy}")
        self.name = name
        self.directory = directory


class PackagedModelError(BadInputError):
    """A model is no file of the models directory: it comes with a Python package."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(
            f"{name} come with the Python package {package}: there is nothing to verify or remove, and no path to set"
        )
        self.name = name
        self.package = package


class NothingRecommendedError(BadInputError):
    """The catalogue has nothing for a language and this board's memory."""

    def __init__(self, language: str, known: Sequence[str]) -> None:
        super().__init__(
            f'the catalogue has nothing for language "{language}" and this board\'s memory; it has models for '
            f"{', '.join(known)}; your own: docs/models.md"
        )
        self.language = language
        self.known = tuple(known)


class ModelInUseError(BadInputError):
    """The configuration names a model that was to be removed."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__(
            f"{name} is named by {key} of the configuration, and the agent would not start without it; "
            "change that first, or use --force"
        )
        self.name = name
        self.key = key


class DownloadError(FaultError):
    """No source gave a file; `reasons` holds one for each source that was asked."""

    def __init__(self, file: str, reasons: Sequence[str], kept_bytes: int) -> None:
        remedy = (
            f" ({kept_bytes / _MIB:.1f} MiB are kept: pull again to go on from there)"
            if kept_bytes
            else "; try it later, or name another place (`edge-agent models pull --mirror URL` or `--from DIRECTORY`)"
        )
        super().__init__(f"{file} can't be had: {'; '.join(reasons)}{remedy}")
        self.file = file
        self.reasons = tuple(reasons)
        self.kept_bytes = kept_bytes


class ArchiveError(FaultError):
    """An archive is broken, or holds what no model needs; nothing of it was put in place."""

    def __init__(self, archive: str, reason: str) -> None:
        super().__init__(f"{archive} is refused: {reason}")
        self.archive = archive
        self.reason = reason


class ProofError(FaultError):
    """A model came whole and does not work; what was there before stays."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} came whole, but does not work and is not put in place: {reason}")
        self.name = name
        self.reason = reason


class RoomError(FaultError):
    """The disk has no room."""

    def __init__(self, directory: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"{directory}: {needed_bytes / _MIB:.0f} MiB are needed and {max(0, free_bytes) / _MIB:.0f} MiB are free; "
            "remove something, or set directories.models to another disk"
        )
        self.directory = directory
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class PlaceError(FaultError):
    """The models directory can't be read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ModelBusyError(BusyError):
    """Another process, or another command, pulls or removes the same model."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)
        self.args = (f"{name} is being pulled or removed by somebody else already; wait for that to end",)
        self.name = name
