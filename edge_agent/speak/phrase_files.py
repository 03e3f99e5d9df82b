"""Rendered sentences as files: private, checked when read, bounded by bytes. Blocking; any thread may call."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.audio import AudioChunk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAGIC = b"EdgePhr1"
_DIGEST_BYTES = 16
_HEAD = struct.Struct(f"<{len(_MAGIC)}s{_DIGEST_BYTES}sI")
"""Magic, checksum of all that follows it, length of the JSON that follows; then that, then the samples."""
_NAME = re.compile(r"[0-9a-f]{32}\.phrase(\.new)?")
_BLOCK_BYTES = 4096
"""What a file takes on the card is a multiple of this; it also bounds their number."""


@dataclass(frozen=True, slots=True)
class PhraseKey:
    """What a rendering depends on.

    Attributes:
        voice: Engine, voice and every setting that changes the sound.
        text: The sentence as it was given to the voice.
    """

    voice: str
    text: str


class PhraseFiles:
    """A directory of renderings, the least lately used deleted first.

    A file that is damaged or another sentence's is deleted and counts as absent. Nothing is synced: what
    a power cut destroys is rendered again. Files of other names are left alone.

    Args:
        directory: Is made where it is missing.
        most_bytes: What the files may take together.
    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._sizes: dict[str, int] | None = None
        self.size_bytes = 0
        self.evicted = 0
        self.damaged = 0

    @property
    def entries(self) -> int:
        """Files that there are; 0 before the directory was first looked at."""
        return len(self._sizes or ())

    def load(self, key: PhraseKey) -> tuple[AudioChunk, ...] | None:
        """Read a rendering; None where there is none.

        Raises:
            OSError: The disk failed.
        """
        name = _name(key)
        with self._lock:
            if name not in self._known():
                return None
        path = self._directory / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if (chunks := _decode(content, key)) is None:
            with self._lock:
                self._delete(name)
                self.damaged += 1
            return None
        with suppress(OSError):  # only the order of use suffers, for example on a card that became read-only
            os.utime(path)
        with self._lock:
            sizes = self._known()
            if name in sizes:
                sizes[name] = sizes.pop(name)
        return chunks

    def save(self, key: PhraseKey, chunks: Sequence[AudioChunk]) -> None:
        """Write a rendering in one piece, after old ones made room for it.

        Raises:
            OSError: The disk is full or failed.
        """
        name = _name(key)
        content = _encode(key, chunks)
        size_bytes = _on_disk(len(content))
        if size_bytes > self._most_bytes:
            return
        with self._lock:
            self._known()
            self._delete(name)
            self._make_room(size_bytes)
            self.size_bytes += size_bytes
        new = self._directory / f"{name}.new"
        try:
            self._write(new, content)
            with self._lock:
                new.replace(self._directory / name)
                self._known()[name] = size_bytes
        except BaseException:
            with self._lock:
                self.size_bytes -= size_bytes
            new.unlink(missing_ok=True)
            raise

    def _write(self, path: Path, content: bytes) -> None:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(content)

    # All that follows is called under the lock.

    def _known(self) -> dict[str, int]:
        """Return sizes by name, the least lately used first; looks at the directory the first time."""
        if self._sizes is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found: list[tuple[int, str, int]] = []
            for entry in os.scandir(self._directory):
                if match := _NAME.fullmatch(entry.name):
                    if match[1]:
                        (self._directory / entry.name).unlink(missing_ok=True)  # a write that was cut off
                    else:
                        status = entry.stat()
                        found.append((status.st_mtime_ns, entry.name, _on_disk(status.st_size)))
            self._sizes = {name: size_bytes for _, name, size_bytes in sorted(found)}
            self.size_bytes = sum(self._sizes.values())
            self._make_room(0)
        return self._sizes

    def _make_room(self, size_bytes: int) -> None:
        sizes = self._known()
        while sizes and self.size_bytes + size_bytes > self._most_bytes:
            self._delete(next(iter(sizes)))
            self.evicted += 1

    def _delete(self, name: str) -> None:
        size_bytes = self._known().pop(name, None)
        if size_bytes is not None:
            self.size_bytes -= size_bytes
            (self._directory / name).unlink(missing_ok=True)


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


def _name(key: PhraseKey) -> str:
    both = f"{len(key.voice)}:{key.voice}{key.text}".encode()
    return hashlib.blake2b(both, digest_size=_DIGEST_BYTES).hexdigest() + ".phrase"


def _encode(key: PhraseKey, chunks: Sequence[AudioChunk]) -> bytes:
    about = json.dumps(
        {"voice": key.voice, "text": key.text, "chunks": [[chunk.rate_hz, len(chunk.pcm)] for chunk in chunks]}
    ).encode()
    body = b"".join((about, *(chunk.pcm for chunk in chunks)))
    return _HEAD.pack(_MAGIC, _digest(len(about), body), len(about)) + body


def _decode(content: bytes, key: PhraseKey) -> tuple[AudioChunk, ...] | None:
    """Return the chunks; None where the file is damaged or another sentence's."""
    if len(content) < _HEAD.size:
        return None
    magic, digest, length = _HEAD.unpack_from(content)
    if magic != _MAGIC or digest != _digest(length, content[_HEAD.size :]):
        return None
    at = _HEAD.size + length
    about = json.loads(content[_HEAD.size : at])
    if (about["voice"], about["text"]) != (key.voice, key.text):
        return None
    chunks: list[AudioChunk] = []
    for rate_hz, size_bytes in about["chunks"]:
        chunks.append(AudioChunk(content[at : at + size_bytes], rate_hz))
        at += size_bytes
    return tuple(chunks)


def _digest(length: int, body: bytes) -> bytes:
    digest = hashlib.blake2b(length.to_bytes(4, "little"), digest_size=_DIGEST_BYTES)
    digest.update(body)
    return digest.digest()
