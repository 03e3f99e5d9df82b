"""What doctor says of boards, from the files that their kernels write."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import Board, container, raspberry_pi_4, raspberry_pi_5, rk3588
from doctor_rig import paper

from edge_agent.app.doctor.board import (
    check_board,
    check_cores,
    check_memory,
    check_power,
    check_python,
    check_system,
    check_temperature,
    check_throttling,
)
from edge_agent.config.schema import Config


def cell(board: Board, name: str, value: int) -> None:
    """Write a number into the device tree, as firmware does."""
    path = board.root / "proc/device-tree/chosen/power" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value.to_bytes(4, "big"))


def test_the_board_is_named_by_the_device_tree_else_by_dmi(tmp_path: Path) -> None:
    """A string that ends in a zero byte; a PC has maker and product; a container neither."""
    assert check_board(paper(tmp_path)).message.startswith("not told")
    board = Board(tmp_path)
    board.write("sys/class/dmi/id/sys_vendor", "QEMU")
    board.write("sys/class/dmi/id/product_name", "Standard PC")
    assert check_board(paper(tmp_path)).message == "QEMU Standard PC"
    board.write("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    found = check_board(paper(tmp_path))
    assert (found.verdict, found.message) == ("ok", "Raspberry Pi 5 Model B Rev 1.0")


def test_the_system_is_named(tmp_path: Path) -> None:
    """By its release file and its kernel."""
    board = Board(tmp_path)
    board.write("etc/os-release", 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"')
    board.write("proc/sys/kernel/osrelease", "6.6.51+rpt-rpi-2712")
    found = check_system(paper(tmp_path))
    assert found.verdict == "ok"
    assert "Debian GNU/Linux 12 (bookworm), kernel 6.6.51+rpt-rpi-2712" in found.message


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be found is what pip is told to bring."""
    assert check_python().verdict == "ok"
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "soxr" else real(name))
    found = check_python()
    assert found.verdict == "warning"
    assert found.figures["missing"] == "soxr"
    assert "edge-agent[audio]" in found.remedy


def test_cores_and_their_clock(tmp_path: Path) -> None:
    """A governor that keeps them at their lowest clock is a warning, but not where it is only called so."""
    board = raspberry_pi_5(tmp_path)
    found = check_cores(paper(tmp_path))
    assert found.verdict == "ok"
    assert found.figures == {"cores": 4, "highest_clock_mhz": 2400}
    board.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    slow = check_cores(paper(tmp_path))
    assert slow.verdict == "warning"
    assert "scaling_governor" in slow.remedy
    board.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate")
    assert check_cores(paper(tmp_path)).verdict == "ok"


def test_eight_cores_of_two_kinds(tmp_path: Path) -> None:
    """All are counted."""
    rk3588(tmp_path)
    assert check_cores(paper(tmp_path)).figures["cores"] == 8


@pytest.mark.parametrize(
    ("total", "available", "swap_kib", "verdict"),
    [
        (3792, 2900, 0, "ok"),
        (900, 600, 0, "warning"),
        (900, 600, 450_000, "ok"),
        (3792, 150, 0, "warning"),
        (3792, 50, 0, "fault"),
    ],
)
def test_memory(tmp_path: Path, total: int, available: int, swap_kib: int, verdict: str) -> None:
    """Little of it without swap, and little left, are told apart from enough."""
    board = Board(tmp_path)
    board.memory(total, available)
    with (tmp_path / "proc/meminfo").open("a") as file:
        file.write(f"SwapTotal: {swap_kib} kB\n")
    found = check_memory(paper(tmp_path))
    assert found.verdict == verdict
    assert found.figures["total_mib"] == total
    assert bool(found.remedy) is (verdict != "ok")


def test_memory_of_a_container_is_what_its_group_may_use(tmp_path: Path) -> None:
    """Not the host's 32 GB."""
    container(tmp_path)
    assert check_memory(paper(tmp_path)).figures["total_mib"] == 512


@pytest.mark.parametrize(
    ("heat_c", "verdict", "word"),
    [(48.7, "ok", "48.7 °C"), (76.0, "warning", "idle work rests"), (86.0, "warning", "only intents")],
)
def test_heat_is_judged_by_what_the_agent_gives_up(tmp_path: Path, heat_c: float, verdict: str, word: str) -> None:
    """By the thresholds of its configuration."""
    raspberry_pi_4(tmp_path, heat_c)
    found = check_temperature(Config(), paper(tmp_path))
    assert found.verdict == verdict
    assert word in found.message


def test_throttling_by_sysfs(tmp_path: Path) -> None:
    """What is and what was; the supply is named where voltage was low."""
    board = raspberry_pi_4(tmp_path)
    assert check_throttling(paper(tmp_path)).verdict == "ok"
    board.throttle(0x50005)
    found = check_throttling(paper(tmp_path))
    assert found.verdict == "warning"
    assert found.message == "now: under-voltage, throttled"
    board.throttle(0x50000)
    before = check_throttling(paper(tmp_path))
    assert before.message == "since the start: under-voltage, throttled"
    assert "supply" in before.remedy
    board.throttle(0x80008)
    assert "heat sink" in check_throttling(paper(tmp_path)).remedy


def test_throttling_by_vcgencmd(tmp_path: Path) -> None:
    """Where the kernel has no file for it; elsewhere nothing is told, and nothing is wrong."""
    assert check_throttling(paper(tmp_path)).message == "this machine does not tell"
    found = check_throttling(paper(tmp_path, {"vcgencmd get_throttled": "throttled=0x20002\n"}))
    assert found.message == "now: clock capped"
    assert found.figures == {"bits": "0x20002"}


def test_throttling_that_a_raspberry_pi_does_not_tell(tmp_path: Path) -> None:
    """It could: that is worth a look as root."""
    model = tmp_path / "proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_text("Raspberry Pi 4 Model B Rev 1.5\0")
    found = check_throttling(paper(tmp_path))
    assert (found.verdict, found.remedy) == ("warning", "sudo edge-agent doctor --only throttling")
    assert found.figures == {"bits": None}


def test_power_of_a_raspberry_pi_5(tmp_path: Path) -> None:
    """A small supply limits the USB ports, unless it was told to be a large one; a low input is a bad cable."""
    board = raspberry_pi_5(tmp_path)
    assert check_power(paper(tmp_path)).message == "this board does not tell"
    cell(board, "max_current", 3000)
    small = check_power(paper(tmp_path))
    assert small.verdict == "warning"
    assert "supply offers 3 A" in small.message
    assert "usb_max_current_enable=1" in small.remedy
    cell(board, "usb_max_current_enable", 1)
    assert check_power(paper(tmp_path)).verdict == "ok"
    cell(board, "max_current", 5000)
    low = {"vcgencmd pmic_read_adc": "     EXT5V_V volt(24)=4.71150000V\n"}
    found = check_power(paper(tmp_path, low))
    assert (found.verdict, found.figures["input_v"]) == ("warning", 4.7115)
    cell(board, "usb_over_current_detected", 1)
    assert "took too much" in check_power(paper(tmp_path)).message
