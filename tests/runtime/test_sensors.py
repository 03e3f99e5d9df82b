"""Sensors: what recorded boards tell, and what is unknown where a kernel does not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import boards
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.runtime.sensors import Reading, Sensors, Throttled

_MIB = 1 << 20


def test_an_empty_machine_tells_nothing(tmp_path: Path) -> None:
    """Every field is unknown, and nothing is raised."""
    assert Sensors(tmp_path).read() == Reading()


def test_a_raspberry_pi_4_is_read(tmp_path: Path) -> None:
    """One zone in millidegrees, its critical limit, no throttling, no PSI and therefore the load."""
    boards.raspberry_pi_4(tmp_path)
    assert Sensors(tmp_path, cores=4).read() == Reading(
        temperature_c=48.7,
        critical_limit_c=90.0,
        throttled=Throttled(0),
        memory_total_bytes=3792 * _MIB,
        memory_available_bytes=2900 * _MIB,
        load_per_core=0.13,
    )


@pytest.mark.parametrize("make", [boards.raspberry_pi_4, boards.raspberry_pi_5])
def test_the_firmwares_bits_are_read(tmp_path: Path, make: type[boards.RaspberryPi]) -> None:
    """They are hexadecimal without a prefix, on either name of the firmware's node."""
    board = make(tmp_path)
    board.throttle(0x50005)
    assert Sensors(tmp_path).read().throttled == (
        Throttled.UNDER_VOLTAGE | Throttled.THROTTLED | Throttled.UNDER_VOLTAGE_SEEN | Throttled.THROTTLED_SEEN
    )


def test_bits_that_are_new_are_left_out(tmp_path: Path) -> None:
    """A firmware that tells more does not confuse."""
    boards.raspberry_pi_4(tmp_path).throttle(0xFFFFFFF2)
    assert Sensors(tmp_path).read().throttled == Throttled(0xF0002)


def test_a_fans_trip_points_are_no_limits(tmp_path: Path) -> None:
    """A Raspberry Pi 5 has four active ones, which only spin its fan."""
    boards.raspberry_pi_5(tmp_path)
    reading = Sensors(tmp_path).read()
    assert (reading.soft_limit_c, reading.critical_limit_c) == (None, 110.0)


def test_the_voltage_driver_serves_without_the_firmwares_file(tmp_path: Path) -> None:
    """Other kernels, and newer ones, have its alarm alone; a second sensor chip is no trouble."""
    board = boards.raspberry_pi_5(tmp_path)
    board.remove(board.firmware)
    board.under_voltage(alarm=True)
    assert Sensors(tmp_path).read().throttled == Throttled.UNDER_VOLTAGE
    board.under_voltage(alarm=False)
    assert Sensors(tmp_path).read().throttled == Throttled(0)
    board.remove("sys/class/hwmon/hwmon1/in0_lcrit_alarm")
    assert Sensors(tmp_path).read().throttled is None


def test_the_hottest_part_of_the_processor_counts(tmp_path: Path) -> None:
    """An RK3588's GPU and NPU are hotter here, and don't count; of its passive limits the higher one does."""
    boards.rk3588(tmp_path)
    reading = Sensors(tmp_path).read()
    assert reading.temperature_c == 61.0
    assert (reading.soft_limit_c, reading.critical_limit_c) == (85.0, 115.0)


@pytest.mark.parametrize("millidegrees", ["-274000", "255000", "hot", ""])
def test_a_temperature_without_sense_is_unknown(tmp_path: Path, millidegrees: str) -> None:
    """A sensor that is off is not a processor at absolute zero."""
    board = boards.raspberry_pi_4(tmp_path)
    board.write("sys/class/thermal/thermal_zone0/temp", millidegrees)
    assert Sensors(tmp_path).read().temperature_c is None


def test_limits_without_sense_are_unknown(tmp_path: Path) -> None:
    """An S912's maker wrote 260 °C for "never"; 0 °C means the same elsewhere."""
    board = boards.amlogic(tmp_path)
    reading = Sensors(tmp_path).read()
    assert (reading.soft_limit_c, reading.critical_limit_c) == (70.0, None)
    board.write("sys/class/thermal/thermal_zone0/trip_point_0_temp", 0)
    assert Sensors(tmp_path).read().soft_limit_c is None


def test_a_control_group_bounds_memory(tmp_path: Path) -> None:
    """512 MiB less 300 used, of which 60 are cache that can go."""
    boards.container(tmp_path)
    reading = Sensors(tmp_path).read()
    assert reading.memory_total_bytes == 512 * _MIB
    assert reading.memory_available_bytes == 272 * _MIB


def test_the_lower_of_the_groups_limits_counts(tmp_path: Path) -> None:
    """Above `memory.high` the kernel slows the group down, long before it kills."""
    board = boards.container(tmp_path)
    board.write("sys/fs/cgroup/memory.high", 250 * _MIB)
    reading = Sensors(tmp_path).read()
    assert (reading.memory_total_bytes, reading.memory_available_bytes) == (250 * _MIB, 10 * _MIB)


def test_a_group_in_a_tight_machine_has_what_the_machine_has(tmp_path: Path) -> None:
    """A limit that is far away helps nobody where the machine itself is full."""
    board = boards.container(tmp_path)
    board.memory(32_000, 40)
    assert Sensors(tmp_path).read().memory_available_bytes == 40 * _MIB


def test_version_1_limits_are_read(tmp_path: Path) -> None:
    """Their "no limit" is a huge number, on the root."""
    board = boards.amlogic(tmp_path)
    board.group("2:memory:/box")
    board.write("sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    board.write("sys/fs/cgroup/memory/memory.usage_in_bytes", 1000 * _MIB)
    board.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", 600 * _MIB)
    board.write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", 500 * _MIB)
    board.write("sys/fs/cgroup/memory/box/memory.stat", f"inactive_file 1\ntotal_inactive_file {20 * _MIB}")
    reading = Sensors(tmp_path).read()
    assert (reading.memory_total_bytes, reading.memory_available_bytes) == (600 * _MIB, 120 * _MIB)


def test_stalls_are_read(tmp_path: Path) -> None:
    """The averages of 10 s, and no load beside them."""
    board = boards.rk3588(tmp_path)
    board.stalls(cpu=12.5, memory=3.25, memory_full=1.5)
    board.load(7)
    reading = Sensors(tmp_path).read()
    assert reading.cpu_stall_percent == 12.5
    assert (reading.memory_stall_percent, reading.memory_full_stall_percent) == (3.25, 1.5)
    assert reading.load_per_core is None


def test_stalls_that_are_switched_off_leave_the_load(tmp_path: Path) -> None:
    """With `psi=0` the files are there and can't be read."""
    board = boards.rk3588(tmp_path)
    board.unreadable("proc/pressure/cpu")
    board.unreadable("proc/pressure/memory")
    board.load(4)
    reading = Sensors(tmp_path, cores=8).read()
    assert (reading.cpu_stall_percent, reading.memory_stall_percent) == (None, None)
    assert reading.load_per_core == 0.5


def test_an_old_kernels_cpu_stalls_have_one_line(tmp_path: Path) -> None:
    """Before 5.13 there is no `full` for the cores."""
    board = boards.rk3588(tmp_path)
    board.write("proc/pressure/cpu", "some avg10=9.00 avg60=0.00 avg300=0.00 total=1")
    assert Sensors(tmp_path).read().cpu_stall_percent == 9.0


def test_this_machine_is_read() -> None:
    """The kernel that runs the tests has memory."""
    reading = Sensors().read()
    assert reading.memory_total_bytes is not None
    assert reading.memory_available_bytes is not None
    assert 0 < reading.memory_available_bytes <= reading.memory_total_bytes


_FILES = (
    "sys/class/thermal/thermal_zone0/temp",
    "sys/class/thermal/thermal_zone0/type",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp",
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm",
    "proc/meminfo",
    "proc/loadavg",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/self/cgroup",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory.current",
    "sys/fs/cgroup/memory.stat",
)
_TEXT = st.one_of(
    st.binary(max_size=20),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from([b"nan", b"inf 1 2", b"-inf", b"MemTotal: " + b"9" * 5000, b"inactive_file x", b"9" * 5000, b"-1"]),
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(written=st.dictionaries(st.sampled_from(_FILES), _TEXT))
def test_garbage_is_never_raised(written: dict[str, bytes]) -> None:
    """Whatever the files hold, every field is unknown or plausible."""
    with TemporaryDirectory() as root:
        board = boards.raspberry_pi_4(Path(root))
        for path, text in written.items():
            board.write(path, "").write_bytes(text)
        reading = Sensors(board.root).read()
    assert reading.temperature_c is None or -40 <= reading.temperature_c <= 151
    assert reading.memory_available_bytes is None or reading.memory_available_bytes >= 0
    assert reading.load_per_core is None or reading.load_per_core >= 0
    assert reading.cpu_stall_percent is None or 0 <= reading.cpu_stall_percent <= 100
