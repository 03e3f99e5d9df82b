"""Where the local socket is: /run/edge-agent where that was installed, else a directory of the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_NAME = "edge-agent.sock"
SYSTEM_DIRECTORY = Path("/run/edge-agent")


@dataclass(frozen=True, slots=True)
class SocketPlace:
    """A socket file: who may use it, and the group that it is given to, None for the process's own."""

    path: Path
    mode: int
    group: str | None


def socket_to_serve(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM_DIRECTORY) -> SocketPlace:
    """Return where a service has its socket: in `system` where it may write there, else in the user's directory."""
    if system.is_dir() and os.access(system, os.W_OK):
        return SocketPlace(system / SOCKET_NAME, 0o660, "edge-agent")
    return SocketPlace(_own_directory(environ) / SOCKET_NAME, 0o600, None)


def sockets_to_ask(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM_DIRECTORY) -> tuple[Path, ...]:
    """Return where a service may answer: the user's own, started from a checkout, then the installed one."""
    return _own_directory(environ) / SOCKET_NAME, system / SOCKET_NAME


def _own_directory(environ: Mapping[str, str]) -> Path:
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "edge-agent")
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "edge-agent")
