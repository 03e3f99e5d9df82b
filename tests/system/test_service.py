"""The installed service on a booted machine: up, heard, answered, confined, readable by those who may."""

from __future__ import annotations

import re
import stat

import pytest
from system.conftest import Installed
from system.service import START_S, UNIT, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]

MOST_EXPOSED = 2.0
"""`systemd-analyze security` gives 0.0 to what can do nothing and 10.0 to what can do everything."""


@pytest.mark.quick
def test_install_ends_with_a_running_service(installed: Installed) -> None:
    """The last that install.sh shows is how the service is."""
    print(f"install.sh took {installed.took_s:.0f} s")  # noqa: T201 - shown with -s, and where it fails
    health = installed.said.partition("\nHealth\n")[2]
    assert "service   active, running" in health
    assert "Traceback" not in installed.said


@pytest.mark.quick
def test_it_comes_up_with_the_machine(service: Service) -> None:
    """Booted, nothing else done: active within its start time-out, and systemd was told so by the agent."""
    service.wait_until_active()
    times = service.show("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    began_us, active_us = (int(value) for value in times.values())
    print(f"ready after {(active_us - began_us) / 1e6:.1f} s")  # noqa: T201 - the figure is wanted
    assert active_us - began_us < START_S * 1_000_000
    shown = service.show("Type", "NotifyAccess", "StatusText", "UnitFileState", "NRestarts", "SubState")
    assert shown["Type"] == "notify"
    assert shown["NotifyAccess"] == "main"
    assert shown["UnitFileState"] == "enabled"
    assert shown["NRestarts"] == "0"
    assert shown["SubState"] == "running"
    assert len(shown["StatusText"].split()) >= 2, "STATUS= is a sentence"


@pytest.mark.quick
def test_a_spoken_command_is_answered_aloud(service: Service) -> None:
    """A voice into the microphone; what leaves the speaker is recognized as the answer; the journal has the turn."""
    service.wait_until_active()
    since = service.machine.cursor()
    service.answers()
    turn = service.wait_for_turns(1, 10, since)[-1]
    assert turn["EDGE_INTENT"] == "SetVolume"
    assert turn["EDGE_SOURCE"] == "intent"
    assert int(turn["EDGE_ANSWER_MS"]) > 0


@pytest.mark.quick
def test_the_watchdog_is_fed(service: Service) -> None:
    """Systemd has a watchdog on it, and the agent's signs of life arrive."""
    service.wait_until_active()
    before = service.show("WatchdogUSec", "WatchdogTimestampMonotonic")
    assert before["WatchdogUSec"] not in {"0", "infinity"}

    def fed() -> bool:
        return service.show("WatchdogTimestampMonotonic") != {"WatchdogTimestampMonotonic": stamp}

    stamp = before["WatchdogTimestampMonotonic"]
    service.machine.wait_for(fed, "a sign of life", 30)
    assert service.restarts() == 0


@pytest.mark.quick
def test_it_is_confined(service: Service) -> None:
    """What systemd thinks of its sandbox, while it works in it."""
    service.wait_until_active()
    said = service.machine.says(f"systemd-analyze security --no-pager {UNIT}")
    found = re.search(r"Overall exposure level for edge-agent.service: ([0-9.]+)", said)
    assert found, said
    print(f"systemd-analyze security {UNIT}: {found[1]}")  # noqa: T201 - the figure is wanted
    assert float(found[1]) <= MOST_EXPOSED, said
    service.answers()


@pytest.mark.quick
def test_its_socket_is_for_its_group_alone(service: Service) -> None:
    """A member of the group reads how the service is; another user is told why not."""
    service.wait_until_active()
    machine = service.machine
    machine.run("useradd --create-home --groups edge-agent member && useradd --create-home stranger")
    asked = machine.run("edge-agent status --json", user="member")
    assert '"state"' in asked.stdout
    refused = machine.run("edge-agent status", user="stranger", may_fail=True)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert machine.run("cat /etc/edge-agent/config.toml", user="stranger", may_fail=True).returncode != 0
    assert machine.run("ls /var/lib/edge-agent", user="stranger", may_fail=True).returncode != 0
    place = machine.place("/run/edge-agent/edge-agent.sock")
    assert stat.S_IMODE(place.stat().st_mode) == 0o660


def test_its_directory_suits_gpio(service: Service) -> None:
    """Lgpio makes pipes in its working directory: that is one that the service may write to."""
    service.wait_until_active()
    machine, pid = service.machine, service.main_pid()
    variables = machine.says(f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
    directory = machine.says(f"readlink /proc/{pid}/cwd")
    assert f"LG_WD={directory}" in variables
    inside = f"nsenter --target {pid} --mount --setuid $(id -u edge-agent) --setgid $(id -g edge-agent) --"
    machine.run(f"{inside} sh -c 'mkfifo {directory}/.lgd-test && rm {directory}/.lgd-test'")
    assert machine.run(f"{inside} touch /opt/edge-agent/x", may_fail=True).returncode != 0


def test_devices_that_it_needs_not_are_shut(service: Service) -> None:
    """Which devices may be opened is decided by the control group, whatever their files' rights are."""
    service.wait_until_active()
    machine = service.machine
    allowed = service.show("DevicePolicy", "DeviceAllow")
    assert allowed["DevicePolicy"] == "closed"
    assert {"char-alsa", "char-gpiochip"} <= set(allowed["DeviceAllow"].split())
    group = service.show("ControlGroup")["ControlGroup"]
    refused = "Operation not permitted"
    machine.run("mknod /root/fuse c 10 229")
    for device, is_allowed in (("/dev/null", True), ("/root/fuse", False)):
        assert refused not in machine.run(f"head -c0 {device}", may_fail=True).stderr, "any other process may"
        inside = machine.run(f"echo $$ >/sys/fs/cgroup{group}/cgroup.procs; head -c0 {device}", may_fail=True)
        assert (refused not in inside.stderr) == is_allowed, f"{device}: {inside.stderr}"
