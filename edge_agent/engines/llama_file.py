"""Whether a GGUF file is good, before llama.cpp is let at it in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.engines.probe import probe
from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_PROBE = "edge_agent.engines.llama_probe"
_REMEDY = "download or copy it again, or set llm.model to another GGUF file"
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1 << 20


class ModelFile:
    """A model's file, which is tried in a child process once for as long as it stays what it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._good: tuple[int, int] | None = None

    def check(self) -> None:
        """Refuse a file that llama.cpp can't use, or dies of.

        Raises:
            ModelError: It is absent, incomplete, corrupt, or not a model that continues text.
        """
        check_header(self._path)
        try:
            status = self._path.stat()
        except OSError as error:
            raise broken(self._path, f"can't be read ({error.strerror})") from error
        found = (status.st_size, status.st_mtime_ns)
        if found == self._good:
            return
        if reason := probe(_PROBE, self._path):
            raise broken(self._path, reason)
        self._good = found


def check_header(path: Path) -> None:
    """Refuse at once what is not a GGUF file.

    Raises:
        ModelError: It is absent or something else.
    """
    if not path.is_file():
        raise broken(path, "no such file" if not path.exists() else "is not a file")
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise broken(path, f"can't be read ({error.strerror})") from error
    if header[:4] != _MAGIC:
        raise broken(path, "is not a GGUF file")
    version, tensors, keys = (int.from_bytes(header[a:b], "little") for a, b in ((4, 8), (8, 16), (16, 24)))
    if len(header) < 24:  # noqa: PLR2004 - magic, version and two counts
        raise broken(path, "is incomplete")
    if version not in _VERSIONS:
        raise broken(path, f"has GGUF version {version}, known are 2 and 3")
    if not 0 < tensors < _MOST_ENTRIES or not 0 < keys < _MOST_ENTRIES:
        raise broken(path, "has a corrupt header")


def broken(path: Path, reason: str) -> ModelError:
    """Return the error that refuses the file."""
    return ModelError("GGUF model", path, reason, _REMEDY)
