"""Runs a command-line synthesizer and streams the WAV file it writes to its standard output."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from edge_agent.audio import SAMPLE_BYTES, AudioChunk
from edge_agent.errors import EngineError, SynthesisError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

CHUNK_S = 0.1
_FORMAT = b"fmt "
_DATA = b"data"
_HEADER_LIMIT_BYTES = 4096
_PCM = 1
_LONGEST_WORD = 48
"""Flite's time for an unknown word grows with its length squared: 100 letters took 0.7 s, 10,000 over 100 s."""
_MANGLED = re.compile(rf"\S{{{_LONGEST_WORD}}}(?=\S)")


class ChildStop:
    """Ends the child process that renders for one job, now or as soon as there is one.

    Signals are sent and the child is reaped under one lock, so that no signal ever goes to a number that the system
    has given to another process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self.is_set = False

    def set(self) -> None:
        """End it, with what it has started. Any thread."""
        with self._lock:
            self.is_set = True
            self._kill()

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """End `child`, which leads a process group, once this is set."""
        with self._lock:
            self._child = child
            if self.is_set:
                self._kill()

    def reap(self) -> int | None:
        """Return the child's exit status, None while it runs."""
        with self._lock:
            return self._child.poll() if self._child is not None else None

    def end(self) -> None:
        """Kill and reap the child; it is not watched any more."""
        with self._lock:
            self._kill()
            child, self._child = self._child, None
        if child is not None:
            child.wait()

    def _kill(self) -> None:
        if self._child is not None and self._child.returncode is None:
            os.killpg(self._child.pid, signal.SIGKILL)  # not reaped yet, so that the number is still its own


@dataclass(frozen=True, slots=True)
class WavCommand:
    """A command that renders text to a WAV file on its standard output.

    Attributes:
        program: Name of the command, looked up in PATH.
        package: Debian package that holds it.
        timeout_s: Longest time spent waiting for the command on one piece of text; while nobody pulls, no time counts.
    """

    program: str
    package: str
    timeout_s: float = 20.0

    def require(self) -> None:
        """Check that the command is installed.

        Raises:
            EngineError: It is not in PATH; the message names the package.
        """
        if shutil.which(self.program) is None:
            raise EngineError(
                self.program, f"the command {self.program!r} is not installed; `apt install {self.package}`"
            )

    def query(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end and return what it said.

        Raises:
            EngineError: It is not installed, or does not answer in time.
        """
        self.require()
        try:
            return subprocess.run(  # noqa: S603 - no shell; arguments are single words
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(self.program, f"did not answer within {self.timeout_s:g} s") from error
        except OSError as error:
            raise EngineError(self.program, f"did not start: {error.strerror}") from error

    def render(
        self, arguments: Sequence[str], text: str, stdin: bytes = b"", stop: ChildStop | None = None
    ) -> Generator[AudioChunk, None, None]:
        """Run with `arguments` and `stdin`; yield the samples in chunks of about 100 ms as they come.

        `text` is for error messages. Closing the generator kills the command and reaps it; setting `stop` kills it at
        once, and ends the generator.

        Raises:
            SynthesisError: It did not start, failed, stalled, or wrote something other than 16-bit mono WAV.
        """
        stop = stop or ChildStop()
        if stop.is_set:
            return
        with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as complaints:
            words.write(stdin)
            words.seek(0)
            try:
                child = subprocess.Popen(  # noqa: S603 - no shell; the text is one argument or standard input
                    [self.program, *arguments],
                    stdin=words,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    start_new_session=True,  # Ctrl-C at the terminal is for the agent, which then closes this
                )
            except OSError as error:
                raise SynthesisError(self.program, text, f"did not start: {error.strerror}") from error
            with child:
                stop.watch(child)
                try:
                    for chunk in self._chunks(child, text):
                        if stop.is_set:
                            return
                        yield chunk
                    status = self._status(stop, text)
                except SynthesisError:
                    if stop.is_set:
                        return  # its output broke off because it was killed
                    raise
                finally:
                    stop.end()
            if status and not stop.is_set:
                raise SynthesisError(self.program, text, f"exit status {status}{_last_line(complaints)}")

    def _status(self, stop: ChildStop, text: str) -> int:
        """Wait for the child, whose output is closed, to end."""
        began_s = time.monotonic()
        pause_s = 0.0005
        while (status := stop.reap()) is None:
            if time.monotonic() - began_s > self.timeout_s:
                raise self._stalled(text)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)
        return status

    def _chunks(self, child: subprocess.Popen[bytes], text: str) -> Iterator[AudioChunk]:
        blocks = self._blocks(child, text)
        buffer = b""
        start = None
        for block in blocks:
            buffer += block
            try:
                start = _parse_header(buffer)
            except ValueError as error:
                raise SynthesisError(self.program, text, str(error)) from error
            if start is not None:
                break
        if start is None:
            if buffer:
                raise SynthesisError(self.program, text, "its output ends within the WAV header")
            return  # it found nothing to say, or failed, which its exit status tells
        rate_hz, offset, left_bytes = start
        chunk_bytes = round(CHUNK_S * rate_hz) * SAMPLE_BYTES
        buffer = buffer[offset:][:left_bytes]
        left_bytes -= len(buffer)
        for block in blocks:
            while len(buffer) >= chunk_bytes:
                yield AudioChunk(buffer[:chunk_bytes], rate_hz)
                buffer = buffer[chunk_bytes:]
            taken = block[:left_bytes]
            buffer += taken
            left_bytes -= len(taken)
        for at in range(0, len(buffer) - SAMPLE_BYTES + 1, chunk_bytes):
            piece = buffer[at : at + chunk_bytes]
            yield AudioChunk(piece[: len(piece) // SAMPLE_BYTES * SAMPLE_BYTES], rate_hz)

    def _blocks(self, child: subprocess.Popen[bytes], text: str) -> Iterator[bytes]:
        """Yield what the child writes until it closes its output; the time spent waiting is bounded in total."""
        if child.stdout is None:
            raise SynthesisError(self.program, text, "has no output to read")
        descriptor = child.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        left_s = self.timeout_s
        while True:
            began = time.monotonic()
            ready = poll.poll(max(0.0, left_s) * 1000)
            left_s -= time.monotonic() - began
            if not ready:
                raise self._stalled(text)
            block = os.read(descriptor, 1 << 16)
            if not block:
                return
            yield block

    def _stalled(self, text: str) -> SynthesisError:
        return SynthesisError(self.program, text, f"not done within {self.timeout_s:g} s")


def pieces(text: str, limit: int = 300) -> Iterator[str]:
    """Cut `text` into runs of at most `limit` characters that a command can take safely.

    Cuts at white space; takes out control characters, NUL among them, and breaks up words of absurd length. A command
    renders a piece as a whole, so that short pieces bound the wait for the first sound.
    """
    clean = "".join(character if character.isprintable() else " " for character in text)
    line = ""
    for word in _MANGLED.sub(r"\g<0> ", clean).split():
        if line and len(line) + 1 + len(word) > limit:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line


def _parse_header(buffer: bytes) -> tuple[int, int, int] | None:
    """Return (rate, offset of the samples, number of their bytes) once the header is complete.

    On a pipe the sizes can't be known when the header is written: 0 and huge figures stand for "until the end".

    Raises:
        ValueError: This is not a 16-bit mono WAV file.
    """
    if buffer[:4] != b"RIFF"[: len(buffer)] or (len(buffer) >= 12 and buffer[8:12] != b"WAVE"):  # noqa: PLR2004
        raise ValueError("its output is not a WAV file")
    at, rate_hz = 12, 0
    while len(buffer) >= at + 8:
        name, size = buffer[at : at + 4], int.from_bytes(buffer[at + 4 : at + 8], "little")
        at += 8
        if name == _DATA:
            if not rate_hz:
                raise ValueError("its output is a WAV file without a format")
            return rate_hz, at, size or (1 << 32)
        if name == _FORMAT and len(buffer) >= at + 16:
            encoding, channels = buffer[at : at + 2], buffer[at + 2 : at + 4]
            bits = int.from_bytes(buffer[at + 14 : at + 16], "little")
            rate_hz = int.from_bytes(buffer[at + 4 : at + 8], "little")
            if (int.from_bytes(encoding, "little"), int.from_bytes(channels, "little"), bits) != (_PCM, 1, 16):
                raise ValueError("its output is not 16-bit mono WAV")
        at += size + size % 2
    if len(buffer) > _HEADER_LIMIT_BYTES:
        raise ValueError("its output is a WAV file without samples")
    return None


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read(4096).decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f" ({said[-1]})" if said else ""
