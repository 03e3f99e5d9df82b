"""Asks a running service through its local socket. Blocking, for the command line."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_ANSWER_BYTES = 8 << 20


def ask_service(paths: Path | Sequence[Path], request: Mapping[str, object], timeout_s: float = 10.0) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the data that the service at the first of `paths` where one listens answers to `request`.

    Raises:
        ServiceError: None answers, or what it answers is that it can't.
    """
    places = [paths] if isinstance(paths, Path) else paths
    deadline_s = time.monotonic() + timeout_s
    absent: list[_AbsentError] = []
    for path in places:
        try:
            connection = _connect(path, timeout_s)
        except _AbsentError as error:
            absent.append(error)
            continue
        with connection:
            return _converse(connection, path, request, deadline_s)
    raise max(absent, key=lambda error: error.weight)


class _AbsentError(ServiceError):
    """Nobody can be asked at one place; another may do. The heaviest of several tells most."""

    def __init__(self, path: Path, reason: str, weight: int) -> None:
        super().__init__(path, reason)
        self.weight = weight


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise _absent(path, error) from error
    return connection


def _absent(path: Path, error: OSError) -> _AbsentError:
    if isinstance(error, ConnectionRefusedError):
        return _AbsentError(path, "the service that had it has ended; start it with `edge-agent run`", 2)
    if isinstance(error, FileNotFoundError):
        return _AbsentError(path, "no service answers; is `edge-agent run` running?", 1)
    if isinstance(error, PermissionError):
        remedy = "you may not use it; join the group: sudo usermod -aG edge-agent $USER, then log in again"
        return _AbsentError(path, remedy, 3)
    if isinstance(error, TimeoutError | BlockingIOError):
        return _AbsentError(path, "the service is too busy to answer; try again", 3)
    return _AbsentError(path, f"can't be used: {error.strerror or error}", 3)


def _converse(connection: socket.socket, path: Path, request: Mapping[str, object], deadline_s: float) -> Any:  # noqa: ANN401
    line = json.dumps(dict(request), ensure_ascii=False).encode() + b"\n"
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # turned away: why is still to be read
            connection.sendall(line)
        answer = _read_line(connection, path, deadline_s)
    except TimeoutError as error:
        raise ServiceError(path, "the service did not answer in time; try again") from error
    except OSError as error:
        raise ServiceError(path, f"the service broke off: {error.strerror or error}; try again") from error
    try:
        reply = json.loads(answer)
        if reply["ok"]:
            return reply["data"]
        message = str(reply["error"]["message"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(path, "what answers is no edge-agent; check --socket") from error
    raise ServiceError(path, message)


def _read_line(connection: socket.socket, path: Path, deadline_s: float) -> bytes:
    """Return the answer up to its newline, within the deadline and a bound on its size."""
    received = bytearray()
    while not received.endswith(b"\n"):
        if len(received) > _MOST_ANSWER_BYTES:
            raise ServiceError(path, "what answers is no edge-agent: it does not stop; check --socket")
        connection.settimeout(max(0.001, deadline_s - time.monotonic()))
        part = connection.recv(1 << 16)
        if not part:
            raise ServiceError(path, "the service broke off without an answer; try again")
        received += part
    return bytes(received)
