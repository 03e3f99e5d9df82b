"""The systemd unit: whether it is there, runs, is watched, and keeps running."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import UNIT, CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.app.doctor.result import Surroundings, Verdict

_JOURNAL = f"journalctl -u {UNIT} -n 50 --no-pager"
_US = 1e6
_NOT_ALIVE, _DEAF = "not alive: ", "deaf: "
"""Parts of the status line that the service gives itself, see `edge_agent.app.readiness`."""
_OFF = frozenset({"", "0", "infinity"})


def check_unit(around: Surroundings, monotonic_s: Callable[[], float] = time.monotonic) -> CheckResult:
    """Ask systemd how the service is doing."""
    told = around.unit
    if told is None or "ActiveState" not in told:
        if around.status is not None:
            return CheckResult("unit", "ok", "no systemd here; a service that was started by hand answers")
        return CheckResult("unit", "warning", "systemd does not run here, or does not answer", "edge-agent run")
    figures = {
        "active": told["ActiveState"],
        "sub": told.get("SubState"),
        "restarts": _number(told.get("NRestarts")),
        "result": told.get("Result"),
        "watchdog": told.get("WatchdogUSec"),
        "type": told.get("Type"),
        "enabled": told.get("UnitFileState"),
    }
    verdict, message, remedy = _judge(told, around, monotonic_s())
    return CheckResult("unit", verdict, message, remedy, figures)


def _judge(told: Mapping[str, str], around: Surroundings, now_s: float) -> tuple[Verdict, str, str]:
    active, sub, load = told["ActiveState"], told.get("SubState", ""), told.get("LoadState", "")
    if load == "not-found":
        by_hand = "; a service that was started by hand answers" if around.status is not None else ""
        return "warning", f"not installed{by_hand}", "sudo ./install.sh"
    again = f"sudo systemctl reset-failed {UNIT}; sudo systemctl start {UNIT}"
    found: dict[str, tuple[Verdict, str, str]] = {
        "failed": ("fault", _failure(told), f"{_JOURNAL}\nthen: {again}"),
        "inactive": ("warning", "installed and not running", f"sudo systemctl enable --now {UNIT}"),
    }
    if load in {"masked", "bad-setting", "error"}:
        return "fault", f"its unit file is {load}", f"systemctl status {UNIT}; sudo ./install.sh"
    if sub == "auto-restart":
        return "fault", f"ends and is started again, over and over ({_failure(told)})", _JOURNAL
    if active == "active":
        return _running(told, now_s)
    return found.get(active, ("warning", f"{active} ({sub})", f"wait a moment; {_JOURNAL}"))


def _running(told: Mapping[str, str], now_s: float) -> tuple[Verdict, str, str]:
    restarts = _number(told.get("NRestarts")) or 0
    started_us = _number(told.get("ExecMainStartTimestampMonotonic"))
    parts = ["running"]
    if started_us:
        parts.append(f"for {_span(now_s - started_us / _US)}")
    message = " ".join(parts)
    status = told.get("StatusText", "")
    if status:
        message += f": {status}"
    if status.startswith(_NOT_ALIVE):
        return "fault", message, f"systemd starts it again in half a minute; if that does not help: {_JOURNAL}"
    if status.startswith(_DEAF) or f"; {_DEAF}" in status:
        return "fault", message, "edge-agent status"
    if restarts:
        times = "once" if restarts == 1 else f"{restarts} times"
        return "warning", f"{message}; it was started again {times} since it was first started", _JOURNAL
    if told.get("Type") == "notify" and told.get("WatchdogUSec", "0") in _OFF:
        remedy = f"systemctl cat {UNIT}: some drop-in takes WatchdogSec= away"
        return "warning", f"{message}; nobody would notice if it hung", remedy
    if told.get("UnitFileState") == "disabled":
        return "warning", f"{message}; it will not start with the board", f"sudo systemctl enable {UNIT}"
    return "ok", message, ""


def _failure(told: Mapping[str, str]) -> str:
    result = told.get("Result") or "unknown"
    reasons = {
        "exit-code": f"it ended with status {told.get('ExecMainStatus', '?')}",
        "watchdog": "it hung, and the watchdog ended it",
        "timeout": "it did not get ready, or did not stop, in time",
        "oom-kill": "there was no memory left for it",
        "signal": "it was killed",
        "core-dump": "it crashed",
        "start-limit-hit": "it ended too often in a short time",
        "resources": "systemd could not start it",
    }
    return reasons.get(result, f"it failed: {result}")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _span(seconds: float) -> str:
    for size_s, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
