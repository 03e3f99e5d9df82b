"""Board, system, Python, cores, memory, temperature, throttling and power."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import struct
import sys
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import CheckResult
from edge_agent.runtime.sensors import Sensors, Throttled
from edge_agent.runtime.topology import read_topology

if TYPE_CHECKING:
    from edge_agent.app.doctor.result import Surroundings
    from edge_agent.config.schema import Config

_MIB = 1 << 20
_GIB = 1 << 30
_PACKAGES = {
    "sounddevice": "audio",
    "soxr": "audio",
    "webrtcvad": "audio",
    "pymicro_wakeword": "wake",
    "pocketsphinx": "sphinx",
    "aiomqtt": "mqtt",
    "aiohttp": "http",
    "uvloop": "service",
}
"""What the embedded default consists of, by the extra that brings it."""
_LEAST_FREE_BYTES = 64 * _MIB
_SCARCE_FREE_BYTES = 160 * _MIB
_SMALL_BYTES = 1000 * _MIB
"""A board sold as 1 GB or less, less what its firmware takes."""
_POINTER_BYTES = 8
_NOW = {
    Throttled.UNDER_VOLTAGE: "under-voltage",
    Throttled.FREQUENCY_CAPPED: "clock capped",
    Throttled.THROTTLED: "throttled",
    Throttled.SOFT_TEMPERATURE_LIMIT: "soft temperature limit",
}
_SEEN_SHIFT = 16
_FULL_SUPPLY_MA = 5000
"""What a Raspberry Pi 5 wants of its supply before it gives its USB ports their full current."""
_LOW_INPUT_V = 4.8
_FIRMWARE_CALL = ("vcgencmd", "get_throttled")


def check_board(around: Surroundings) -> CheckResult:
    """Name the board: from the device tree, else from DMI."""
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if model := (around.files.read(path) or "").strip("\0 \n"):
            return CheckResult("board", "ok", model, figures={"model": model})
    parts = [around.files.read(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
    model = " ".join(part for part in parts if part)
    message = model or "not told by this machine (no device tree, no DMI)"
    return CheckResult("board", "ok", message, figures={"model": model or None})


def check_system(around: Surroundings) -> CheckResult:
    """Name operating system, kernel and architecture; it has to be a 64-bit one."""
    release = around.files.read("etc/os-release") or ""
    named = re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)
    name = named.group(1) if named else "Linux"
    kernel = around.files.read("proc/sys/kernel/osrelease") or platform.release()
    machine = platform.machine()
    figures = {"os": name, "kernel": kernel, "architecture": machine}
    message = f"{name}, kernel {kernel}, {machine}"
    if struct.calcsize("P") != _POINTER_BYTES:
        return CheckResult(
            "system",
            "fault",
            f"{message}: a 32-bit system, for which speech engines have no builds",
            "write the 64-bit image of Raspberry Pi OS to the card",
            figures,
        )
    return CheckResult("system", "ok", message, figures=figures)


def check_python() -> CheckResult:
    """Name the interpreter, and the packages that the embedded default needs and has not."""
    version = platform.python_version()
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    figures = {"version": version, "prefix": sys.prefix, "missing": ", ".join(absent) or None}
    message = f"{version} in {sys.prefix}"
    if absent:
        extras = ",".join(sorted({_PACKAGES[name] for name in absent}))
        remedy = f"{sys.executable} -m pip install 'edge-agent[{extras}]'"
        return CheckResult("python", "warning", f"{message}; missing: {', '.join(absent)}", remedy, figures)
    return CheckResult("python", "ok", message, figures=figures)


def check_cores(around: Surroundings) -> CheckResult:
    """Count the cores; one that is told to stay slow is a warning."""
    topology = read_topology(around.root, os.sched_getaffinity(0) if str(around.root) == "/" else range(1024))
    governor = around.files.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    clocks = [
        khz
        for path in around.files.find("sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq")
        if (khz := around.files.number(path))
    ]
    figures = {"cores": len(topology.cores), "highest_clock_mhz": max(clocks) // 1000 if clocks else None}
    message = topology.describe()
    if clocks:
        message += f", up to {max(clocks) / 1e6:.1f} GHz"
    if governor == "powersave" and clocks:
        driver = around.files.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver") or ""
        if not driver.startswith(("intel_pstate", "amd-pstate")):  # theirs is called so and is none
            remedy = "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            return CheckResult("cores", "warning", f"{message}; kept at their lowest clock", remedy, figures)
    return CheckResult("cores", "ok", message, figures=figures)


def check_memory(around: Surroundings) -> CheckResult:
    """Say how much memory and swap there is, and what is left."""
    reading = Sensors(around.root).read()
    table = dict(re.findall(r"^(\w+):\s+(\d+)", around.files.read("proc/meminfo") or "", re.MULTILINE))
    total, free = reading.memory_total_bytes, reading.memory_available_bytes
    swap = int(table["SwapTotal"]) * 1024 if "SwapTotal" in table else None
    figures = {
        "total_mib": None if total is None else total // _MIB,
        "available_mib": None if free is None else free // _MIB,
        "swap_mib": None if swap is None else swap // _MIB,
    }
    if total is None or free is None:
        return CheckResult("memory", "warning", "not told by this machine: no /proc/meminfo", figures=figures)
    message = f"{_size(total)}, {_size(free)} available, swap {_size(swap or 0)}"
    if free < _SCARCE_FREE_BYTES:
        remedy = "see who takes it: ps -eo rss,comm --sort=-rss | head; take a smaller model, or none"
        return CheckResult("memory", "fault" if free < _LEAST_FREE_BYTES else "warning", message, remedy, figures)
    if total < _SMALL_BYTES and not swap:
        remedy = "sudo apt install zram-tools   (swap in compressed memory; spares the card)"
        return CheckResult("memory", "warning", f"{message}: little, and no swap", remedy, figures)
    return CheckResult("memory", "ok", message, figures=figures)


def check_temperature(config: Config, around: Surroundings) -> CheckResult:
    """Compare the processor's temperature with where the agent begins to give things up."""
    reading = Sensors(around.root).read()
    heat, pressure = reading.temperature_c, config.pressure
    figures = {"temperature_c": heat, "critical_c": reading.critical_limit_c}
    if heat is None:
        return CheckResult("temperature", "ok", "this machine has no sensor that is known", figures=figures)
    message = f"{heat:.1f} °C"
    if heat < pressure.warm_c:
        return CheckResult("temperature", "ok", message, figures=figures)
    remedy = "give it a heat sink or a fan, and air around it"
    if heat < pressure.hot_c:
        return CheckResult("temperature", "warning", f"{message}: idle work rests", remedy, figures)
    gives_up = "only intents are answered" if heat >= pressure.critical_c else "answers are slow and short"
    return CheckResult("temperature", "warning", f"{message}: {gives_up}", remedy, figures)


def check_throttling(around: Surroundings) -> CheckResult:
    """Read the firmware's bits: what slows the processor down now, or did since it started."""
    bits = Sensors(around.root).read().throttled
    told = around.run(_FIRMWARE_CALL)
    if told and (found := re.search(r"0x([0-9a-fA-F]+)", told)):
        bits = (bits or Throttled(0)) | Throttled(int(found.group(1), 16) & sum(Throttled))
    if bits is None and "Raspberry Pi" in check_board(around).message:
        message = "can't be told: the firmware does not answer you"
        as_root = "sudo edge-agent doctor --only throttling"
        return CheckResult("throttling", "warning", message, as_root, {"bits": None})
    if bits is None:
        return CheckResult("throttling", "ok", "this machine does not tell", figures={"bits": None})
    figures = {"bits": f"0x{bits.value:x}"}
    now = [word for bit, word in _NOW.items() if bits & bit]
    seen = [word for bit, word in _NOW.items() if bits & (bit << _SEEN_SHIFT) and word not in now]
    remedy = []
    if bits & (Throttled.UNDER_VOLTAGE | Throttled.UNDER_VOLTAGE_SEEN):
        remedy.append("power: use the supply that the board's maker sells, and a short, thick cable")
    if bits & (Throttled.SOFT_TEMPERATURE_LIMIT | Throttled.SOFT_TEMPERATURE_LIMIT_SEEN):
        remedy.append("heat: give it a heat sink or a fan")
    if not remedy and (now or seen):
        remedy.append("look at power and heat: vcgencmd measure_temp; vcgencmd get_throttled")
    parts = []
    if now:
        parts.append(f"now: {', '.join(now)}")
    if seen:
        parts.append(f"since the start: {', '.join(seen)}")
    if parts:
        return CheckResult("throttling", "warning", "; ".join(parts), "\n".join(remedy), figures)
    return CheckResult("throttling", "ok", "none, now or since the start", figures=figures)


def check_power(around: Surroundings) -> CheckResult:
    """Say what supply and USB ports give, where the board tells: a Raspberry Pi 5, mostly."""
    supply_ma = _cell(around, "max_current")
    is_usb_full = _cell(around, "usb_max_current_enable")
    over_current = _cell(around, "usb_over_current_detected")
    input_v = _input_voltage(around)
    figures = {"supply_ma": supply_ma, "input_v": input_v, "usb_over_current": over_current}
    parts = []
    if supply_ma is not None:
        parts.append(f"supply offers {supply_ma / 1000:g} A")
    if input_v is not None:
        parts.append(f"{input_v:.2f} V come in")
    message = ", ".join(parts)
    if over_current:
        remedy = "give the USB devices a hub with a supply of its own"
        return CheckResult("power", "warning", f"{message}; a USB device took too much".lstrip("; "), remedy, figures)
    if input_v is not None and input_v < _LOW_INPUT_V:
        remedy = "a shorter, thicker cable, or the supply that the board's maker sells"
        return CheckResult("power", "warning", f"{message}: low", remedy, figures)
    if supply_ma is not None and supply_ma < _FULL_SUPPLY_MA and not is_usb_full:
        remedy = (
            "use a 5 V 5 A supply; or, where yours does give that, add usb_max_current_enable=1 to "
            "/boot/firmware/config.txt"
        )
        return CheckResult("power", "warning", f"{message}; the USB ports are limited", remedy, figures)
    return CheckResult("power", "ok", message or "this board does not tell", figures=figures)


def _cell(around: Surroundings, name: str) -> int | None:
    """Return a number that the firmware left in the device tree: big-endian, 32 bits."""
    try:
        data = (around.root / "proc/device-tree/chosen/power" / name).read_bytes()
    except OSError:
        return None
    return int.from_bytes(data[:4], "big") if len(data) >= struct.calcsize(">I") else None


def _input_voltage(around: Surroundings) -> float | None:
    """Return what the power chip of a Raspberry Pi 5 measures at its input."""
    told = around.run(("vcgencmd", "pmic_read_adc", "EXT5V_V")) or ""
    found = re.search(r"EXT5V_V\b.*=([0-9.]+)V", told)
    return float(found.group(1)) if found else None


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB" if size_bytes >= _GIB else f"{size_bytes // _MIB} MiB"
