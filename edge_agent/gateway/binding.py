"""Takes the socket's file for this process, and gives it back. Blocking: call it on a pool."""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import SocketError
from edge_agent.gateway.places import SOCKET_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.gateway.places import SocketPlace

_LONGEST_PATH_BYTES = 107
"""unix(7): sun_path has 108 bytes, the closing zero included."""
_WAITING_CONNECTIONS = 16
_LOCK_TRIES = 100
_LOCK_PAUSE_S = 0.01
"""Binding takes microseconds; who holds the lock for longer is no service, and must not hang one."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A listening, non-blocking socket and the file that it has; `identity` tells that one from a later one."""

    listener: socket.socket
    path: Path
    identity: tuple[int, int, int]


def bind(place: SocketPlace) -> Binding:
    """Listen at `place`.

    A file that a service left behind is replaced. The file appears with its mode and its listener at once, so that
    nobody meets a half-made one.

    Raises:
        SocketError: Another process serves it, or the file can't be made.
    """
    path = place.path
    # In the same directory, so that it can be renamed; each process has its own.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if len(os.fsencode(draft)) > _LONGEST_PATH_BYTES:
        raise SocketError(path, "the path is too long for a socket; set XDG_RUNTIME_DIR to a shorter one")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_one(path.parent):
            _refuse_live(path)
            return _listen(place, draft)
    except OSError as error:
        raise SocketError(path, f"can't be made: {error.strerror or error}") from error


def release(binding: Binding) -> None:
    """Remove the file where it is still the binding's own: somebody may have replaced it by hand.

    Raises:
        SocketError: It can't be removed.
    """
    try:
        if _identity(binding.path) == binding.identity:
            binding.path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketError(binding.path, f"can't be removed: {error.strerror or error}") from error


def _listen(place: SocketPlace, draft: Path) -> Binding:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        draft.unlink(missing_ok=True)
        listener.bind(str(draft))
        draft.chmod(place.mode)
        _give_to(draft, place.group)
        listener.listen(_WAITING_CONNECTIONS)
        listener.setblocking(False)  # noqa: FBT003 - socket's own signature
        identity = _identity(draft)
        draft.replace(place.path)
    except BaseException:
        listener.close()
        draft.unlink(missing_ok=True)
        raise
    return Binding(listener, place.path, identity)


def _identity(path: Path) -> tuple[int, int, int]:
    """Return what no other file has: a number alone is given to the next one as soon as it is free."""
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _give_to(path: Path, group: str | None) -> None:
    """Hand the file to `group` where there is one; a service that runs in that group already needs nothing."""
    if group is None:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    if path.stat().st_gid != number:
        os.chown(path, -1, number)


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: two services that start at once look and bind one after the other."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
            else:
                break
        else:
            raise SocketError(directory / SOCKET_NAME, "another process locks its directory; stop that one first")
        yield
    finally:
        os.close(descriptor)


def _refuse_live(path: Path) -> None:
    """Raise where somebody listens at `path`, or where it is no socket."""
    if not path.is_socket():
        if path.exists():
            raise SocketError(path, "is no socket; move it away")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - socket's own signature
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind
        except BlockingIOError:  # its queue of connections is full: it lives
            raise SocketError(path, "another service has it; stop that one first") from None
        number = peer_pid(probe)
    raise SocketError(path, f"another service has it, process {number}; stop that one first")


def peer_pid(connection: socket.socket) -> int:
    """Return the process at the other end: for a client the one that listens (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[0])
