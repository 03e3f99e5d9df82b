"""What a process and everything that it started take of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_agent.bench.extras import need


@dataclass(frozen=True, slots=True)
class Taken:
    """A process tree at one moment.

    Attributes:
        cpu_s: Processor time so far, that of children that have ended included.
        rss_bytes: Resident memory of all processes; what they share counts once for each.
        pss_bytes: The same with what they share divided among them; None where the kernel does not tell.
        processes: How many there are.
    """

    cpu_s: float
    rss_bytes: int
    pss_bytes: int | None
    processes: int


def taken_by(pid: int) -> Taken:
    """Look at a process and its descendants. Blocking, some milliseconds.

    Raises:
        EngineError: The `psutil` package is not installed.
        ProcessLookupError: There is no such process.
    """
    psutil, tree = look_up(pid)
    cpu_s, rss, processes = 0.0, 0, 0
    pss: int | None = 0
    for process in tree:
        try:
            times = process.cpu_times()
            memory = process.memory_info()
            shared_out = _proportional_bytes(psutil, process)
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile; its time is now its parent's
        cpu_s += times.user + times.system + times.children_user + times.children_system
        rss += memory.rss
        pss = None if pss is None or shared_out is None else pss + shared_out
        processes += 1
    return Taken(cpu_s, rss, pss, processes)


def look_up(pid: int) -> tuple[Any, list[Any]]:
    """Return the `psutil` module, and a process, the first, with its descendants.

    Raises:
        EngineError: The `psutil` package is not installed.
        ProcessLookupError: There is no such process.
    """
    psutil = need("psutil")
    try:
        root = psutil.Process(pid)
        return psutil, [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error


def _proportional_bytes(psutil: Any, process: Any) -> int | None:  # noqa: ANN401 - psutil is not followed
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return None
    value = getattr(full, "pss", None)
    return None if value is None else int(value)
