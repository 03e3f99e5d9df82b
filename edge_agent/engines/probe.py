"""Lets a child process try a model first: the engines' C++ code dies of some damaged files instead of refusing them."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_GIB = 1 << 30
_BASE_TIMEOUT_S = 60.0
_SLOWEST_BYTES_PER_S = 10_000_000
"""A worn SD card; a larger model gets more time."""

_passed: dict[tuple[str, Path], tuple[tuple[str, int, int], ...]] = {}
"""Fingerprints of models that passed, by probe and place: an unchanged model is probed once in a process."""


class ProbeStop:
    """Ends a probe before its time. Any thread may set it, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._child: subprocess.Popen[bytes] | None = None

    def set(self) -> None:
        """Kill the child, and let none begin."""
        with self._lock:
            self._is_set = True
            if self._child is not None:
                self._child.kill()

    def watch(self, child: subprocess.Popen[bytes] | None) -> None:
        """Have that child killed; None: there is none any more."""
        with self._lock:
            self._child = child
            if child is not None and self._is_set:
                child.kill()


def probe(module: str, model: Path, stop: ProbeStop | None = None) -> str | None:
    """Run `python -P -m module model` and return what is wrong with the model, None where nothing is.

    Nothing is imported from the current directory (-P), which anybody may have written.
    Blocks until the child has ended; it is killed after a time that grows with the model's size, and by `stop`.
    """
    fingerprint = _fingerprint(model)
    key = (module, model.resolve())
    if _passed.get(key) == fingerprint:
        return None
    timeout_s = _BASE_TIMEOUT_S + _size_bytes(fingerprint) / _SLOWEST_BYTES_PER_S
    try:
        outcome = _run([sys.executable, "-P", "-m", module, str(model)], timeout_s, stop or ProbeStop())
    except subprocess.TimeoutExpired:
        return f"did not load within {timeout_s:.0f} s"
    reason = _verdict(outcome)
    if reason is None:
        _passed[key] = fingerprint
    return reason


def serve(check: Callable[[Path], str | None]) -> int:
    """Be the child: run `check` on the path in the arguments and print its verdict; return the exit status."""
    path = Path(sys.argv[1])
    # A damaged size field must end in a failed allocation, not in a machine that swaps itself to death.
    limit = _GIB * 4 + 3 * _size_bytes(_fingerprint(path))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reason = check(path)
    print(json.dumps({"reason": reason}), flush=True)  # noqa: T201 - the parent reads it
    return 0


def _run(command: list[str], timeout_s: float, stop: ProbeStop) -> subprocess.CompletedProcess[bytes]:
    with subprocess.Popen(  # noqa: S603 - our own module and a path, no shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        stop.watch(child)
        try:
            output, complaints = child.communicate(timeout=timeout_s)
        finally:
            stop.watch(None)
            child.kill()
    return subprocess.CompletedProcess(command, child.returncode, output, complaints)


def _verdict(outcome: subprocess.CompletedProcess[bytes]) -> str | None:
    if outcome.returncode < 0:
        return f"the engine dies of {signal.Signals(-outcome.returncode).name} on it"
    try:
        reason = json.loads(outcome.stdout.split(b"\n")[-2])["reason"]
    except (ValueError, LookupError, TypeError):
        lines = [line.strip() for line in outcome.stderr.decode(errors="replace").splitlines() if line.strip()]
        return f"can't be loaded ({lines[-1][:200] if lines else f'status {outcome.returncode}'})"
    return None if reason is None else str(reason)


def _fingerprint(model: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of every file."""
    files = sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    return tuple((str(path), (status := path.stat()).st_size, status.st_mtime_ns) for path in files)


def _size_bytes(fingerprint: tuple[tuple[str, int, int], ...]) -> int:
    return sum(size for _, size, _ in fingerprint)
