"""Where a model's files are below the models directory, and how files are put there so that no reader sees half a one.

    vosk/<id>/…               an unpacked archive
    piper/<id>/<id>.onnx      with <id>.onnx.json beside it; both may also lie in piper/ itself
    llm/<id>.gguf
    pins.json                 what was downloaded: checksums
    .pull/<id>/               what is on its way: parts, what is unpacked and not yet proved
    .pull/<id>.lock

Everything here blocks, and is done as the directory's owner (`identity`), never as root in somebody else's.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.models.errors import ModelBusyError, PlaceError
from edge_agent.models.identity import user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.models.catalog import CatalogModel

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
"""Models are no secret, and whoever reads them need not be who fetched them."""


@dataclass(frozen=True, slots=True)
class ModelsHome:
    """A models directory; it need not exist."""

    root: Path

    def target(self, model: CatalogModel) -> Path:
        """Return what is put in place: a directory, or for a language model its file."""
        match model.kind:
            case "vosk" | "piper":
                return self.root / model.kind / model.id
            case _:
                return self.root / "llm" / f"{model.id}.gguf"

    def find(self, model: CatalogModel) -> Path | None:
        """Return what an engine would be given, where it is here: a directory, an .onnx file, a .gguf file."""
        match model.kind:
            case "vosk":
                places = [self.root / "vosk" / model.id]
            case "piper":
                places = [self.root / "piper" / part / f"{model.id}.onnx" for part in (model.id, ".")]
            case _:
                places = [self.root / "llm" / f"{model.id}.gguf"]
        return next((place for place in places if place.exists()), None)

    @property
    def pins(self) -> Path:
        """The file of checksums."""
        return self.root / "pins.json"

    def work(self, model: CatalogModel) -> Path:
        """Return the directory of what is on its way."""
        return self.root / ".pull" / model.id

    @contextmanager
    def locked(self, name: str, *, waits: bool = False) -> Iterator[None]:
        """Hold a lock among all processes; the kernel lets go of it when its holder dies.

        Raises:
            ModelBusyError: Somebody else has it.
            PlaceError: The directory can't be written.
        """
        path = self.root / ".pull" / f"{name}.lock"
        with place_errors(path):
            make_directory(path.parent)
            while True:
                opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
                except BlockingIOError:
                    os.close(opened)
                    raise ModelBusyError(name) from None
                except BaseException:
                    os.close(opened)
                    raise
                if _is_still(path, opened):
                    break
                os.close(opened)  # its last holder has removed it
        try:
            yield
        finally:
            with place_errors(path):
                path.unlink(missing_ok=True)
                os.close(opened)


@contextmanager
def place_errors(path: Path) -> Iterator[None]:
    """Raise what the system says of files as PlaceError."""
    try:
        yield
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else path
        remedy = f" for {user_name()}; run it with sudo, or give that user the directory"
        raise PlaceError(where, f"{error.strerror or error}{remedy if error.errno in _FORBIDDEN else ''}") from error


_FORBIDDEN = (errno.EACCES, errno.EPERM)


def make_directory(path: Path) -> None:
    """Make a directory and what it lies in."""
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fchmod(opened, _DIRECTORY_MODE)
        finally:
            os.close(opened)
        sync(directory.parent)


def open_new(path: Path, *, keeps: bool = False) -> int:
    """Open a file for writing, made where there is none and emptied unless it `keeps` what it has; return it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    opened = os.open(path, flags if keeps else flags | os.O_TRUNC, _FILE_MODE)
    os.fchmod(opened, _FILE_MODE)
    return opened


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file, at once and for good."""
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(open_new(part), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)


def put_in_place(new: Path, target: Path) -> None:
    """Let `target` be what `new` is, at once: whoever looks, and after a power cut, sees the old one or the new one.

    `new` then is what was there before, or nothing. A directory takes the place of a directory by an exchange of names
    (renameat2(2)); where the file system knows none, the old one is moved away first, and back if that goes wrong.
    """
    make_directory(target.parent)
    if new.is_dir() and target.is_dir() and not target.is_symlink():
        if not _exchange(new, target):
            aside = new.with_name(f"{new.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
            try:
                new.rename(target)
            except OSError:
                aside.rename(target)
                raise
            aside.rename(new)
    else:
        new.replace(target)
    sync(target.parent)
    sync(new.parent)


def sync(path: Path) -> None:
    """Return when a file, or the names in a directory, survive a power cut."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_still(path: Path, opened: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(opened)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _exchange(one: Path, other: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done == 0:
        return True
    if (number := ctypes.get_errno()) in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(number, os.strerror(number), str(other))
