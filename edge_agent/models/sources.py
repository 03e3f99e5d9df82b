"""Where a file can be had: a server, a mirror of it, a directory on a disk."""

from __future__ import annotations

import ipaddress
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edge_agent.errors import BadInputError, FaultError
from edge_agent.models.identity import user_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.models.catalog import CatalogFile, CatalogModel


class SourceError(FaultError):
    """A source has not what it should have; asking it again would not help."""

    def __init__(self, source: FileSource | WebSource, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class SourceAddressError(BadInputError):
    """What was given as a mirror or a directory can't be one."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}" if address else reason)
        self.address = address


@dataclass(frozen=True, slots=True)
class WebSource:
    """A file on a server."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def is_trustworthy(self) -> bool:
        """What comes from there is what the server sent: by TLS, or because it is this machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or _is_this_machine(parts.hostname or "")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file in a directory that somebody has put there. Blocking."""

    candidates: tuple[Path, ...]

    def __str__(self) -> str:
        return str(self.candidates[0])

    def size(self) -> int:
        """Return its length.

        Raises:
            SourceError: It is absent, or no file.
        """
        for path in self.candidates:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            except PermissionError as error:
                raise SourceError(self, _unreadable()) from error
            except OSError as error:
                raise SourceError(self, f"can't be read: {error.strerror}") from error
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(self, "is not a file")
            return status.st_size
        raise SourceError(self, "no such file")

    def read(self, offset: int, most_bytes: int) -> bytes:
        """Return a block; an empty one at its end.

        Raises:
            SourceError: It can't be read.
        """
        path = next((path for path in self.candidates if path.exists()), self.candidates[0])
        try:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(opened, most_bytes, offset)
            finally:
                os.close(opened)
        except PermissionError as error:
            raise SourceError(self, _unreadable()) from error
        except OSError as error:
            raise SourceError(self, f"can't be read: {error.strerror}") from error


def sources_of(
    model: CatalogModel, file: CatalogFile, mirrors: Sequence[str] = (), directory: Path | None = None
) -> list[FileSource | WebSource]:
    """Return where to look for a file, in this order: a directory, which then is the only one; mirrors; its own places.

    A mirror has its files under their names, or where `{path}` says: the path at the file's own server. A directory has
    them under their names, or below the kind's name as in a models directory.
    """
    if directory is not None:
        below = (
            directory / file.name,
            directory / model.kind / file.name,
            directory / model.kind / model.id / file.name,
        )
        return [FileSource(below)]
    path = urlsplit(file.urls[0]).path
    own: list[FileSource | WebSource] = [WebSource(url) for url in file.urls]
    return [*(_mirrored(mirror, path, file.name) for mirror in mirrors), *own]


def directory_from(address: str) -> Path:
    """Return the directory that `address`, a path or a file: address, names.

    Raises:
        SourceAddressError: It is neither, or there is no such directory.
    """
    if not address:
        raise SourceAddressError(address, "the directory to pull from is empty: name one, . for the one you are in")
    parts = urlsplit(address)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise SourceAddressError(address, "names another machine; write file:///directory")
        path = Path(unquote(parts.path))
    elif "://" in address:
        raise SourceAddressError(address, "is not a directory; for an address use --mirror")
    else:
        path = Path(address).expanduser()
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise SourceAddressError(address, "is not a directory")
    except PermissionError:
        raise SourceAddressError(address, _unreadable()) from None
    except OSError:
        raise SourceAddressError(address, "no such directory") from None
    if not os.access(path, os.X_OK):
        raise SourceAddressError(address, _unreadable())
    return path


def check_mirror(address: str) -> str:
    """Return the address of a mirror, if it can be one.

    Raises:
        SourceAddressError: It is neither http, https nor file.
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        directory_from(address)
        return address
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SourceAddressError(address, "is not an http, https or file address")
    return address


def _unreadable() -> str:
    return f"can't be read by {user_name()}, as whom models are pulled; let everybody read it (chmod a+rX)"


def _mirrored(mirror: str, path: str, name: str) -> FileSource | WebSource:
    if urlsplit(mirror).scheme == "file":
        return FileSource((directory_from(mirror) / name,))
    if "{path}" in mirror:
        return WebSource(mirror.replace("{path}", path))
    return WebSource(f"{mirror.rstrip('/')}/{name}")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
