"""What the service takes, and what it says of itself, looked at again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.bench.process_tree import look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN = {"RssAnon", "VmSwap"}
_STANDING_S = 15.0
"""A process of this age stays. Flite's lives for a tenth of a second, and is seen or not by chance."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the service says of itself, by its status; counts are since its start."""

    frames_lost: int
    underruns: int
    microphone_reopened: int
    faults: int
    turns: int
    tasks: int
    lag_p99_ms: float | None

    @classmethod
    def of(cls, status: dict[str, Any]) -> Counted:
        """Take it from the status socket's answer."""
        audio, counters, report = status["audio"], status["counters"], status["report"]
        return cls(
            frames_lost=audio["frames_lost"],
            underruns=audio["underruns"],
            microphone_reopened=audio["microphone_reopened"],
            faults=counters["faults"],
            turns=counters["turns"],
            tasks=report["tasks"]["active"],
            lag_p99_ms=None if report["lag"] is None else report["lag"]["p99_ms"],
        )


@dataclass(frozen=True, slots=True)
class Look:
    """A process tree at one moment.

    Attributes:
        at_s: Of the monotonic clock.
        rss_bytes: Resident memory of all processes; what they share counts once for each.
        pss_bytes: The same with what they share divided among them; None where the kernel does not tell.
        own_bytes: What the processes that stay have written, in memory or swapped out. Pages of files, which the kernel
            takes back and reads again as it likes, are left out: this grows by what is leaked, and by little else.
        standing: How many processes stay.
        threads: Of the processes that stay.
        descriptors: Open files, sockets and pipes of the processes that stay.
        cpu_s: Processor time so far, that of children that have ended included.
        disk_bytes: What is in the service's directories.
        counted: What the service says; None where it was not asked, or did not answer.
    """

    at_s: float
    processes: int
    rss_bytes: int
    pss_bytes: int | None
    own_bytes: int
    standing: int
    threads: int
    descriptors: int
    cpu_s: float
    disk_bytes: int
    counted: Counted | None


def look_at(pid: int, directories: Sequence[Path] = (), counted: Counted | None = None) -> Look:
    """Look at a process and its descendants. Blocking, some milliseconds.

    Raises:
        EngineError: The `psutil` package is not installed.
        ProcessLookupError: There is no such process.
    """
    psutil, tree = look_up(pid)
    now_s = time.time()
    rss = own_bytes = standing = threads = descriptors = processes = 0
    pss: int | None = 0
    cpu_s = 0.0
    for process in tree:
        try:
            with process.oneshot():
                stays = process is tree[0] or now_s - process.create_time() >= _STANDING_S
                resident, proportional = _memory(psutil, process)
                own = _own_bytes(process.pid) if stays else 0
                times = process.cpu_times()
                thread_count, descriptor_count = process.num_threads(), process.num_fds()
        except (psutil.Error, FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile; its time is now its parent's
        processes += 1
        rss += resident
        pss = None if pss is None or proportional is None else pss + proportional
        cpu_s += times.user + times.system + times.children_user + times.children_system
        if stays:
            standing += 1
            own_bytes += own
            threads += thread_count
            descriptors += descriptor_count
    return Look(
        time.monotonic(),
        processes,
        rss,
        pss,
        own_bytes,
        standing,
        threads,
        descriptors,
        cpu_s,
        sum(_size_bytes(directory) for directory in directories),
        counted,
    )


def _memory(psutil: Any, process: Any) -> tuple[int, int | None]:  # noqa: ANN401 - psutil is not followed
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return process.memory_info().rss, None
    return full.rss, getattr(full, "pss", None)


def _own_bytes(pid: int) -> int:
    kib = 0
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name in _OWN:
            kib += int(value.split()[0])
    return kib * 1024


def _size_bytes(directory: Path) -> int:
    size_bytes = 0
    for path in directory.rglob("*"):
        try:
            size_bytes += path.stat().st_size if path.is_file() else 0
        except OSError:  # it was deleted meanwhile
            continue
    return size_bytes
