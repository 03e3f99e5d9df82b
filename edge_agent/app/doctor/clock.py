"""The clock: alarms ring by it, and certificates are checked against it."""

from __future__ import annotations

import ctypes
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.app.doctor.result import Surroundings

_FIRST_YEAR, _LAST_YEAR = 2025, 2100
_STATUS_OFFSET = 40
"""Of `status` in the kernel's `struct timex` on a 64-bit system (adjtimex(2))."""
_TIMEX_BYTES = 208
_UNSYNCHRONISED = 0x40
_SET_NTP = "sudo timedatectl set-ntp true   (needs a network; else a clock module)"


def is_synchronised() -> bool | None:
    """Ask the kernel whether something keeps the clock right; None where it does not say."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    (status,) = struct.unpack_from("i", buffer, _STATUS_OFFSET)
    return not status & _UNSYNCHRONISED


def check_clock(
    around: Surroundings,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    synchronised: Callable[[], bool | None] = is_synchronised,
) -> CheckResult:
    """Tell whether the year can be, and whether the clock is kept right."""
    moment = now()
    zone = _zone(around)
    is_kept = synchronised()
    figures = {"utc": moment.isoformat(timespec="seconds"), "zone": zone, "synchronised": is_kept}
    message = f"{moment:%Y-%m-%d %H:%M} UTC, time zone {zone or 'not set (UTC)'}"
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        reason = f"{message}: that year can't be; alarms and TLS go wrong"
        return CheckResult("clock", "fault", reason, _SET_NTP, figures)
    if is_kept is None:
        return CheckResult("clock", "ok", f"{message}; whether it is kept right is not told here", figures=figures)
    if not is_kept:
        return CheckResult("clock", "warning", f"{message}; not synchronised", _SET_NTP, figures)
    return CheckResult("clock", "ok", f"{message}, synchronised", figures=figures)


def _zone(around: Surroundings) -> str | None:
    if named := around.files.read("etc/timezone"):
        return named
    try:
        target = (around.root / "etc/localtime").readlink()
    except OSError:
        return None
    return str(target).partition("zoneinfo/")[2] or None
