"""What is known of downloaded files: checksums that later downloads and verifications are held to.

`pins.json` names files by the name they are downloaded under. A model that is a directory carries a list of its own
files, so that both change at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from edge_agent.config.section import Section
from edge_agent.models.errors import PlaceError
from edge_agent.models.layout import make_directory, place_errors, write_durably

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.models.layout import ModelsHome

CONTENTS = ".edge-agent.json"
"""In a model's directory: what it holds."""
_MOST_BYTES = 4 << 20


class Pin(Section):
    """One downloaded file."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    source: str = Field("", description="Where it came from.")
    is_published: bool = Field(default=False, description="The checksum was in the catalogue; else the first one seen.")
    pinned_at: str = ""
    mtime_ns: int = Field(0, description="Of the file when it was put in place by itself; 0: it was not.")


class _PinFile(Section):
    version: int = Field(1, ge=1, le=1)
    files: dict[str, Pin] = Field(default_factory=dict)


class Contained(Section):
    """One file of a model's directory."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    mtime_ns: int = 0


class Contents(Section):
    """What a model's directory holds, by relative path."""

    version: int = Field(1, ge=1, le=1)
    downloads: dict[str, str] = Field(default_factory=dict, description="SHA-256 of each file that it was made of.")
    files: dict[str, Contained]

    def write(self, directory: Path) -> None:
        """Write it into the directory. Blocking."""
        with place_errors(directory):
            write_durably(directory / CONTENTS, self.model_dump_json(indent=1).encode())


def read_contents(directory: Path) -> Contents | None:
    """Return what a directory says it holds; None where it says nothing that can be read. Blocking."""
    try:
        with (directory / CONTENTS).open("rb") as file:
            return Contents.model_validate_json(file.read(_MOST_BYTES))
    except (OSError, ValidationError):
        return None


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of a models directory. Blocking; safe among processes."""

    home: ModelsHome

    def read(self) -> Mapping[str, Pin]:
        """Return all pins, by file name.

        Raises:
            PlaceError: They can't be read, or are damaged.
        """
        path = self.home.pins
        try:
            with path.open("rb") as file:
                return _PinFile.model_validate_json(file.read(_MOST_BYTES)).files
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise PlaceError(path, f"can't be read: {error.strerror}") from error
        except ValidationError as error:
            raise PlaceError(path, "is damaged; remove it, and what is pulled next is pinned anew") from error

    def add(self, pins: Mapping[str, Pin]) -> None:
        """Pin more files, or others under the same names.

        Raises:
            PlaceError: They can't be written.
        """
        with self.home.locked("pins", waits=True):
            self._write({**self.read(), **pins})

    def drop(self, names: list[str]) -> None:
        """Forget files.

        Raises:
            PlaceError: The pins can't be written.
        """
        if not self.home.pins.exists():
            return
        with self.home.locked("pins", waits=True):
            self._write({name: pin for name, pin in self.read().items() if name not in names})

    def _write(self, pins: Mapping[str, Pin]) -> None:
        files = {name: pin.model_dump(exclude_defaults=True) for name, pin in sorted(pins.items())}
        with place_errors(self.home.pins):
            make_directory(self.home.root)
            write_durably(self.home.pins, json.dumps({"version": 1, "files": files}, indent=1).encode() + b"\n")


def utc_now() -> str:
    """Return the time of day as it is written into pins."""
    return datetime.now(UTC).isoformat(timespec="seconds")
