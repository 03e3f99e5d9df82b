"""Checksums of files, a block at a time so that the work can be stopped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_BLOCK_BYTES = 1 << 20


@dataclass(slots=True)
class Digests:
    """A file's checksums; whole when `digest_steps` has ended."""

    sha256: str = ""
    md5: str = ""
    size_bytes: int = 0


def digest_steps(path: Path, found: Digests) -> Generator[int, None, None]:
    """Read a file from the disk and put its checksums into `found`; yield the bytes read so far. Blocking.

    Raises:
        OSError: It can't be read.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            sha256.update(block)
            md5.update(block)
            found.size_bytes += len(block)
            yield found.size_bytes
    found.sha256, found.md5 = sha256.hexdigest(), md5.hexdigest()
