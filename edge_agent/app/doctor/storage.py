"""Disk: room, inodes, whether it can be written, and how worn the card is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.doctor.places import places_of
from edge_agent.app.doctor.result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.doctor.result import Surroundings
    from edge_agent.config.schema import Config

_MIB = 1 << 20
_LEAST_BYTES = 64 * _MIB
_SCARCE_BYTES = 512 * _MIB
_LEAST_INODE_SHARE = 0.01
_WORN_STEP = 9
"""eMMC tells its wear in steps of a tenth: 0x0A is 90 to 100 % (JEDEC eMMC 5.0, EXT_CSD 268 and 269)."""
_TIB = 1 << 40


def check_disk(
    config: Config, around: Surroundings, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
) -> CheckResult:
    """Look at room, inodes and writability where the agent's state, models and caches are."""
    places = places_of(config, around.root)
    worst: CheckResult | None = None
    told: dict[int, str] = {}  # places of one file system are told once
    figures: dict[str, str | int | float | bool | None] = {}
    for name, path in (("state", places.state), ("models", places.models), ("cache", places.cache)):
        existing = _existing(path)
        try:
            found = statvfs(existing)
        except OSError as error:
            reason = f"{existing}: {error.strerror}"
            worst = worst or CheckResult("disk", "warning", reason, "look as root: sudo edge-agent doctor --only disk")
            continue
        free = found.f_bavail * found.f_frsize
        inode_share = found.f_favail / found.f_files if found.f_files else 1.0
        figures |= {f"{name}_free_mib": free // _MIB, f"{name}_inodes_free_percent": round(100 * inode_share, 1)}
        told.setdefault(free // _MIB, f"{free / (1 << 30):.1f} GiB free in {existing}")
        worst = _worse(worst, _judge(existing, found, free, inode_share))
    message = "; ".join(told.values())
    if worst is None:
        return CheckResult("disk", "ok", message, figures=figures)
    return CheckResult("disk", worst.verdict, worst.message, worst.remedy, figures)


def check_card(around: Surroundings) -> CheckResult:
    """Look for signs of a card that wears out: the file system's errors, an eMMC's own estimate."""
    device = _root_device(around)
    if device is None:
        return CheckResult("card", "ok", "the root is no card or disk of this machine's own")
    whole = re.sub(r"p?\d+$", "", device) if device.startswith(("mmcblk", "nvme")) else device.rstrip("0123456789")
    files = around.files
    errors = files.number(f"sys/fs/ext4/{device}/errors_count")
    written_kib = files.number(f"sys/fs/ext4/{device}/lifetime_write_kbytes")
    worn = [
        int(step, 16) for step in re.findall(r"0x[0-9a-fA-F]+", files.read(f"sys/block/{whole}/device/life_time") or "")
    ]
    kind = files.read(f"sys/block/{whole}/device/type") or "disk"
    model = files.read(f"sys/block/{whole}/device/name") or ""
    figures = {
        "device": device,
        "kind": kind,
        "file_system_errors": errors,
        "written_gib": None if written_kib is None else round(written_kib / (1 << 20), 1),
        "worn_percent": max(worn) * 10 if worn else None,
    }
    parts = [" ".join(word for word in (kind, model, f"({device})") if word)]
    if written_kib is not None:
        parts.append(f"{_written(written_kib << 10)} written so far")
    if worn:
        parts.append(f"about {max(worn) * 10} % worn")
    message = ", ".join(parts)
    if errors:
        remedy = "back the card up, then have it checked at the next start: sudo touch /forcefsck && sudo reboot"
        return CheckResult("card", "warning", f"{message}; the file system has seen {errors} errors", remedy, figures)
    if worn and max(worn) > _WORN_STEP:
        return CheckResult("card", "warning", f"{message}: near its end", "replace it; back it up now", figures)
    return CheckResult("card", "ok", message, figures=figures)


def _judge(path: Path, found: os.statvfs_result, free: int, inode_share: float) -> CheckResult | None:
    if found.f_flag & os.ST_RDONLY:
        remedy = (
            "after a fault of the card the kernel does that: dmesg | grep -i ext4, back up, check it; where you want "
            "a read-only root, mount a writable file system there"
        )
        return CheckResult("disk", "fault", f"{path} is on a read-only file system", remedy)
    if free < _SCARCE_BYTES:
        remedy = "make room: sudo apt clean; sudo journalctl --vacuum-size=50M; edge-agent models list"
        message = f"{path}: {free // _MIB} MiB free"
        return CheckResult("disk", "fault" if free < _LEAST_BYTES else "warning", message, remedy)
    if inode_share < _LEAST_INODE_SHARE:
        remedy = f"find what has so many files: sudo du --inodes -xd2 {path} / | sort -n | tail"
        return CheckResult("disk", "fault", f"{path}: {100 * inode_share:.1f} % of the inodes are left", remedy)
    return None


def _worse(one: CheckResult | None, other: CheckResult | None) -> CheckResult | None:
    if one is None or other is None:
        return one or other
    return other if other.verdict == "fault" and one.verdict != "fault" else one


def _existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that exists, or is kept from us."""
    for candidate in (path, *path.parents):
        try:
            if candidate.exists():
                return candidate
        except PermissionError:
            continue
    return Path("/")


def _root_device(around: Surroundings) -> str | None:
    """Return the block device that the root is on, such as `mmcblk0p2`."""
    for line in (around.files.read("proc/self/mounts") or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[1] == "/" and words[0].startswith("/dev/"):
            name = Path(words[0]).name
            if name == "root":  # an alias: the number of the device leads to its name
                continue
            return name
    return None


def _written(size_bytes: int) -> str:
    return f"{size_bytes / _TIB:.1f} TiB" if size_bytes >= _TIB else f"{size_bytes / (1 << 30):.0f} GiB"
