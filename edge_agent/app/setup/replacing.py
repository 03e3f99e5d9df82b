"""Files that are replaced whole or not at all, keep their owner and mode, and leave the one before beside them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.setup.errors import NotSavedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BACKUP_SUFFIX = ".bak"
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose a file is to be, and who may use it; `uid` and `gid` -1: whoever makes it."""

    mode: int
    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class NewContent:
    """What a file is to hold.

    Attributes:
        path: Is no link: the file itself is replaced.
        content: None: the file is to go.
        ownership: For a file that is new; one that is there keeps its own.
        keeps_backup: What was there before is kept as `<name>.bak`.
        is_secret: Its mode and owner are those of `ownership` whatever they were.
    """

    path: Path
    content: bytes | None
    ownership: Ownership
    keeps_backup: bool = False
    is_secret: bool = False


def replace_all(files: Sequence[NewContent]) -> list[Path]:
    """Give each file its content and return the paths of those that changed; all of it is on disk then. Blocking.

    Everything is written beside the files first, so that a full disk changes nothing; then they are renamed, in their
    order. Whatever happens, each file holds what it held or what it is to hold.

    Raises:
        NotSavedError: One can't be written.
    """
    due = [file for file in files if _holds(file) is not True]
    written: list[tuple[Path, Path]] = []
    try:
        for file in due:
            written += _prepare(file)
        while written:
            temporary, path = written[0]
            try:
                temporary.replace(path)
            except OSError as error:
                raise NotSavedError(path, error.strerror or str(error)) from error
            written.pop(0)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    for file in due:
        if file.content is None:
            file.path.unlink(missing_ok=True)
    for directory in {file.path.parent for file in due}:
        _sync_directory(directory)
    return [file.path for file in due]


def _holds(file: NewContent) -> bool:
    """Tell whether a file is as it is to be already."""
    try:
        content = file.path.read_bytes()
        mode = stat.S_IMODE(file.path.stat().st_mode)
    except FileNotFoundError:
        return file.content is None
    except OSError as error:
        raise NotSavedError(file.path, error.strerror or str(error)) from error
    return content == file.content and (not file.is_secret or mode == file.ownership.mode)


def _prepare(file: NewContent) -> list[tuple[Path, Path]]:
    """Write what is to be renamed, and return each temporary file with its place."""
    if file.content is None:
        return []
    written = []
    try:
        before = file.path.stat() if file.path.exists() and not file.is_secret else None
        ownership = file.ownership
        if before is not None:
            ownership = Ownership(stat.S_IMODE(before.st_mode), before.st_uid, before.st_gid)
        file.path.parent.mkdir(mode=0o700 if file.is_secret else 0o755, parents=True, exist_ok=True)
        if before is not None and file.keeps_backup:
            backup = file.path.with_name(file.path.name + BACKUP_SUFFIX)
            written.append((_write(backup, file.path.read_bytes(), ownership), backup))
        written.append((_write(file.path, file.content, ownership), file.path))
    except OSError as error:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
        raise NotSavedError(file.path, error.strerror or str(error)) from error
    return written


def _write(path: Path, content: bytes, ownership: Ownership) -> Path:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of a run that lost its power
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, _PRIVATE), "wb") as file:
            os.fchown(file.fileno(), ownership.uid, ownership.gid)
            os.fchmod(file.fileno(), ownership.mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
