"""The unit: what systemd thinks of its sandbox, and what the agent needs in spite of it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from edge_agent.bench.soak_service import UNITS_VARIABLES, WATCHDOG_S

UNIT = Path(__file__).parents[2] / "systemd" / "edge-agent.service"
MOST_EXPOSED = 2.0
SYSTEMD_252 = """
Description Documentation After StartLimitIntervalSec Type NotifyAccess ExecStart ExecReload TimeoutStartSec
TimeoutStopSec TimeoutAbortSec KillMode Restart RestartSec RestartPreventExitStatus SuccessExitStatus WatchdogSec
WatchdogSignal LimitCORE User Group StateDirectory StateDirectoryMode CacheDirectory CacheDirectoryMode RuntimeDirectory
RuntimeDirectoryMode WorkingDirectory Environment UMask LoadCredential SetCredential CPUWeight IOWeight LimitNICE
LimitRTPRIO LimitMEMLOCK LimitNOFILE TasksMax OOMPolicy SyslogIdentifier LogRateLimitIntervalSec LogRateLimitBurst
NoNewPrivileges CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome PrivateTmp PrivateMounts
DevicePolicy DeviceAllow ProtectClock ProtectHostname ProtectKernelLogs ProtectKernelModules
ProtectKernelTunables ProtectControlGroups ProtectProc RestrictAddressFamilies RestrictNamespaces RestrictSUIDSGID
LockPersonality RemoveIPC KeyringMode SystemCallArchitectures SystemCallFilter SystemCallErrorNumber WantedBy
"""
"""Directives that systemd 252, Debian 12's, knows: systemd.directives(7) of that version."""


def settings() -> list[tuple[str, str]]:
    """Return the unit's directives in order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [
        (name, value)
        for name, is_set, value in (line.partition("=") for line in lines)
        if is_set and not name.startswith("#")
    ]


def values(name: str) -> list[str]:
    """Return what a directive is set to."""
    return [value for found, value in settings() if found == name]


def systemd_analyze(*arguments: str | Path) -> str:
    """Run systemd-analyze and return all that it prints."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_the_sandbox_is_tight() -> None:
    """`systemd-analyze security` without a running systemd; tests/system asks a running one, and the service works."""
    said = systemd_analyze("security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for edge-agent\.service: ([0-9.]+)", said)
    assert found, said
    print(f"systemd-analyze security edge-agent.service: {found[1]}")  # noqa: T201 - the figure is wanted
    assert float(found[1]) <= MOST_EXPOSED, said


def test_systemd_understands_every_line() -> None:
    """But for the program, which is not installed where the tests run."""
    complaints = [
        line
        for line in systemd_analyze("verify", UNIT).splitlines()
        if UNIT.name in line and "is not executable" not in line
    ]
    assert complaints == []


def test_every_directive_is_known_to_debian_12() -> None:
    """A later systemd's would be ignored there with a warning, and what it was for would not happen."""
    assert {name for name, _ in settings()} <= set(SYSTEMD_252.split())


def test_the_manager_is_told_and_watches() -> None:
    """Ready when the agent says so; killed, without a core file, when it no longer says that it is alive."""
    assert values("Type") == ["notify"]
    assert values("NotifyAccess") == ["main"]
    assert int(values("WatchdogSec")[0]) == 30
    assert values("LimitCORE") == ["0"]
    assert values("Restart") == ["always"]
    assert values("RestartPreventExitStatus") == ["2"]
    assert values("SuccessExitStatus") == [str(128 + signal.SIGTERM)]  # edge_agent.__main__


def test_a_soak_starts_the_service_as_the_unit_does() -> None:
    """With its watchdog, and what it sets in the environment that tells on memory."""
    assert int(values("WatchdogSec")[0]) == WATCHDOG_S
    assert {f"{name}={value}" for name, value in UNITS_VARIABLES.items()} <= set(values("Environment"))


def test_what_the_agent_needs_is_left_to_it() -> None:
    """Sound, pins and buses; lgpio's pipes in a directory that can be written to; cffi's trampolines."""
    assert set(values("DeviceAllow")) >= {"char-alsa rw", "char-gpiochip rw", "char-spi rw", "char-i2c rw"}
    assert "char-116 rw" in values("DeviceAllow"), "a sound card that is plugged in after the start"
    assert values("DevicePolicy") == ["closed"]
    assert "LG_WD=/run/edge-agent" in values("Environment")
    assert values("WorkingDirectory") == ["/run/edge-agent"]
    assert values("RuntimeDirectory") == ["edge-agent"]
    assert values("MemoryDenyWriteExecute") == []
    assert values("PrivateDevices") == []


def test_an_absent_secret_is_an_empty_one() -> None:
    """Without a fallback systemd refuses to start a unit whose credential's file is not there."""
    loaded = [value.partition(":")[0] for value in values("LoadCredential")]
    assert loaded == ["mqtt-password"]
    assert [value.partition(":")[0] for value in values("SetCredential")] == loaded
