"""The cores that the kernel lets this process use: which compute, which are kept for listening, and how many count."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

logger = logging.getLogger(__name__)

_MOST_BYTES = 65_536
"""The files read here hold a few kilobytes at most."""
_MOST_NOTED = 256
"""Files remembered as absent, so that each is logged once."""
_BIG_SHARE = 0.75
"""Share of the largest core's capacity from which on a core computes: threads of one job meet at barriers, so one slow
core would hold up all."""
RESERVED_FROM = 4
"""Cores from which on one is kept for listening; with fewer, it would cost too large a part."""
_MOST_DIGITS = 40
"""Characters of a range in a list of cores; longer ones are garbage, which `int` refuses to read."""
_PERIOD_US = 100_000
"""The kernel's default `cpu.max` period (cgroup-v2.rst)."""


class KernelFiles:
    """Small files of sysfs and procfs below `root`. One that is absent or can't be read is None, and is logged once.

    Blocking, though only as long as the kernel takes to write a line.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._failed: set[Path] = set()

    def read(self, path: Path | str) -> str | None:
        """Return the stripped text of `path` (relative to the root, or found below it)."""
        full = self.root / path
        try:
            with full.open("rb") as file:
                return file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError as error:  # also EOPNOTSUPP, EIO and the like, which drivers answer with
            if full not in self._failed and len(self._failed) < _MOST_NOTED:
                self._failed.add(full)
                logger.debug("no %s: %s", full, error.strerror)
            return None

    def number(self, path: Path | str, base: int = 10) -> int | None:
        """Return the whole number that `path` holds; None also where it holds something else."""
        text = self.read(path)
        if text is None:
            return None
        try:
            return int(text, base)
        except ValueError:
            logger.debug("%s: not a number: %r", path, text[:40])
            return None

    def find(self, pattern: str) -> list[Path]:
        """Return the paths that match `pattern`, sorted; none where a directory can't be listed."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError as error:
            logger.debug("can't list %s: %s", pattern, error.strerror)
            return []


@dataclass(frozen=True, slots=True)
class Topology:
    """The cores of this process.

    `compute_cores` is at least 1; with `reserve` it never exceeds `len(cores)`, nor what the quota pays for.

    Attributes:
        cores: Cores it may run on that are online, ascending.
        big: Those with at least 75 % of the largest capacity: only they compute.
        little: The others; they serve listening.
        quota: CPUs' worth of time that the control group grants; None without a limit.
        compute_cores: Threads that may compute at once.
        reserve: Cores kept for capture, voice activity and the loop.
        physical: Cores of `cores` that are not hyperthreads of each other. Told, not acted on: an inference engine
            gains little from a second thread on the same core.
    """

    cores: tuple[int, ...]
    big: tuple[int, ...]
    little: tuple[int, ...]
    quota: float | None
    compute_cores: int
    reserve: int
    physical: int

    @property
    def counted(self) -> int:
        """Cores that a ledger has to share out, the reserve included."""
        return self.compute_cores + self.reserve

    def describe(self) -> str:
        """Return one line for the log."""
        parts = [_count(len(self.cores), "core") + f" ({_ranges_text(self.cores)})"]
        if self.little:
            parts.append(f"{len(self.big)} big ({_ranges_text(self.big)})")
            parts.append(f"{len(self.little)} little ({_ranges_text(self.little)})")
        if self.physical < len(self.cores):
            parts.append(f"{self.physical} physical")
        if self.quota is not None:
            parts.append(f"quota {self.quota:g} CPUs")
        parts.append(_count(self.compute_cores, "compute thread"))
        parts.append(f"{self.reserve} kept for listening")
        return ", ".join(parts)


def read_topology(root: Path = Path("/"), affinity: Collection[int] | None = None) -> Topology:
    """Return what this process may use. Never fails on what the kernel writes: a source that makes no sense is skipped.

    Args:
        root: Where `sys` and `proc` are.
        affinity: Cores that this process may run on; None asks the kernel (`sched_getaffinity`).

    Raises:
        ValueError: `affinity` is empty.
    """
    allowed = os.sched_getaffinity(0) if affinity is None else set(affinity)
    if not allowed:
        raise ValueError("a process runs on one core at least")
    files = KernelFiles(root)
    cores = _online(files, allowed)
    capacity = _capacities(files, cores)
    largest = max(capacity.values())
    big = tuple(core for core in cores if capacity[core] >= _BIG_SHARE * largest)
    little = tuple(core for core in cores if core not in big)
    quota = _quota(files)
    # A quota is shared by all threads and freezes them together, capture too: from four CPUs on one of its CPUs is
    # kept as one of as many cores would be.
    counted = len(cores) if quota is None else min(len(cores), int(quota))
    kept = 1 if counted >= RESERVED_FROM else 0
    compute = max(1, min(len(big) - (0 if little else kept), counted if quota is None else counted - kept))
    return Topology(
        cores=cores,
        big=big,
        little=little,
        quota=quota,
        compute_cores=compute,
        reserve=min(len(little) or kept, max(0, counted - compute)),
        physical=_physical(files, cores),
    )


def cgroup_directories(files: KernelFiles, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's control groups, innermost first, up to the root of their hierarchy.

    Both versions are looked at, whichever is mounted: version 2 at `/sys/fs/cgroup` or, beside version 1, at
    `/sys/fs/cgroup/unified`; version 1 at `/sys/fs/cgroup/<controllers>`. `/proc/self/cgroup` has a line
    `hierarchy:controllers:path` each (cgroups(7)). In a container the path may be one of the host's, which does not
    exist inside; its ancestors, of which the last always exists, are then all there is.
    """
    base = Path("sys/fs/cgroup")
    for line in (files.read("proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not name.startswith("/"):
            continue
        if hierarchy == "0" and not controllers:
            mounts = [base, base / "unified"]
        elif controller in controllers.split(","):
            mounts = list(dict.fromkeys((base / controllers, base / controller)))
        else:
            continue
        # A process outside of its namespace's root sees a path that starts with /..
        steps = [] if ".." in name.split("/") else [step for step in name.split("/") if step]
        for mount in mounts:
            for depth in range(len(steps), -1, -1):
                yield mount.joinpath(*steps[:depth])


def _online(files: KernelFiles, allowed: Collection[int]) -> tuple[int, ...]:
    """Return the allowed cores that `/sys/devices/system/cpu/online`, a list such as `0-3,5`, names."""
    ranges = _parse_ranges(files.read("sys/devices/system/cpu/online") or "")
    online = {core for core in allowed if any(core in some for some in ranges)}
    return tuple(sorted(online or allowed))


def _capacities(files: KernelFiles, cores: tuple[int, ...]) -> dict[int, int]:
    """Return how fast each core is next to the others.

    `cpu_capacity` (1024 is the fastest core at its highest clock; Documentation/ABI/testing/sysfs-devices-system-cpu)
    counts clock and design. Without it the highest clock has to do, `cpufreq/cpuinfo_max_freq` in kHz.
    """
    for source in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        read = {core: files.number(f"sys/devices/system/cpu/cpu{core}/{source}") or 0 for core in cores}
        if all(value > 0 for value in read.values()):
            return read
        logger.debug("%s is not known for every core", source)
    return dict.fromkeys(cores, 1)


def _physical(files: KernelFiles, cores: tuple[int, ...]) -> int:
    """Count cores, hyperthreads of one core as one (`topology/thread_siblings_list`)."""
    siblings = (files.read(f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list") for core in cores)
    return len({text or f"core {core}" for core, text in zip(cores, siblings, strict=True)})


def _quota(files: KernelFiles) -> float | None:
    """Return the smallest CPU quota on the way to the root, for each level binds those below it; None without one.

    Version 2 writes `cpu.max` as "quota period" in microseconds, the quota may be `max`; version 1 has a file for each,
    a quota of -1 is none.
    """
    quotas: list[float] = []
    for directory in cgroup_directories(files, "cpu"):
        words = (files.read(directory / "cpu.max") or "").split()
        if not words:
            words = [files.read(directory / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        try:
            quota_us, period_us = (int(word) for word in (words if len(words) > 1 else [*words, str(_PERIOD_US)])[:2])
        except ValueError:  # `max`, or no such files
            continue
        if quota_us > 0 and period_us > 0:
            quotas.append(quota_us / period_us)
    return min(quotas, default=None)


def _parse_ranges(text: str) -> list[range]:
    """Return the ranges of a list such as `0-3,5`; what is no range is left out."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if first.isdecimal() and last.isdecimal() and len(part) <= _MOST_DIGITS:
            ranges.append(range(int(first), int(last) + 1))
    return ranges


def _ranges_text(cores: tuple[int, ...]) -> str:
    parts: list[list[int]] = []
    for core in cores:
        if parts and core == parts[-1][-1] + 1:
            parts[-1].append(core)
        else:
            parts.append([core])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
