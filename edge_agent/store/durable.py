"""The few file operations that something crash-safe is made of, so that tests can cut the power at each of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o600


class DurableFiles(Protocol):
    """Blocking; any thread may call. Each raises OSError where the disk says no."""

    def read(self, path: Path, most_bytes: int) -> bytes:
        """Return a file's first `most_bytes`."""
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Replace what a file holds; until `sync` a power cut may leave any part of it."""
        ...

    def sync(self, path: Path) -> None:
        """Return when the file's content survives a power cut."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, and replace what has it, at once; whether it survives a power cut, see below."""
        ...

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in a directory survive a power cut."""
        ...


class DiskFiles:
    """The real disk. Files are private, and belong to the owner of their directory, root's service or not."""

    def read(self, path: Path, most_bytes: int) -> bytes:
        """See `DurableFiles`."""
        with path.open("rb") as file:
            return file.read(most_bytes)

    def write(self, path: Path, content: bytes) -> None:
        """See `DurableFiles`."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, _MODE), "wb") as file:
            if os.geteuid() == 0:  # an owner's `sudo edge-agent config …` must not lock the service out of its file
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)

    def sync(self, path: Path) -> None:
        """See `DurableFiles`."""
        _sync(path, os.O_RDONLY)

    def rename(self, old: Path, new: Path) -> None:
        """See `DurableFiles`."""
        old.replace(new)

    def sync_directory(self, directory: Path) -> None:
        """See `DurableFiles`."""
        _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    opened = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
