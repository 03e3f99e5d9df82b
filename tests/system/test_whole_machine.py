"""The installed service on machines of their own: a reboot, a secret, a full disk."""

from __future__ import annotations

import pytest
from system.debian_root import OWNER
from system.service import UNIT, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]


def test_secrets_stay_secret(own_service: Service) -> None:
    """The broker's password is used, and neither the journal nor anything that other users see has it."""
    machine, secret = own_service.machine, "correct-horse-7h2k"
    own_service.wait_until_active()
    machine.write("/etc/edge-agent/credentials/mqtt-password", secret)
    own_service.configure("mqtt", 'host = "127.0.0.1"', "port = 1", 'username = "agent"')
    since = machine.cursor()
    machine.run(f"systemctl restart {UNIT}")
    own_service.wait_until_active()
    own_service.wait_for_log("127.0.0.1", 30, since)
    assert machine.says(f"cat /run/credentials/{UNIT}.service/mqtt-password") == secret
    assert secret not in machine.says("journalctl --quiet --output=export --all")
    for command in ("systemctl show", "systemctl status", "edge-agent status --json", "edge-agent config show"):
        unit = f" {UNIT}" if command.startswith("systemctl") else ""
        assert secret not in machine.run(f"{command}{unit}", may_fail=True).stdout
    pid = own_service.main_pid()
    assert secret not in machine.says(f"cat /proc/{pid}/environ /proc/{pid}/cmdline | tr '\\0' '\\n'")
    files = f"/etc/edge-agent/credentials/mqtt-password /run/credentials/{UNIT}.service/mqtt-password"
    assert secret not in machine.run(f"cat {files}", user=OWNER, may_fail=True).stdout


@pytest.mark.quick
def test_a_reboot_needs_nobody(own_service: Service) -> None:
    """An orderly reboot: the service ends in time, and is there again with the machine."""
    own_service.wait_until_active()
    own_service.machine.reboot()
    own_service.wait_until_active()
    own_service.answers()


def test_a_full_disk_does_not_silence_it(own_service: Service) -> None:
    """State and caches on a file system without a byte left: it answers, says so, and recovers."""
    own_service.wait_until_active()
    machine = own_service.machine
    machine.run(f"systemctl stop {UNIT}")
    for directory in ("/var/lib/edge-agent", "/var/cache/edge-agent"):
        machine.run(
            f"cp -a {directory} /root/kept && mount -t tmpfs -o size=8m,mode=750 tmpfs {directory} &&"
            f" cp -a /root/kept/. {directory}/ && chown --reference=/root/kept {directory} && rm -r /root/kept"
        )
    machine.run(f"systemctl start {UNIT}", timeout_s=180)
    own_service.answers()
    pid, since = own_service.main_pid(), machine.cursor()
    for directory in ("/var/lib/edge-agent", "/var/cache/edge-agent"):
        machine.run(f"cat /dev/zero >{directory}/filler", may_fail=True)
        assert machine.says(f"df --output=avail {directory} | tail -n 1").strip() == "0"
    own_service.answers()
    own_service.answers()
    machine.wait_for(lambda: _tells_of_full_disk(own_service.log(since)), "a word about the disk", 60)
    machine.run(f"systemctl restart {UNIT}", timeout_s=180)
    own_service.answers()
    machine.run("rm /var/lib/edge-agent/filler /var/cache/edge-agent/filler")
    own_service.answers()
    assert own_service.main_pid() != pid
    assert own_service.restarts() == 0


def _tells_of_full_disk(log: str) -> bool:
    return "disk is full" in log or "No space left" in log or "database or disk is full" in log
