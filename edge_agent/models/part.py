"""A file on its way: what came of it so far, and from where, so that a later pull goes on. Blocking."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.models.errors import RoomError
from edge_agent.models.layout import open_new, place_errors, remove, write_durably

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST_ORIGIN_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part came from.

    Attributes:
        validator: What tells whether the file there is still the same: a strong ETag or a date; empty: nothing does.
    """

    url: str
    validator: str


@dataclass(frozen=True, slots=True)
class Part:
    """The file below `.pull/`. Each method opens and closes it: a job that is given up leaves nothing open.

    Attributes:
        reserve_bytes: What writing leaves free on the disk: a full one would take the whole device down.
        free_bytes: Tells what is free on the disk of a directory.
    """

    path: Path
    reserve_bytes: int
    free_bytes: Callable[[Path], int]

    @property
    def size_bytes(self) -> int:
        """What is there; 0 where nothing is."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def origin(self) -> Origin | None:
        """Return where it came from, where that is known."""
        try:
            with self._origin_file.open("rb") as file:
                found = json.loads(file.read(_MOST_ORIGIN_BYTES))
            return Origin(str(found["url"]), str(found["validator"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def begin(self, origin: Origin) -> None:
        """Begin anew, from `origin`.

        Raises:
            PlaceError: It can't be written.
        """
        with place_errors(self.path):
            os.close(open_new(self.path))
            text = json.dumps({"url": origin.url, "validator": origin.validator})
            write_durably(self._origin_file, text.encode())

    def write(self, offset: int, block: bytes) -> None:
        """Write a block where it belongs.

        Raises:
            RoomError: The disk is full, or nearly.
            PlaceError: It can't be written.
        """
        directory = self.path.parent
        with place_errors(self.path):
            if self.free_bytes(directory) < len(block) + self.reserve_bytes:
                raise RoomError(directory, len(block) + self.reserve_bytes, self.free_bytes(directory))
            try:
                with os.fdopen(open_new(self.path, keeps=True), "wb") as file:
                    file.seek(offset)
                    file.write(block)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    raise RoomError(directory, len(block), self.free_bytes(directory)) from error
                raise

    def drop(self) -> None:
        """Remove it.

        Raises:
            PlaceError: It can't be.
        """
        with place_errors(self.path):
            remove(self.path)
            remove(self._origin_file)

    @property
    def _origin_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.origin")
