"""Stands in for systemd: receives what a service tells on NOTIFY_SOCKET, with the time of each message."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 60


class ServiceManager:
    """The receiving end of sd_notify(3).

    Attributes:
        messages: Each message's fields, with the time at which it came, on the monotonic clock.
    """

    def __init__(self, address: str, received: socket.socket) -> None:
        self.address = address
        self.messages: list[tuple[float, dict[str, str]]] = []
        self._socket = received
        self._thread = threading.Thread(target=self._receive, name="test-service-manager")
        self._thread.start()

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        """Return what systemd sets for a service of Type=notify."""
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def values(self, name: str) -> list[str]:
        """Return all values of a field so far, in order."""
        return [fields[name] for _, fields in list(self.messages) if name in fields]

    def times(self, name: str) -> list[float]:
        """Return when a field came."""
        return [at_s for at_s, fields in list(self.messages) if name in fields]

    def wait_for(self, condition: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> None:
        """Wait until `condition()` holds."""
        end_s = time.monotonic() + within_s
        while not condition():
            told = [fields for _, fields in self.messages if "WATCHDOG" not in fields]
            assert time.monotonic() < end_s, f"{what} did not come within {within_s:g} s: {told[-20:]}"
            time.sleep(0.02)

    def wait_for_status(self, text: str, within_s: float = DEADLINE_S) -> None:
        """Wait until a status holds `text`."""
        self.wait_for(lambda: any(text in status for status in self.values("STATUS")), f"status {text!r}", within_s)

    def close(self) -> None:
        """Receive no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while message := self._socket.recv(65536):
            fields = dict(line.split("=", 1) for line in message.decode().split("\n"))
            self.messages.append((time.monotonic(), fields))


@contextmanager
def service_manager(*, abstract: bool = False) -> Iterator[ServiceManager]:
    """Listen on a socket of its own, by a path or an abstract name."""
    with tempfile.TemporaryDirectory(prefix="edge") as directory:  # a socket's path is short, pytest's are not
        path = str(Path(directory, "notify"))
        received = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        received.bind("\0" + path if abstract else path)
        manager = ServiceManager("@" + path if abstract else path, received)
        try:
            yield manager
        finally:
            manager.close()
