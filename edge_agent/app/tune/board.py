"""Which board this is: what was measured on another one does not hold here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.config.section import Section
from edge_agent.runtime.topology import KernelFiles

if TYPE_CHECKING:
    from edge_agent.runtime.topology import Topology

_KIB = 1024
_PROCESSOR_KEYS = ("model name", "CPU implementer", "CPU architecture", "CPU variant", "CPU part")
"""x86-64 names its processor; an Arm's is told by these numbers (`/proc/cpuinfo`)."""


class Board(Section):
    """What speed depends on.

    Attributes:
        model: As the board's maker calls it; empty where it says nothing.
        cores: Cores that the process may use.
        compute_cores: Those of them that engines share; `reserve` are kept for hearing.
    """

    model: str
    processor: str
    architecture: str
    cores: int
    compute_cores: int
    reserve: int
    memory_mib: int

    def differs_from(self, other: Board) -> str:
        """Return in words what makes `other` another board; empty: nothing. Memory may be a little less or more."""
        for name, what in (
            ("model", "board"),
            ("processor", "processor"),
            ("architecture", "architecture"),
            ("cores", "number of cores"),
            ("compute_cores", "number of compute cores"),
            ("reserve", "number of reserved cores"),
        ):
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                return f"the {what} was {there or 'unknown'} and is {here or 'unknown'}"
        # The firmware takes its part of a board's memory, more or less of it by its settings.
        if abs(self.memory_mib - other.memory_mib) > max(self.memory_mib, other.memory_mib) // 4:
            return f"the memory was {other.memory_mib} MiB and is {self.memory_mib} MiB"
        return ""


def read_board(topology: Topology, *, compute_cores: int, reserve: int, root: Path = Path("/")) -> Board:
    """Return this board; blocking, in memory alone.

    Args:
        topology: Its cores.
        compute_cores: As the ledger counts them.
        reserve: The same.
        root: Where `sys` and `proc` are.
    """
    files = KernelFiles(root)
    model = (files.read("sys/firmware/devicetree/base/model") or "").strip("\0 ")
    return Board(
        model=model or files.read("sys/class/dmi/id/product_name") or "",
        processor=_processor(files.read("proc/cpuinfo") or ""),
        architecture=platform.machine(),
        cores=len(topology.cores),
        compute_cores=compute_cores,
        reserve=reserve,
        memory_mib=_memory_mib(files.read("proc/meminfo") or ""),
    )


def _processor(cpuinfo: str) -> str:
    first: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    return " ".join(first[key] for key in _PROCESSOR_KEYS if key in first)


def _memory_mib(meminfo: str) -> int:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal" and value.split()[:1]:
            return int(value.split()[0]) // _KIB
    return 0
