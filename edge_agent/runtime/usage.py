"""What the agent takes from its device: processor, memory, threads, descriptors; its children included."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What one process has taken.

    Attributes:
        cpu_s: Processor seconds since it began, user and system.
        rss_bytes: Resident memory; what it shares with others counts in each of them.
    """

    pid: int
    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the agent takes.

    Attributes:
        cpu_share: Processor time of this process and its children a second, since the reading before; 1.0 is one core
            wholly. None at the first reading.
        cpu_s: Processor seconds of this process since it began.
        rss_bytes: Resident memory of this process.
        children: Child processes, theirs included.
        children_rss_bytes: Their resident memory.
        threads: Threads of this process, those of native libraries included.
        open_files: Descriptors that this process holds.
        thread_cpu_s: Processor seconds of the living threads by name; those of one name are added up.
        memory_available_bytes: What the device can still give without swapping.
        memory_total_bytes: What it has.
    """

    cpu_share: float | None
    cpu_s: float
    rss_bytes: int
    children: int
    children_rss_bytes: int
    threads: int
    open_files: int
    memory_available_bytes: int
    memory_total_bytes: int
    thread_cpu_s: dict[str, float] = field(default_factory=dict)


class Probe(Protocol):
    """Where the figures come from. Blocking."""

    def own(self) -> ProcessUsage:
        """Read this process."""
        ...

    def children(self) -> Iterable[ProcessUsage]:
        """Read every child; one that ends meanwhile is left out."""
        ...

    def threads(self) -> Iterable[tuple[int, float]]:
        """Read this process's threads: native number and processor seconds."""
        ...

    def open_files(self) -> int:
        """Count this process's descriptors."""
        ...

    def memory(self) -> tuple[int, int]:
        """Read the device's available and total memory in bytes."""
        ...


class ResourceUse:
    """Reads what the agent takes. Blocking, a few milliseconds: call `read` on pool `general`, one call at a time."""

    def __init__(self, probe: Probe | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._clock = clock
        self._before: dict[int, float] | None = None
        self._before_s = 0.0

    def read(self) -> Usage:
        """Return what is taken now."""
        probe = self._probe = self._probe or PsutilProbe()
        own, children = probe.own(), list(probe.children())
        cpu_s = {process.pid: process.cpu_s for process in (own, *children)}
        share = self._share(cpu_s)
        by_thread = list(probe.threads())
        available_bytes, total_bytes = probe.memory()
        return Usage(
            cpu_share=share,
            cpu_s=own.cpu_s,
            rss_bytes=own.rss_bytes,
            children=len(children),
            children_rss_bytes=sum(child.rss_bytes for child in children),
            threads=len(by_thread),
            open_files=probe.open_files(),
            memory_available_bytes=available_bytes,
            memory_total_bytes=total_bytes,
            thread_cpu_s=_by_name(by_thread),
        )

    def _share(self, cpu_s: dict[int, float]) -> float | None:
        """Compare with the reading before, process by process: one that ended must not count as a negative."""
        now_s = self._clock()
        before, elapsed_s = self._before, now_s - self._before_s
        self._before, self._before_s = cpu_s, now_s
        if before is None or elapsed_s <= 0:
            return None
        return sum(max(0.0, taken_s - before.get(pid, 0.0)) for pid, taken_s in cpu_s.items()) / elapsed_s


class PsutilProbe:
    """Reads through psutil."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()

    def own(self) -> ProcessUsage:
        """Read this process."""
        return _read(self._process)

    def children(self) -> Iterable[ProcessUsage]:
        """Read every child; one that ends meanwhile is left out."""
        for child in self._process.children(recursive=True):
            try:
                yield _read(child)
            except (self._psutil.NoSuchProcess, self._psutil.AccessDenied):
                continue

    def threads(self) -> Iterable[tuple[int, float]]:
        """Read this process's threads: native number and processor seconds."""
        return [(thread.id, thread.user_time + thread.system_time) for thread in self._process.threads()]

    def open_files(self) -> int:
        """Count this process's descriptors."""
        return int(self._process.num_fds())

    def memory(self) -> tuple[int, int]:
        """Read the device's available and total memory in bytes."""
        memory = self._psutil.virtual_memory()
        return int(memory.available), int(memory.total)


class _PsutilProcess(Protocol):
    pid: int

    def oneshot(self) -> _Context: ...
    def cpu_times(self) -> _CpuTimes: ...
    def memory_info(self) -> _MemoryInfo: ...


class _Context(Protocol):
    def __enter__(self) -> object: ...
    def __exit__(self, *details: object) -> bool | None: ...


class _CpuTimes(Protocol):
    user: float
    system: float


class _MemoryInfo(Protocol):
    rss: int


def _read(process: _PsutilProcess) -> ProcessUsage:
    with process.oneshot():
        times = process.cpu_times()
        return ProcessUsage(process.pid, times.user + times.system, process.memory_info().rss)


def _by_name(threads: Iterable[tuple[int, float]]) -> dict[str, float]:
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    named: dict[str, float] = {}
    for number, cpu_s in threads:
        name = known.get(number) or _native_name(number)
        named[name] = named.get(name, 0.0) + cpu_s
    return named


def _native_name(number: int) -> str:
    """Return what a library named its thread; those that named nothing have the program's name."""
    try:
        return Path(f"/proc/self/task/{number}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # it ended meanwhile
        return "ended"
