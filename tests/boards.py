"""Machines on paper: writes the files of sysfs and procfs that the sensors read, as the kernel would format them."""

from __future__ import annotations

from pathlib import Path

_MIB = 1 << 20


class Board:
    """A tree with `sys` and `proc` below `root`. Each method writes, or overwrites, what the name says."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> Path:
        """Write one file with the newline that the kernel ends it with."""
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(f"{text}\n", encoding="utf-8")
        return full

    def remove(self, path: str) -> None:
        """Remove one file."""
        (self.root / path).unlink()

    def unreadable(self, path: str) -> None:
        """Make a file that opens and then fails to be read, as those of `/proc/pressure` do with `psi=0`."""
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.unlink(missing_ok=True)
        full.symlink_to("/proc/self/mem")  # nothing is mapped at 0, so that is an input/output error

    def online(self, cores: str) -> None:
        """Write the list of cores that are switched on, such as `0-3`."""
        self.write("sys/devices/system/cpu/online", cores)

    def capacity(self, *capacities: int) -> None:
        """Write `cpu_capacity` of core 0, 1, ..."""
        for core, capacity in enumerate(capacities):
            self.write(f"sys/devices/system/cpu/cpu{core}/cpu_capacity", capacity)

    def clocks(self, *clocks_khz: int) -> None:
        """Write the highest clock of core 0, 1, ..."""
        for core, clock_khz in enumerate(clocks_khz):
            self.write(f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", clock_khz)

    def siblings(self, *lists: str) -> None:
        """Write the hyperthreads that core 0, 1, ... shares its hardware with."""
        for core, siblings in enumerate(lists):
            self.write(f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list", siblings)

    def zone(self, number: int, kind: str, temperature_c: float, **trips_c: float) -> None:
        """Write a thermal zone; `trips_c` are limits by type, with a number behind it where there are several."""
        zone = f"sys/class/thermal/thermal_zone{number}"
        self.write(f"{zone}/type", kind)
        self.write(f"{zone}/temp", round(temperature_c * 1000))
        for index, (trip, limit_c) in enumerate(trips_c.items()):
            self.write(f"{zone}/trip_point_{index}_type", trip.rstrip("0123456789"))
            self.write(f"{zone}/trip_point_{index}_temp", round(limit_c * 1000))

    def memory(self, total_mib: int, available_mib: int) -> None:
        """Write `/proc/meminfo`."""
        lines = (
            f"MemTotal:       {total_mib * 1024:>8} kB",
            f"MemFree:        {available_mib * 512:>8} kB",
            f"MemAvailable:   {available_mib * 1024:>8} kB",
            "Active(file):       4096 kB",
            "HugePages_Total:       0",
        )
        self.write("proc/meminfo", "\n".join(lines))

    def stalls(self, cpu: float = 0.0, memory: float = 0.0, memory_full: float = 0.0) -> None:
        """Write `/proc/pressure` with these averages of 10 s in per cent."""
        for resource, some, full in (("cpu", cpu, 0.0), ("memory", memory, memory_full)):
            lines = (
                f"{kind} avg10={value:.2f} avg60=0.00 avg300=0.00 total=18934436"
                for kind, value in (("some", some), ("full", full))
            )
            self.write(f"proc/pressure/{resource}", "\n".join(lines))

    def load(self, minute: float) -> None:
        """Write `/proc/loadavg`."""
        self.write("proc/loadavg", f"{minute:.2f} 0.41 0.33 1/187 4242")

    def group(self, *lines: str) -> None:
        """Write `/proc/self/cgroup`."""
        self.write("proc/self/cgroup", "\n".join(lines))


class RaspberryPi(Board):
    """A Raspberry Pi with Raspberry Pi's kernel, which has no PSI by default and no memory control groups."""

    firmware = "sys/devices/platform/soc/soc:firmware/get_throttled"

    def heat(self, temperature_c: float) -> None:
        """Set the processor's temperature."""
        self.write("sys/class/thermal/thermal_zone0/temp", round(temperature_c * 1000))

    def throttle(self, bits: int) -> None:
        """Set the firmware's bits."""
        self.write(self.firmware, f"{bits:x}")

    def under_voltage(self, *, alarm: bool) -> None:
        """Set the alarm of the kernel's voltage driver."""
        self.write("sys/class/hwmon/hwmon1/name", "rpi_volt")
        self.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", int(alarm))


class RaspberryPi5(RaspberryPi):
    """Its firmware node has another name."""

    firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"


def raspberry_pi_4(root: Path, temperature_c: float = 48.7) -> RaspberryPi:
    """A Raspberry Pi 4 with 4 GiB: four equal cores, off at 90 °C."""
    return _raspberry_pi(RaspberryPi(root), temperature_c, 1_800_000, critical=90.0)


def raspberry_pi_5(root: Path, temperature_c: float = 48.7) -> RaspberryPi:
    """A Raspberry Pi 5 with 4 GiB: four equal cores, trip points for its fan, off at 110 °C."""
    fan = {"active1": 50.0, "active2": 60.0, "active3": 67.5, "active4": 75.0}
    return _raspberry_pi(RaspberryPi5(root), temperature_c, 2_400_000, critical=110.0, **fan)


def _raspberry_pi(board: RaspberryPi, temperature_c: float, clock_khz: int, **trips_c: float) -> RaspberryPi:
    board.online("0-3")
    board.capacity(*[1024] * 4)
    board.clocks(*[clock_khz] * 4)
    board.siblings("0", "1", "2", "3")
    board.zone(0, "cpu-thermal", temperature_c, **trips_c)
    board.write("sys/class/hwmon/hwmon0/name", "cpu_thermal")
    board.under_voltage(alarm=False)
    board.throttle(0)
    board.memory(3792, 2900)
    board.load(0.52)
    board.group("0::/system.slice/edge-agent.service")
    board.write("sys/fs/cgroup/system.slice/cpu.max", "max 100000")
    board.write("sys/fs/cgroup/system.slice/edge-agent.service/cpu.max", "max 100000")
    return board


def rk3588(root: Path) -> Board:
    """An RK3588 board: four little cores, two pairs of big ones that differ a little, PSI, a zone for each part."""
    board = Board(root)
    board.online("0-7")
    board.capacity(404, 404, 404, 404, 1010, 1010, 1024, 1024)
    board.clocks(*[1_800_000] * 4, *[2_352_000] * 2, *[2_400_000] * 2)
    board.zone(0, "package-thermal", 52.0, critical=115.0)
    board.zone(1, "bigcore0-thermal", 58.2, passive1=75.0, passive2=85.0, critical=115.0)
    board.zone(2, "bigcore2-thermal", 61.0, passive1=75.0, passive2=85.0, critical=115.0)
    board.zone(3, "littlecore-thermal", 50.0, passive=85.0, critical=115.0)
    board.zone(4, "gpu-thermal", 70.0, passive=85.0)
    board.zone(5, "npu-thermal", 71.0)
    board.memory(7800, 6000)
    board.stalls()
    board.group("0::/")
    return board


def amlogic(root: Path) -> Board:
    """An eight-core Amlogic S912 under its maker's old kernel: clocks alone, and control groups of version 1."""
    board = Board(root)
    board.online("0-7")
    board.clocks(*[1_512_000] * 4, *[1_000_000] * 4)
    board.zone(0, "soc_thermal", 55.0, passive=70.0, critical=260.0)
    board.memory(1800, 1200)
    board.load(1.0)
    board.group("3:cpu,cpuacct:/", "2:memory:/", "1:name=systemd:/system.slice")
    return board


def container(root: Path, cores: int = 4) -> Board:
    """A system container (LXC and the like) on a desktop: one and a half CPUs, 512 MiB, no sensors of its own."""
    board = Board(root)
    board.online(f"0-{cores - 1}")
    board.group("0::/init.scope")
    board.write("sys/fs/cgroup/cpu.max", "150000 100000")
    board.write("sys/fs/cgroup/init.scope/cpu.max", "max 100000")
    board.write("sys/fs/cgroup/memory.max", 512 * _MIB)
    board.write("sys/fs/cgroup/memory.high", "max")
    board.write("sys/fs/cgroup/memory.current", 300 * _MIB)
    board.write("sys/fs/cgroup/memory.stat", f"anon {200 * _MIB}\nfile {100 * _MIB}\ninactive_file {60 * _MIB}")
    board.memory(32_000, 20_000)
    board.stalls()
    return board
