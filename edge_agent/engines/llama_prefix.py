"""Keeps the state of a prompt's beginning on disk, so that a restart does not have to evaluate it again."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

_logger = logging.getLogger(__name__)

_MAGIC = b"EAPREFX1"
_HEADER = struct.Struct("<8s32sQ32s")
"""Magic, key, size of the state in bytes, SHA-256 of the state."""
_BLOCK_BYTES = 1 << 20
"""Read, hashed or written in a step."""
_HEAD_BYTES = 1 << 20
"""Of a model's file; holds its metadata, which name its kind, vocabulary and training."""
_ABANDONED_S = 3600.0
_SUFFIX = ".prefix"


def identity(model: Path, *parameters: object) -> bytes:
    """Return what a state depends on beside the tokens: the model's file, and what its context was made with.

    Raises:
        OSError: The file can't be read.
    """
    status = model.stat()
    with model.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    digest = hashlib.sha256(head)
    digest.update(repr((status.st_size, status.st_mtime_ns, *parameters)).encode())
    return digest.digest()


class PrefixStore:
    """States by model and tokens, in one directory, `most_bytes` in all; the least used go first.

    Only what is whole, and was saved for this very key, is returned: anything else is removed and logged. The store
    is a cache: where the disk refuses, that is logged, and the work goes on without it.

    Args:
        directory: Is made when something is saved.
        identity: What `identity` returned.
    """

    def __init__(self, directory: Path, identity: bytes, most_bytes: int = 64 << 20) -> None:
        self._directory = directory
        self._identity = identity
        self._most_bytes = most_bytes

    def holds(self, tokens: Sequence[int]) -> bool:
        """Tell whether there is a file for `tokens`, good or not."""
        return self._path(tokens).is_file()

    def load(self, tokens: Sequence[int]) -> Generator[None, None, bytearray | None]:
        """Return the state after `tokens`, None where there is none; a step a mebibyte."""
        path = self._path(tokens)
        try:
            with path.open("rb") as file:
                header = file.read(_HEADER.size)
                size_bytes = os.fstat(file.fileno()).st_size - len(header)
                digest = self._expected(header, tokens, size_bytes)
                if digest is None:
                    self._refuse(path)
                    return None
                state = bytearray()
                while block := file.read(min(_BLOCK_BYTES, size_bytes - len(state))):
                    state += block
                    yield
        except FileNotFoundError:
            return None
        except OSError as error:
            _logger.warning("%s can't be read: %s", path, error.strerror)
            return None
        actual = hashlib.sha256()
        for at in range(0, len(state), _BLOCK_BYTES):
            actual.update(memoryview(state)[at : at + _BLOCK_BYTES])
            yield
        if actual.digest() != digest:
            self._refuse(path)
            return None
        with contextlib.suppress(OSError):  # a directory that can only be read serves too
            os.utime(path)  # the least used go first
        return state

    def save(self, tokens: Sequence[int], state: bytearray) -> Generator[None, None, None]:
        """Write the state after `tokens`, all of it or nothing; a step a mebibyte."""
        if not state or _HEADER.size + len(state) > self._most_bytes:
            _logger.info("a prefix state of %d bytes is not kept: there is room for %d", len(state), self._most_bytes)
            return
        blocks = [memoryview(state)[at : at + _BLOCK_BYTES] for at in range(0, len(state), _BLOCK_BYTES)]
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
            yield
        path = self._path(tokens)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(_HEADER.pack(_MAGIC, self._key(tokens), len(state), digest.digest()))
                for block in blocks:
                    file.write(block)
                    yield
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            self._make_room(path)
        except OSError as error:
            _logger.warning("%s can't be written: %s", path, error.strerror)
        finally:
            _remove(part)

    def discard(self, tokens: Sequence[int]) -> None:
        """Remove the state after `tokens`, which llama.cpp refused."""
        self._refuse(self._path(tokens))

    def _expected(self, header: bytes, tokens: Sequence[int], size_bytes: int) -> bytes | None:
        """Return the state's checksum, None where the file is not one that was saved for `tokens`, or not all of it."""
        if len(header) != _HEADER.size:
            return None
        magic, key, noted_bytes, digest = _HEADER.unpack(header)
        is_good = (magic, key, noted_bytes) == (_MAGIC, self._key(tokens), size_bytes)
        return bytes(digest) if is_good and 0 < size_bytes <= self._most_bytes else None

    def _refuse(self, path: Path) -> None:
        _logger.warning("%s is damaged or of another model: removed", path)
        _remove(path)

    def _make_room(self, newest: Path) -> None:
        """Remove the least used states, and what a process that died left half written."""
        now_s = time.time()
        left_bytes = self._most_bytes
        listed = sorted(
            ((path.stat(), path) for path in self._directory.iterdir() if path.suffix in {_SUFFIX, ".part"}),
            key=lambda entry: (entry[1] != newest, -entry[0].st_mtime_ns),
        )
        for status, path in listed:
            if path.suffix == ".part":
                if now_s - status.st_mtime > _ABANDONED_S:
                    _remove(path)
                continue
            left_bytes -= status.st_size
            if left_bytes < 0:
                _remove(path)

    def _key(self, tokens: Sequence[int]) -> bytes:
        return hashlib.sha256(self._identity + struct.pack(f"<{len(tokens)}i", *tokens)).digest()

    def _path(self, tokens: Sequence[int]) -> Path:
        return self._directory / f"{self._key(tokens).hex()[:32]}{_SUFFIX}"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _logger.warning("%s can't be removed: %s", path, error.strerror)
