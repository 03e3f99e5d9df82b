"""Topology: which cores compute on the boards there are, and that nonsense never leaves none."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import boards
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.runtime.topology import KernelFiles, Topology, read_topology


def _cores(topology: Topology) -> tuple[int, int]:
    return topology.compute_cores, topology.reserve


def test_a_raspberry_pi_keeps_one_of_four_cores_for_listening(tmp_path: Path) -> None:
    """Four equal cores: three compute."""
    boards.raspberry_pi_5(tmp_path)
    topology = read_topology(tmp_path, range(4))
    assert topology == Topology(
        cores=(0, 1, 2, 3),
        big=(0, 1, 2, 3),
        little=(),
        quota=None,
        compute_cores=3,
        reserve=1,
        physical=4,
    )
    assert topology.counted == 4
    assert topology.describe() == "4 cores (0-3), 3 compute threads, 1 kept for listening"


@pytest.mark.parametrize(("cores", "expected"), [(1, (1, 0)), (2, (2, 0)), (3, (3, 0)), (4, (3, 1)), (8, (7, 1))])
def test_the_reserve_begins_at_four_equal_cores(tmp_path: Path, cores: int, expected: tuple[int, int]) -> None:
    """Fewer cores all compute: niceness protects capture there."""
    boards.Board(tmp_path).online(f"0-{cores - 1}")
    assert _cores(read_topology(tmp_path, range(cores))) == expected


def test_little_cores_are_the_reserve(tmp_path: Path) -> None:
    """On an RK3588 both pairs of big cores compute, though their capacity differs, and none of them is given up."""
    boards.rk3588(tmp_path)
    topology = read_topology(tmp_path, range(8))
    assert (topology.big, topology.little) == ((4, 5, 6, 7), (0, 1, 2, 3))
    assert _cores(topology) == (4, 4)
    assert topology.describe() == (
        "8 cores (0-7), 4 big (4-7), 4 little (0-3), 4 compute threads, 4 kept for listening"
    )


def test_clocks_serve_where_the_kernel_knows_no_capacity(tmp_path: Path) -> None:
    """An S912's second cluster runs at two thirds of the first one's clock."""
    boards.amlogic(tmp_path)
    topology = read_topology(tmp_path, range(8))
    assert (topology.big, topology.little) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert _cores(topology) == (4, 4)


def test_capacity_that_one_core_lacks_is_not_used(tmp_path: Path) -> None:
    """Half a source is none: the next one is asked for all cores."""
    board = boards.rk3588(tmp_path)
    board.write("sys/devices/system/cpu/cpu3/cpu_capacity", "?")
    board.clocks(*[2_000_000] * 8)
    topology = read_topology(tmp_path, range(8))
    assert topology.little == ()
    assert _cores(topology) == (7, 1)


def test_an_offline_core_is_not_counted(tmp_path: Path) -> None:
    """With one of four switched off three are left, and no reserve."""
    board = boards.raspberry_pi_4(tmp_path)
    board.online("0-1,3")
    topology = read_topology(tmp_path, range(4))
    assert topology.cores == (0, 1, 3)
    assert _cores(topology) == (3, 0)
    assert topology.describe().startswith("3 cores (0-1,3), ")


def test_affinity_bounds_what_is_used(tmp_path: Path) -> None:
    """A process bound to two big cores and a little one computes on the big ones."""
    boards.rk3588(tmp_path)
    topology = read_topology(tmp_path, {0, 6, 7})
    assert (topology.cores, topology.big, topology.little) == ((0, 6, 7), (6, 7), (0,))
    assert _cores(topology) == (2, 1)


def test_a_process_bound_to_little_cores_computes_on_them(tmp_path: Path) -> None:
    """The largest capacity is that of the cores it has."""
    boards.rk3588(tmp_path)
    topology = read_topology(tmp_path, range(4))
    assert topology.big == (0, 1, 2, 3)
    assert _cores(topology) == (3, 1)


def test_a_quota_floors_the_compute_threads(tmp_path: Path) -> None:
    """One and a half CPUs pay for one thread, however many cores are seen, and whichever level sets the limit."""
    boards.container(tmp_path)
    topology = read_topology(tmp_path, range(4))
    assert topology.quota == 1.5
    assert _cores(topology) == (1, 0)
    assert topology.describe() == "4 cores (0-3), quota 1.5 CPUs, 1 compute thread, 0 kept for listening"


@pytest.mark.parametrize(
    ("quota_us", "expected"),
    [(50_000, (1, 0)), (200_000, (2, 0)), (399_999, (3, 0)), (400_000, (3, 1)), (600_000, (5, 1)), (900_000, (7, 1))],
)
def test_a_quota_of_four_cpus_has_a_reserve_too(tmp_path: Path, quota_us: int, expected: tuple[int, int]) -> None:
    """A quota counts like that many cores; one above the cores changes nothing."""
    board = boards.container(tmp_path, cores=8)
    board.write("sys/fs/cgroup/cpu.max", f"{quota_us} 100000")
    assert _cores(read_topology(tmp_path, range(8))) == expected


def test_a_quota_bounds_big_and_little_together(tmp_path: Path) -> None:
    """Little cores cost the same quota: four CPUs are three threads and one for listening."""
    board = boards.rk3588(tmp_path)
    board.write("sys/fs/cgroup/cpu.max", "400000 100000")
    assert _cores(read_topology(tmp_path, range(8))) == (3, 1)
    board.write("sys/fs/cgroup/cpu.max", "150000 100000")
    assert _cores(read_topology(tmp_path, range(8))) == (1, 0)


def test_the_smallest_quota_on_the_way_counts(tmp_path: Path) -> None:
    """A slice's limit binds the service in it, even where the service has a larger one."""
    board = boards.raspberry_pi_4(tmp_path)
    board.write("sys/fs/cgroup/system.slice/cpu.max", "250000 100000")
    board.write("sys/fs/cgroup/system.slice/edge-agent.service/cpu.max", "300000 100000")
    board.write("sys/fs/cgroup/system.slice/other.service/cpu.max", "100000 100000")
    assert read_topology(tmp_path, range(4)).quota == 2.5


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1_quotas_are_read(tmp_path: Path, mount: str) -> None:
    """The old kernels of some boards have them, under one name or the other."""
    board = boards.amlogic(tmp_path)
    board.group("3:cpu,cpuacct:/box", "2:memory:/")
    board.write(f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", -1)
    board.write(f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", 100_000)
    board.write(f"sys/fs/cgroup/{mount}/box/cpu.cfs_quota_us", 100_000)
    board.write(f"sys/fs/cgroup/{mount}/box/cpu.cfs_period_us", 50_000)
    topology = read_topology(tmp_path, range(8))
    assert topology.quota == 2.0
    assert _cores(topology) == (2, 0)


def test_the_unified_hierarchy_beside_version_1_is_read(tmp_path: Path) -> None:
    """Systemd's hybrid mode mounts version 2 below the others."""
    board = boards.Board(tmp_path)
    board.group("2:cpu:/", "0::/service")
    board.write("sys/fs/cgroup/unified/service/cpu.max", "100000 200000")
    assert read_topology(tmp_path, range(4)).quota == 0.5


@pytest.mark.parametrize("path", ["/lxc.payload.box/service", "/../../escaped"])
def test_a_path_of_the_host_falls_back_to_the_roots_limit(tmp_path: Path, path: str) -> None:
    """In a container the group's path may be the host's, and means nothing inside; it never leads out of the tree."""
    board = boards.container(tmp_path / "inside")
    board.group(f"0::{path}")
    boards.Board(tmp_path).write("escaped/cpu.max", "1 100000")
    assert read_topology(tmp_path / "inside", range(4)).quota == 1.5


@pytest.mark.parametrize("text", ["max", "", "-1 100000", "0 100000", "100000 0", "x y", "1 2 3", "9" * 5000])
def test_a_quota_without_sense_is_none(tmp_path: Path, text: str) -> None:
    """Whatever a file holds, the cores are still there; three numbers are read as the first two."""
    board = boards.container(tmp_path)
    board.write("sys/fs/cgroup/cpu.max", text)
    topology = read_topology(tmp_path, range(4))
    assert topology.quota == (0.5 if text == "1 2 3" else None)
    assert topology.compute_cores == (1 if text == "1 2 3" else 3)


def test_hyperthreads_are_told_not_acted_on(tmp_path: Path) -> None:
    """Four threads of two cores: the log says so."""
    board = boards.Board(tmp_path)
    board.online("0-3")
    board.siblings("0,2", "1,3", "0,2", "1,3")
    topology = read_topology(tmp_path, range(4))
    assert topology.physical == 2
    assert _cores(topology) == (3, 1)
    assert "2 physical" in topology.describe()


def test_nothing_to_read_leaves_the_affinity(tmp_path: Path) -> None:
    """A machine without sysfs has equal cores."""
    topology = read_topology(tmp_path, {5, 2})
    assert topology == Topology((2, 5), (2, 5), (), None, 2, 0, 2)


def test_this_machine_is_read() -> None:
    """The kernel that runs the tests has at least one core."""
    topology = read_topology()
    assert 1 <= topology.compute_cores <= topology.counted <= len(topology.cores)


def test_no_core_at_all_is_refused(tmp_path: Path) -> None:
    """That is a caller's mistake, not the kernel's."""
    with pytest.raises(ValueError, match="one core"):
        read_topology(tmp_path, ())


def test_an_absent_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sensors that are read every two seconds do not fill the log with what a board lacks."""
    caplog.set_level("DEBUG")
    files = KernelFiles(tmp_path)
    assert files.read("proc/pressure/cpu") is None
    assert files.read("proc/pressure/cpu") is None
    assert len(caplog.records) == 1


_TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.integers(-5, 3_000_000).map(str),
    st.sampled_from(["0-3", "0-7", "0,2-3", "3-1", "-", "max 100000", "150000 100000", "0-99999999999"]),
)
_FILES = st.sampled_from(
    [
        "sys/devices/system/cpu/online",
        "sys/fs/cgroup/cpu.max",
        "proc/self/cgroup",
        *(f"sys/devices/system/cpu/cpu{core}/cpu_capacity" for core in range(4)),
        *(f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq" for core in range(4)),
        *(f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list" for core in range(4)),
    ]
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(written=st.dictionaries(_FILES, _TEXT), affinity=st.sets(st.integers(0, 9), min_size=1))
def test_whatever_the_kernel_writes_some_cores_compute(written: dict[str, str], affinity: set[int]) -> None:
    """At least one compute thread, never more than usable cores, and every core is either big or little."""
    with TemporaryDirectory() as root:
        board = boards.raspberry_pi_4(Path(root))
        for path, text in written.items():
            board.write(path, text)
        topology = read_topology(board.root, affinity)
    assert 1 <= topology.compute_cores <= len(topology.big)
    assert topology.reserve >= 0
    assert topology.counted <= len(topology.cores)
    assert set(topology.cores) <= affinity
    assert sorted(topology.big + topology.little) == list(topology.cores)
    assert 1 <= topology.physical <= len(topology.cores)
    assert topology.quota is None or topology.compute_cores <= max(1, topology.quota)
