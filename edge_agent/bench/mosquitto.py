"""A real mosquitto on the loopback interface, for benchmarks and tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge_agent.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
_READY_S = 10.0
_LOOK_EVERY_S = 0.01


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """What a TLS listener needs: PEM files, and whether clients must show a certificate."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    wants_certificate: bool = False


class Mosquitto:
    """A broker that can be killed, frozen and started again on the same ports. Blocking.

    Args:
        directory: Its own; files are written there.
        tls: Adds a second listener.
        users: Names and passwords; without them anybody may connect.
        acl: Lines of an access control file.
        is_persistent: Keep what was saved by `save` over a kill. Mosquitto acknowledges a message before it is in the
            file, whatever `autosave_interval` says (2.0: `persist__backup` runs at the end of the main loop's round),
            so no setting makes what it holds in memory survive SIGKILL.
        extra: Further lines of the configuration.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: BrokerTls | None = None,
        users: Mapping[str, str] | None = None,
        acl: Sequence[str] = (),
        is_persistent: bool = False,
        extra: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.tls_port = _free_port() if tls else 0
        lines = ["user root", "per_listener_settings false"]
        if users:
            lines += ["allow_anonymous false", f"password_file {self._write_users(users)}"]
        else:
            lines.append("allow_anonymous true")
        if acl:
            lines.append(f"acl_file {self._write('acl', acl)}")
        if is_persistent:
            lines += ["persistence true", f"persistence_location {directory}/", "autosave_interval 0"]
        else:
            lines.append("persistence false")
        lines += [*extra, f"listener {self.port} 127.0.0.1"]
        if tls:
            lines += [
                f"listener {self.tls_port} 127.0.0.1",
                f"cafile {tls.ca_file}",
                f"certfile {tls.certificate_file}",
                f"keyfile {tls.key_file}",
                f"require_certificate {str(tls.wants_certificate).lower()}",
            ]
        self._conf = self._write("mosquitto.conf", lines)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @staticmethod
    def is_installed() -> bool:
        """Whether there is a mosquitto on this machine."""
        return shutil.which("mosquitto", path=_PLACES) is not None

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running.pid

    def start(self) -> None:
        """Start, and return when it listens.

        Raises:
            ServiceError: It is not installed, or does not listen in time.
        """
        command = shutil.which("mosquitto", path=_PLACES)
        if command is None:
            raise ServiceError(self._directory, "mosquitto is not installed; run: apt install mosquitto")
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([command, "-c", str(self._conf)], stdout=log, stderr=log)  # noqa: S603 - its path is known
        until_s = time.monotonic() + _READY_S
        for port in filter(None, (self.port, self.tls_port)):
            while not _listens(port):
                if self._process.poll() is not None or time.monotonic() > until_s:
                    self.stop()
                    raise ServiceError(self._directory / "mosquitto.log", "mosquitto does not listen; see its log")
                time.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """End it, as if its power was cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Let it shut down, which saves what is persistent."""
        self._running.terminate()
        self._running.wait()
        self._process = None

    def freeze(self) -> None:
        """Let it answer nothing, with all connections open."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._running.send_signal(signal.SIGCONT)

    def save(self) -> None:
        """Have sessions and messages written to the file, and return when they are."""
        path = self._directory / "mosquitto.db"
        before_ns = path.stat().st_mtime_ns if path.exists() else 0
        self._running.send_signal(signal.SIGUSR1)
        until_s = time.monotonic() + _READY_S
        while not (path.exists() and path.stat().st_mtime_ns != before_ns):
            if time.monotonic() > until_s:
                raise ServiceError(path, "mosquitto does not save; see its log")
            time.sleep(_LOOK_EVERY_S)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError(self._directory, "mosquitto was not started")
        return self._process

    def _write(self, name: str, lines: Sequence[str]) -> Path:
        path = self._directory / name
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _write_users(self, users: Mapping[str, str]) -> Path:
        path = self._write("passwords", [f"{name}:{password}" for name, password in users.items()])
        command = shutil.which("mosquitto_passwd", path=_PLACES) or "mosquitto_passwd"
        subprocess.run([command, "-U", str(path)], check=True, capture_output=True)  # noqa: S603 - its path is known
        return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
