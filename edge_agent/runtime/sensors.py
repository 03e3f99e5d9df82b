"""What the kernel tells about heat, power, memory and load."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.runtime.topology import KernelFiles, cgroup_directories

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPU_ZONE = re.compile(r"cpu|soc|core|package|pkg|acpitz", re.IGNORECASE)
"""Zone types of processors: cpu-thermal (Raspberry Pi, Amlogic, Allwinner), soc-thermal, bigcore0-thermal and
package-thermal (Rockchip), x86_pkg_temp, acpitz. Not gpu, npu, ddr, battery, wifi."""
_PLAUSIBLE_C = range(-40, 151)
"""Sensors that are off or broken report 0 K, -1 or 255 °C."""
_LIMITS_C = range(50, 151)
"""Trip points outside are switched off: firmware writes 0 or less."""
_FIRMWARE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
"""`soc/soc:firmware` up to the Raspberry Pi 4, `soc@107c000000/soc@107c000000:firmware` on the 5."""
_STALL = re.compile(r"^(some|full) avg10=(\d{1,9}(?:\.\d{1,9})?) ", re.MULTILINE)
_MEMORY = re.compile(r"^(\w+):?\s+(\d{1,18})\b", re.MULTILINE)
_KIB = 1024
_UNLIMITED = 1 << 60
"""Version 1 writes the largest multiple of a page for "no limit"."""


class Throttled(IntFlag):
    """Bits of the Raspberry Pi firmware's `get_throttled` (raspberrypi.com, documentation of vcgencmd).

    The `*_SEEN` ones tell of the time since boot, or since the kernel's voltage driver last cleared them, which it does
    every 2 s (drivers/hwmon/raspberrypi-hwmon.c): good for a report, not for a decision.
    """

    UNDER_VOLTAGE = 1 << 0
    FREQUENCY_CAPPED = 1 << 1
    THROTTLED = 1 << 2
    SOFT_TEMPERATURE_LIMIT = 1 << 3
    UNDER_VOLTAGE_SEEN = 1 << 16
    FREQUENCY_CAPPED_SEEN = 1 << 17
    THROTTLED_SEEN = 1 << 18
    SOFT_TEMPERATURE_LIMIT_SEEN = 1 << 19


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine. None stands for what this kernel does not tell.

    Attributes:
        temperature_c: The hottest zone of the processor.
        soft_limit_c: Where the kernel begins to slow the processor down.
        critical_limit_c: Where it switches the machine off.
        throttled: What the Raspberry Pi's firmware does now, or saw.
        memory_total_bytes: Of the machine, or what its control group may use.
        memory_available_bytes: Of that, what programs can still get, caches given back.
        cpu_stall_percent: Share of the last 10 s in which a task waited for a core.
        memory_stall_percent: The same for memory.
        memory_full_stall_percent: Share of the last 10 s in which every task waited for memory.
        load_per_core: Tasks that run or wait, mean of a minute, by core; None where `cpu_stall_percent` is known.
    """

    temperature_c: float | None = None
    soft_limit_c: float | None = None
    critical_limit_c: float | None = None
    throttled: Throttled | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    cpu_stall_percent: float | None = None
    memory_stall_percent: float | None = None
    memory_full_stall_percent: float | None = None
    load_per_core: float | None = None


class Sensors:
    """Reads the kernel's files below `root`. Blocking: a millisecond or so, on a pool.

    Args:
        root: Where `sys` and `proc` are.
        cores: Cores that the load is shared by; see `topology`.
    """

    def __init__(self, root: Path = Path("/"), cores: int = 1) -> None:
        self._files = KernelFiles(root)
        self._cores = max(1, cores)

    def read(self) -> Reading:
        """Look at everything once. What is missing or makes no sense is None; nothing is raised."""
        temperature_c, soft_limit_c, critical_limit_c = self._temperature()
        total, available = self._memory()
        cpu, memory = self._stalls("cpu"), self._stalls("memory")
        cpu_stall = cpu.get("some")
        return Reading(
            temperature_c=temperature_c,
            soft_limit_c=soft_limit_c,
            critical_limit_c=critical_limit_c,
            throttled=self._throttled(),
            memory_total_bytes=total,
            memory_available_bytes=available,
            cpu_stall_percent=cpu_stall,
            memory_stall_percent=memory.get("some"),
            memory_full_stall_percent=memory.get("full"),
            load_per_core=self._load() if cpu_stall is None else None,
        )

    def _temperature(self) -> tuple[float | None, float | None, float | None]:
        """Return the temperature of the hottest processor zone, and the limits in °C.

        `thermal_zone*/temp` and `trip_point_*_temp` are millidegrees, the kinds of trip points active (a fan), passive
        (slow down), hot and critical (Documentation/driver-api/thermal/sysfs-api.rst). Of several passive ones the
        highest is what the kernel aims at; lower ones start its watching (power_allocator.rst).
        """
        temperatures: list[float] = []
        soft: list[float] = []
        critical: list[float] = []
        for zone in self._files.find("sys/class/thermal/thermal_zone*"):
            if not _CPU_ZONE.search(self._files.read(zone / "type") or ""):
                continue
            value_c = self._degrees(zone / "temp")
            if value_c is None or not _within(value_c, _PLAUSIBLE_C):
                continue
            temperatures.append(value_c)
            for kind_file in self._files.find(f"{zone.relative_to(self._files.root)}/trip_point_*_type"):
                limits = {"passive": soft, "critical": critical}.get(self._files.read(kind_file) or "")
                limit_c = self._degrees(kind_file.with_name(kind_file.name.replace("_type", "_temp")))
                if limits is not None and limit_c is not None and _within(limit_c, _LIMITS_C):
                    limits.append(limit_c)
        return max(temperatures, default=None), max(soft, default=None), min(critical, default=None)

    def _degrees(self, path: Path) -> float | None:
        millidegrees = self._files.number(path)
        return None if millidegrees is None else millidegrees / 1000

    def _throttled(self) -> Throttled | None:
        """Return the firmware's bits, joined with the voltage driver's alarm.

        The first are hexadecimal without a prefix (raspberrypi/linux, drivers/firmware/raspberrypi.c); kernels without
        Raspberry Pi's patches, and some with them, have the second alone: `in0_lcrit_alarm` of hwmon `rpi_volt` is 1
        while there was under-voltage within the last 2 s.
        """
        bits: Throttled | None = None
        for path in self._files.find(_FIRMWARE):
            value = self._files.number(path, 16)
            if value is not None and value >= 0:
                bits = (bits or Throttled(0)) | Throttled(value & sum(Throttled))
        for name in self._files.find("sys/class/hwmon/hwmon*/name"):
            if self._files.read(name) == "rpi_volt":
                alarm = self._files.number(name.with_name("in0_lcrit_alarm"))
                if alarm is not None:
                    bits = (bits or Throttled(0)) | (Throttled.UNDER_VOLTAGE if alarm else Throttled(0))
        return bits

    def _memory(self) -> tuple[int | None, int | None]:
        """Return total and available bytes, of the machine or of the tightest control group around us.

        `/proc/meminfo` counts in KiB; MemAvailable is what can be had without swapping (proc_meminfo(5)). A group's
        rest is its limit less its use, with the file cache that nobody touched lately counted as free.
        """
        machine = {name: int(value) * _KIB for name, value in _MEMORY.findall(self._files.read("proc/meminfo") or "")}
        total, available = machine.get("MemTotal"), machine.get("MemAvailable")
        for limit, rest in self._memory_groups():
            if total is None or limit < total:
                total = limit
            if available is None or rest < available:
                available = rest
        return total, available

    def _memory_groups(self) -> Iterator[tuple[int, int]]:
        """Yield limit and rest in bytes of each control group around us that has a limit.

        `memory.max` ends in the kernel killing, above `memory.high` it slows the group down (cgroup-v2.rst), so the
        lower one counts.
        """
        for directory in cgroup_directories(self._files, "memory"):
            files = (
                (("memory.max", "memory.high"), "memory.current", "inactive_file"),
                (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
            )
            for limit_files, use_file, cache_name in files:
                limits = [limit for name in limit_files if (limit := self._bytes(directory / name)) is not None]
                use = self._bytes(directory / use_file) if limits else None
                if use is not None:
                    cache = dict(_MEMORY.findall(self._files.read(directory / "memory.stat") or "")).get(
                        cache_name, "0"
                    )
                    yield min(limits), max(0, min(limits) - max(0, use - int(cache)))

    def _bytes(self, path: Path) -> int | None:
        """Return a size; None where there is none, `max` and the like included."""
        text = self._files.read(path) or ""
        size = int(text) if text.isdecimal() and len(text) <= len(str(_UNLIMITED)) else _UNLIMITED
        return size if size < _UNLIMITED else None

    def _stalls(self, resource: str) -> dict[str, float]:
        """Return the 10 s averages of `/proc/pressure` in per cent, by `some` and `full` (accounting/psi.rst).

        There are none on kernels without PSI; with `psi=0` the files exist, and reading them fails.
        """
        text = self._files.read(f"proc/pressure/{resource}") or ""
        return {kind: min(float(percent), 100.0) for kind, percent in _STALL.findall(text)}

    def _load(self) -> float | None:
        """Return the load of the last minute by core (the first word of `/proc/loadavg`, proc_loadavg(5))."""
        words = (self._files.read("proc/loadavg") or "").split()
        try:
            load = float(words[0]) / self._cores if words else None
        except ValueError:
            return None
        return load if load is not None and 0 <= load < float("inf") else None


def _within(value: float, whole: range) -> bool:
    return whole.start <= value < whole.stop
