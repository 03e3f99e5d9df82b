"""Tells the service manager how the service is doing: the protocol of sd_notify(3), by datagrams of our own.

Not through systemd-python: libsystemd's call blocks for as long as the manager's queue is full, and this is called on
the event loop. The protocol is a few lines of text, documented, and stable since systemd 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_MICROSECONDS = 1_000_000
_MOST_STATUS = 500
"""Characters of a status; `systemctl status` shows a line."""


class Notifier:
    """Sends what the service manager is to know; does nothing where there is none. Never blocks.

    Args:
        address: Of the manager's socket, `@` for an abstract one; None: nobody wants to know.
        watchdog_s: How often the manager wants a sign of life; None: not at all.

    Attributes:
        watchdog_s: The same.
        unsent: Messages that the manager's queue did not take.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._complained = False
        self.watchdog_s = watchdog_s if address is not None else None
        self.unsent = 0
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0)  # a full queue is no reason to wait

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> Self:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; a value that makes no sense counts as absent."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address:
            return cls(None)
        if address[0] not in "/@" or len(address) == 1:
            _log.warning("NOTIFY_SOCKET=%r is no socket that is known here: nobody is told anything", address[:80])
            return cls(None)
        return cls(address, _watchdog_s(environ, os.getpid() if pid is None else pid))

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self, status: str) -> bool:
        """The start, or a change, is done. Returns whether that was sent, or there is nobody to tell."""
        return self._send("READY=1", _status(status))

    def reloading(self, status: str) -> bool:
        """The configuration is being changed; `ready` follows."""
        return self._send("RELOADING=1", _status(status))

    def stopping(self, status: str) -> bool:
        """The service ends."""
        return self._send("STOPPING=1", _status(status))

    def status(self, status: str) -> bool:
        """Say in one line what goes on."""
        return self._send(_status(status))

    def extend(self, seconds: float) -> bool:
        """What goes on, a start or a stop, takes up to `seconds` longer, counted from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def feed(self) -> bool:
        """All is well: the watchdog's sign of life."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if self._socket is None or self._address is None:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except BlockingIOError:
            self.unsent += 1
            return False
        except OSError as error:
            self.unsent += 1
            if not self._complained:
                self._complained = True
                _log.warning("the service manager is not told anything: %s", error.strerror or error)
            return False
        self._complained = False
        return True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:_MOST_STATUS]


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog's interval where it is for this process; see sd_watchdog_enabled(3)."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    with contextlib.suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        if microseconds > 0:
            return microseconds / _MICROSECONDS
    return None
