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
from typing import IO

from edge_agent.engines.sphinx_wire import Kind, Unpacker, WireError, pack
from edge_agent.errors import RecognitionError

ENGINE = "pocketsphinx"
_PIPE_BYTES = 1_048_576
"""Half a minute of audio: a decoder that falls behind for a moment does not hold up the caller."""
_READ_BYTES = 65_536
_CLOSE_S = 1.0


class SphinxProcess:
    """The child, from its start to its end.

    Raises:
        RecognitionError: From every method but `close`, when the child has died, hangs or can't be started; it is
            gone then.
    """

    def __init__(self) -> None:
        # Not PR_SET_PDEATHSIG: it fires when the thread that started the child ends, and pool threads come and go.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.engines.sphinx_worker"],
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

    def poll(self) -> tuple[Kind, bytes] | None:
        """Return the next message if one has come."""
        if (message := self._buffered()) is not None:
            return message
        self._read()
        return self._buffered()

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
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self._child.kill()
            self.close()
            raise RecognitionError(ENGINE, "its process does not answer and was ended")

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
