"""Starts, feeds and ends the PocketSphinx child; every wait has a bound."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from edge_agent.engines.sphinx_wire import Kind, Unpacker, WireError, pack
from edge_agent.errors import RecognitionError

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE = "pocketsphinx"
_PIPE_BYTES = 1_048_576
"""Half a minute of audio: a chunk is handed over in one go, however long."""
_READ_BYTES = 65_536
_CLOSE_S = 1.0
_LOOK_S = 0.05
"""Between two looks at whether the call is to stop, while the child does not answer."""
_GRACE_S = 0.4
"""A child that answers in time after a stop lives on: a chunk is decoded by then, and a new child costs a load."""
_TIDY_S = 0.3
"""Time for a child that is ended to clean up its files."""


class SphinxProcess:
    """The child, from its start to its end.

    `is_stopped` tells whether the call that runs is to stop; it is looked at while the child does not answer.

    Raises:
        RecognitionError: From every method but `close`, when the child has died, hangs or can't be started; it is
            gone then.
    """

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self._is_stopped = is_stopped
        # Not PR_SET_PDEATHSIG: it fires when the thread that started the child ends, and pool threads come and go.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "edge_agent.engines.sphinx_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
            )
        except OSError as error:
            self._stderr.close()
            raise RecognitionError(ENGINE, f"its process did not start: {error.strerror}") from error
        assert self._child.stdin is not None  # noqa: S101 - both are pipes; tells mypy
        assert self._child.stdout is not None  # noqa: S101
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        with suppress(OSError):  # an unprivileged user may be over the quota for large pipes
            fcntl.fcntl(self._stdin.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._unpacker = Unpacker()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def send(self, kind: Kind, payload: bytes, timeout_s: float) -> None:
        """Send one message, waiting at most `timeout_s` for the child to take it."""
        data = memoryview(pack(kind, payload))
        deadline = time.monotonic() + timeout_s
        while data:
            self._wait(self._stdin.fileno(), select.POLLOUT, deadline)
            try:
                data = data[os.write(self._stdin.fileno(), data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise self._died() from error

    def receive(self, timeout_s: float) -> tuple[Kind, bytes]:
        """Return the next message, waiting at most `timeout_s` for it."""
        deadline = time.monotonic() + timeout_s
        while (message := self._buffered()) is None:
            self._wait(self._stdout.fileno(), select.POLLIN, deadline)
            self._read()
        return message

    def close(self) -> None:
        """End the child within two seconds. May be called twice."""
        with suppress(OSError):
            self._stdin.close()
        try:
            self._child.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._stdout.close()
        self._stderr.close()

    def _buffered(self) -> tuple[Kind, bytes] | None:
        try:
            return self._unpacker.next()
        except WireError as error:
            self.close()
            raise RecognitionError(ENGINE, f"its process sent nonsense: {error}") from error

    def _read(self) -> None:
        try:
            data = os.read(self._stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise self._died()
        self._unpacker.feed(data)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poller = select.poll()
        poller.register(descriptor, event)
        reason = "its process does not answer and was ended"
        stops = False
        while not poller.poll(max(0.0, min(_LOOK_S, deadline - time.monotonic())) * 1000):
            now_s = time.monotonic()
            if not stops and self._is_stopped():
                stops, reason, deadline = True, "was stopped", min(deadline, now_s + _GRACE_S)
            if now_s >= deadline:
                self._end()
                raise RecognitionError(ENGINE, reason)

    def _end(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(_TIDY_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self.close()

    def _died(self) -> RecognitionError:
        """Reap the child and say how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_CLOSE_S)
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        status = self._child.returncode
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        last = f": {lines[-1]}" if lines else ""
        self.close()
        return RecognitionError(ENGINE, f"its process ended by {how}{last}")
