"""Unpacks a model's zip archive into a new directory, and nothing else: archives come from strangers.

All names, kinds and sizes are looked at before the first byte is written.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edge_agent.models.errors import ArchiveError, RoomError
from edge_agent.models.layout import make_directory, open_new, place_errors, remove, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_BLOCK_BYTES = 1 << 20
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_LOCATOR_BYTES = 20
"""Of a zip64 archive; right before the end."""
_END = struct.Struct("<4s4H2LH")
_LONGEST_COMMENT = 0xFFFF
_ENCRYPTED = 1
_READABLE = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may be; a small Vosk model has some twenty files and grows by less than three times.

    Attributes:
        listing_bytes: Length of its table of contents, which is read into memory whole.
        ratio: Times that all of it may grow; each file may by ten times that, since some are all zeros.
    """

    files: int = 1000
    listing_bytes: int = 1 << 20
    total_bytes: int = 1 << 30
    ratio: int = 20
    depth: int = 8
    name_bytes: int = 255


def unpack_steps(
    archive: Path,
    directory: Path,
    *,
    free_bytes: Callable[[Path], int],
    reserve_bytes: int = 0,
    bounds: Bounds | None = None,
) -> Generator[tuple[int, int], None, None]:
    """Unpack what is below the archive's one top directory into `directory`, which is new then, and on the disk.

    Yields bytes done and bytes in all after each block. Blocking.

    Raises:
        ArchiveError: It is broken, or holds what no model needs.
        RoomError: The disk has no room for what it holds.
        PlaceError: The directory can't be written.
    """
    with place_errors(directory):
        remove(directory)
        make_directory(directory)
    with place_errors(archive), _archive_errors(archive.name), archive.open("rb") as file:
        _check_end(file.fileno(), archive.name, bounds or Bounds())
        with zipfile.ZipFile(file) as opened:
            listed = opened.infolist()
            _check(archive.name, listed, archive.stat().st_size, bounds or Bounds())
            total = sum(entry.file_size for entry in listed)
            if free_bytes(directory) < total + reserve_bytes:
                raise RoomError(directory, total + reserve_bytes, free_bytes(directory))
            done = 0
            for entry in listed:
                target = directory.joinpath(*PurePosixPath(entry.filename).parts[1:])
                if entry.is_dir():
                    make_directory(target)
                    continue
                make_directory(target.parent)
                with opened.open(entry) as source, os.fdopen(open_new(target), "wb") as written:
                    while block := source.read(_BLOCK_BYTES):
                        written.write(block)
                        done += len(block)
                        yield done, total
                    written.flush()
                    os.fsync(written.fileno())
    with place_errors(directory):
        for path in [*(path for path in directory.rglob("*") if path.is_dir()), directory]:
            sync(path)


@contextmanager
def _archive_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError) as error:
        raise ArchiveError(name, f"it is broken ({_one_line(error)})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(name, "it is broken (it points outside of itself)") from error


def _one_line(error: Exception) -> str:
    return " ".join(ascii(str(error)).split())[:120]


def _check_end(opened: int, name: str, bounds: Bounds) -> None:
    """Look at the table of contents' length before `zipfile` reads it all.

    Raises:
        ArchiveError: There is none, or it is too long.
    """
    size = os.fstat(opened).st_size
    tail_bytes = min(size, _END.size + _LONGEST_COMMENT)
    tail = os.pread(opened, tail_bytes, size - tail_bytes)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        raise ArchiveError(name, "it is no zip archive, or its end is missing")
    before = size - tail_bytes + at - _LOCATOR_BYTES
    if before >= 0 and os.pread(opened, len(_LOCATOR_SIGNATURE), before) == _LOCATOR_SIGNATURE:
        raise ArchiveError(name, "it is a zip64 archive, for more than any model has")  # has a second, unbounded length
    *_, listing_bytes, _offset, _comment = _END.unpack_from(tail, at)
    if listing_bytes > bounds.listing_bytes:
        raise ArchiveError(name, f"its table of contents is longer than {bounds.listing_bytes} bytes")


def _check(name: str, listed: Sequence[zipfile.ZipInfo], archive_bytes: int, bounds: Bounds) -> None:
    if len(listed) > bounds.files:
        raise ArchiveError(name, f"it holds more than {bounds.files} files")
    files, directories, tops = set[PurePosixPath](), set[PurePosixPath](), set[str]()
    for entry in listed:
        path = _checked_path(name, entry, bounds)
        tops.add(path.parts[0])
        if path in files or (not entry.is_dir() and path in directories):
            raise ArchiveError(name, f"it holds {entry.filename!r} twice")
        if entry.is_dir():
            directories.add(path)
        else:
            files.add(path)
        directories.update(path.parents)
        if clash := next((parent for parent in path.parents if parent in files), None):
            raise ArchiveError(name, f"{str(clash)!r} is a file and a directory in it")
        if entry.file_size > max(entry.compress_size, 1) * bounds.ratio * 10:
            raise ArchiveError(name, f"{entry.filename!r} grows out of all proportion")
    if files & directories:
        raise ArchiveError(name, f"{str(min(files & directories))!r} is a file and a directory in it")
    if len(tops) != 1 or not files:
        raise ArchiveError(name, "a model's archive holds one directory with its files")
    total = sum(entry.file_size for entry in listed)
    if total > bounds.total_bytes or total > archive_bytes * bounds.ratio:
        raise ArchiveError(name, f"it would grow to {total} bytes from {archive_bytes}")


def _checked_path(name: str, entry: zipfile.ZipInfo, bounds: Bounds) -> PurePosixPath:
    # `orig_filename` is what is written there; `filename` ends at a zero byte, with backslashes turned on Windows.
    text = entry.orig_filename
    shown = repr(text[:80])
    parts = text.rstrip("/").split("/")
    if text.startswith(("/", "\\")) or "\\" in text or ":" in parts[0]:
        raise ArchiveError(name, f"{shown} is an absolute path, or one of another system")
    if any(part in {"", ".", ".."} for part in parts):
        raise ArchiveError(name, f"{shown} leads out of the directory, or nowhere")
    if not text.isprintable() or any(len(part.encode()) > bounds.name_bytes for part in parts):
        raise ArchiveError(name, f"{shown} is no name for a file")
    if len(parts) > bounds.depth:
        raise ArchiveError(name, f"{shown} lies deeper than {bounds.depth} directories")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG}:
        raise ArchiveError(name, f"{shown} is a link, a device or the like")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(name, f"{shown} is encrypted")
    if entry.compress_type not in _READABLE:
        raise ArchiveError(name, f"{shown} is compressed in a way that is not read")
    return PurePosixPath(*parts)
