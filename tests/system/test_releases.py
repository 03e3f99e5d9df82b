"""Releases of the service on a booted machine: installed again, upgraded, rolled back, broken, removed."""

from __future__ import annotations

import re
import subprocess

import pytest
from system.debian_root import CHECKOUT, OWNER
from system.service import OPTIONS, UNIT, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]

CONFIG = "/etc/edge-agent/config.toml"
NEWER = "9.8.7"


def install(service: Service, verb: str, *, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """Run install.sh as the checkout's owner does."""
    options = OPTIONS if verb.split(maxsplit=1)[0] in {"install", "upgrade"} else ""
    command = f"cd {CHECKOUT} && sudo ./install.sh {verb} {options}"
    return service.machine.run(command, user=OWNER, timeout_s=900, may_fail=may_fail)


def _release(service: Service) -> str:
    """Return the name of the release in use."""
    return service.machine.says("basename $(readlink -f /opt/edge-agent/current)")


def _edit(service: Service, file: str, old: str, new: str) -> None:
    """Change a file of the checkout."""
    place = service.machine.place(f"{CHECKOUT}/{file}")
    text = place.read_text(encoding="utf-8")
    changed, count = re.subn(old, new, text, count=1, flags=re.MULTILINE)
    assert count == 1, f"{old!r} is not in {file}"
    place.write_text(changed, encoding="utf-8")


def _make_newer(service: Service) -> None:
    _edit(service, "edge_agent/__init__.py", r'^__version__ = ".*"$', f'__version__ = "{NEWER}"')


def _break(service: Service) -> None:
    """Make a release that passes for whole, for every command works but the service itself."""
    _make_newer(service)
    _edit(service, "edge_agent/app/live.py", r"^from __future__ import annotations$", r"\g<0>\nraise SystemExit(1)")


@pytest.mark.quick
def test_installing_again_changes_nothing(own_service: Service) -> None:
    """The second run finds all there: same release, same process, same configuration."""
    own_service.wait_until_active()
    machine, release = own_service.machine, _release(own_service)
    machine.write(CONFIG, "\n# my own words\n", append=True)
    config, pid = machine.says(f"sha256sum {CONFIG}; stat -c '%U:%G %a' {CONFIG}"), own_service.main_pid()
    assert config.splitlines()[1] == "root:edge-agent 640"
    done = install(own_service, "install")
    assert own_service.main_pid() == pid, done.stdout
    assert _release(own_service) == release
    assert machine.says(f"sha256sum {CONFIG}; stat -c '%U:%G %a' {CONFIG}") == config
    assert len(machine.says("ls /opt/edge-agent/releases").splitlines()) == 1


def test_an_upgrade_and_the_way_back(own_service: Service) -> None:
    """The newer release takes over, the one before comes back, and the configuration stays as its owner left it."""
    own_service.wait_until_active()
    machine, before = own_service.machine, _release(own_service)
    machine.write(CONFIG, "\n# my own words\n", append=True)
    config = machine.says(f"sha256sum {CONFIG}")
    _make_newer(own_service)
    install(own_service, "upgrade")
    own_service.wait_until_active()
    assert machine.says("edge-agent --version").endswith(NEWER)
    assert _release(own_service) != before
    assert own_service.status()["version"] == NEWER
    own_service.answers()
    install(own_service, "rollback")
    own_service.wait_until_active()
    assert _release(own_service) == before
    assert own_service.status()["version"] != NEWER
    own_service.answers()
    assert machine.says(f"sha256sum {CONFIG}") == config


def test_a_broken_release_is_rolled_back_by_itself(own_service: Service) -> None:
    """A release whose service does not come up: install.sh fails and says so, and the one before runs again."""
    own_service.wait_until_active()
    machine, before = own_service.machine, _release(own_service)
    config = machine.says(f"sha256sum {CONFIG}")
    _break(own_service)
    done = install(own_service, "upgrade", may_fail=True)
    assert done.returncode == 1, done.stdout
    assert f"{before} runs again" in done.stderr
    assert own_service.state() == "active"
    assert _release(own_service) == before
    assert machine.says(f"sha256sum {CONFIG}") == config
    own_service.answers()


def test_uninstall_leaves_what_is_its_owners(own_service: Service) -> None:
    """Program and unit go, configuration and state stay; with --purge nothing stays."""
    own_service.wait_until_active()
    machine = own_service.machine
    machine.write(CONFIG, "\n# my own words\n", append=True)
    install(own_service, "uninstall")
    assert machine.show(UNIT, "LoadState", "ActiveState") == {"LoadState": "not-found", "ActiveState": "inactive"}
    assert _there(own_service, "/opt/edge-agent /usr/local/bin/edge-agent /etc/systemd/system/edge-agent*") == ""
    assert machine.run("pgrep --uid edge-agent", may_fail=True).stdout == ""
    assert "# my own words" in machine.says(f"cat {CONFIG}")
    assert _there(own_service, "/var/lib/edge-agent") == "/var/lib/edge-agent"
    install(own_service, "uninstall --purge")
    everywhere = "/etc/edge-agent /var/lib/edge-agent /var/cache/edge-agent /run/edge-agent /opt/edge-agent"
    assert _there(own_service, everywhere) == ""
    assert machine.run("getent passwd edge-agent; getent group edge-agent", may_fail=True).stdout == ""


def _there(service: Service, paths: str) -> str:
    return service.machine.run(f"ls -d {paths}", may_fail=True).stdout.strip()
