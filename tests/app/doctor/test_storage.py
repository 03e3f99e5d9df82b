"""What doctor says of disks and cards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boards import Board
from doctor_rig import paper

from edge_agent.app.doctor.storage import check_card, check_disk
from edge_agent.config.audio import DirectoriesConfig
from edge_agent.config.schema import Config

_MIB = 1 << 20


def filled(free_mib: int, *, inodes: float = 0.9, flags: int = 0) -> os.statvfs_result:
    """Return what the kernel says of a file system."""
    blocks, files = 1 << 20, 100_000
    free = free_mib * _MIB // 4096
    return os.statvfs_result(
        (4096, 4096, blocks, free, free, files, int(files * inodes), int(files * inodes), flags, 255)
    )


@pytest.mark.parametrize(
    ("system", "verdict", "words"),
    [
        (filled(20_000), "ok", "19.5 GiB free"),
        (filled(300), "warning", "300 MiB free"),
        (filled(10), "fault", "10 MiB free"),
        (filled(20_000, inodes=0.001), "fault", "0.1 % of the inodes"),
        (filled(20_000, flags=os.ST_RDONLY), "fault", "read-only"),
    ],
    ids=["enough", "scarce", "full", "no inodes", "read-only"],
)
def test_room(tmp_path: Path, system: os.statvfs_result, verdict: str, words: str) -> None:
    """Room, inodes and whether it can be written, each with what to do."""
    config = Config(directories=DirectoriesConfig(state=tmp_path, models=tmp_path, cache=tmp_path))
    found = check_disk(config, paper(tmp_path), lambda _: system)
    assert found.verdict == verdict
    assert words in found.message
    assert bool(found.remedy) is (verdict != "ok")


def test_the_service_s_places_are_looked_at_where_it_is_installed(tmp_path: Path) -> None:
    """Also by a user who may not write there; a place that does not exist yet by the one above it."""
    (tmp_path / "var/lib/edge-agent").mkdir(parents=True)
    (tmp_path / "var/cache/edge-agent").mkdir(parents=True)
    looked: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        looked.append(path)
        return filled(20_000)

    check_disk(Config(), paper(tmp_path), statvfs)
    state = tmp_path / "var/lib/edge-agent"
    assert looked == [state, state, tmp_path / "var/cache/edge-agent"]


def card(root: Path) -> Board:
    """An eMMC that the root is on."""
    board = Board(root)
    board.write("proc/self/mounts", "proc /proc proc rw 0 0\n/dev/mmcblk0p2 / ext4 rw,noatime 0 0")
    board.write("sys/block/mmcblk0/device/type", "MMC")
    board.write("sys/block/mmcblk0/device/name", "BJTD4R")
    board.write("sys/fs/ext4/mmcblk0p2/lifetime_write_kbytes", 40 << 20)
    board.write("sys/fs/ext4/mmcblk0p2/errors_count", 0)
    return board


def test_signs_of_wear(tmp_path: Path) -> None:
    """Errors of the file system, and what an eMMC estimates itself."""
    board = card(tmp_path)
    fresh = check_card(paper(tmp_path))
    assert (fresh.verdict, fresh.message) == ("ok", "MMC BJTD4R (mmcblk0p2), 40 GiB written so far")
    board.write("sys/block/mmcblk0/device/life_time", "0x02 0x0a")
    worn = check_card(paper(tmp_path))
    assert worn.verdict == "warning"
    assert worn.figures["worn_percent"] == 100
    board.write("sys/block/mmcblk0/device/life_time", "0x02 0x03")
    board.write("sys/fs/ext4/mmcblk0p2/errors_count", 3)
    broken = check_card(paper(tmp_path))
    assert broken.verdict == "warning"
    assert "3 errors" in broken.message


def test_a_root_that_is_no_disk(tmp_path: Path) -> None:
    """An overlay has nothing that wears out."""
    Board(tmp_path).write("proc/self/mounts", "overlay / overlay rw 0 0")
    assert check_card(paper(tmp_path)).verdict == "ok"
