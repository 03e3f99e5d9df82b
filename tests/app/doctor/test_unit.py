"""What doctor says of the service, from what `systemctl show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_rig import paper

from edge_agent.app.doctor.result import CheckResult
from edge_agent.app.doctor.unit import check_unit
from edge_agent.app.readiness import View, status_line

RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "NRestarts": "0",
    "Result": "success",
    "WatchdogUSec": "30s",
    "Type": "notify",
    "StatusText": "listening to USB PnP Sound Device",
    "UnitFileState": "enabled",
    "ExecMainStartTimestampMonotonic": "5000000",
}


def examined(root: Path, **changed: str) -> CheckResult:
    """Return what is said of a unit that differs from a running one, 3 hours after its start."""
    shown = "\n".join(f"{name}={value}" for name, value in {**RUNNING, **changed}.items())
    return check_unit(paper(root, {"systemctl show edge-agent": shown}), monotonic_s=lambda: 5 + 3 * 3600.0)


def test_a_service_that_runs(tmp_path: Path) -> None:
    """How long, and what it says of itself."""
    found = examined(tmp_path)
    assert found.verdict == "ok"
    assert found.message == "running for 3 hours: listening to USB PnP Sound Device"
    assert found.figures["restarts"] == 0


@pytest.mark.parametrize(
    ("changed", "verdict", "message", "remedy"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "warning", "not installed", "install.sh"),
        ({"LoadState": "masked", "ActiveState": "inactive"}, "fault", "masked", "systemctl status"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "warning", "not running", "enable --now"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "watchdog"}, "fault", "watchdog", "reset-failed"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "2"},
            "fault",
            "status 2",
            "journalctl",
        ),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "oom-kill"}, "fault", "no memory", "journalctl"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "fault", "over and over", "journalctl"),
        ({"ActiveState": "activating", "SubState": "start"}, "warning", "activating", "wait"),
        ({"NRestarts": "4"}, "warning", "4 times", "journalctl"),
        ({"WatchdogUSec": "0"}, "warning", "nobody would notice", "systemctl cat"),
        ({"UnitFileState": "disabled"}, "warning", "not start with the board", "systemctl enable"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_service_that_is_not_well(
    tmp_path: Path, changed: dict[str, str], verdict: str, message: str, remedy: str
) -> None:
    """Each way of it, with what to do."""
    found = examined(tmp_path, **changed)
    assert found.verdict == verdict
    assert message in found.message
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("view", "message", "remedy"),
    [
        (View(trouble="no microphone matches 'USB'", is_warm=True), "deaf: no microphone", "edge-agent status"),
        (View(trouble="absent", is_warm=True, changing="from the file"), "deaf: absent", "edge-agent status"),
        (View(microphone="USB", is_warm=True, verdict="it hangs"), "not alive: it hangs", "journalctl"),
        (View(trouble="absent", is_warm=True, verdict="it hangs"), "not alive: it hangs", "journalctl"),
    ],
    ids=["deaf", "deaf while it changes", "dying", "dying and deaf"],
)
def test_a_service_that_runs_and_hears_nothing_is_a_fault(
    tmp_path: Path, view: View, message: str, remedy: str
) -> None:
    """By the words that it uses itself, also where it was started again, which alone is a warning."""
    for restarts in ("0", "4"):
        found = examined(tmp_path / restarts, StatusText=status_line(view), NRestarts=restarts)
        assert found.verdict == "fault"
        assert message in found.message
        assert remedy in found.remedy


@pytest.mark.parametrize(
    "view",
    [View(microphone="USB deaf: mic", is_warm=True), View(microphone="USB", is_warm=True, is_muted=True)],
    ids=["a name", "muted"],
)
def test_a_service_that_hears_or_is_muted_on_purpose_is_well(tmp_path: Path, view: View) -> None:
    """A device's name is no verdict."""
    assert examined(tmp_path, StatusText=status_line(view)).verdict == "ok"


def test_without_systemd(tmp_path: Path) -> None:
    """A service that was started by hand is well; none is a warning."""
    assert check_unit(paper(tmp_path)).verdict == "warning"
    assert check_unit(paper(tmp_path, status={"state": "idle"})).verdict == "ok"
