"""What goes wrong in the field: processes that hang or die, a microphone that is unplugged, a full disk."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from system.service import UNIT, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]

BLOCK = "import signal; signal.signal(signal.SIGUSR2, lambda *_: __import__('time').sleep(600))\n"
"""Python runs such a line of a .pth file when it starts. The handler runs where the event loop does."""

AWAY_S = 60


@pytest.fixture
def active(service: Service) -> Service:
    """The service, working."""
    service.wait_until_active()
    return service


def _comes_back(service: Service, pid: int, within_s: float) -> float:
    """Wait until another process is the service, and it answers; return how long it took to be active."""

    def is_another() -> bool:
        return service.main_pid() not in {0, pid} and service.state() == "active"

    took_s = service.machine.wait_for(is_another, "another process", within_s)
    service.answers()
    return took_s


@pytest.mark.quick
def test_a_killed_process_comes_back(active: Service) -> None:
    """SIGKILL, as the kernel sends it for want of memory."""
    pid, restarts = active.main_pid(), active.restarts()
    active.machine.run(f"kill -KILL {pid}")
    _comes_back(active, pid, 60)
    assert active.restarts() == restarts + 1


def test_a_stopped_process_is_ended_by_the_watchdog(active: Service) -> None:
    """SIGSTOP: nothing of it runs, so that it can't even end when it is told to."""
    pid, since = active.main_pid(), active.machine.cursor()
    active.machine.run(f"kill -STOP {pid}")
    took_s = _comes_back(active, pid, 120)
    assert "Watchdog timeout" in active.log(since)
    assert took_s > 10


@pytest.fixture
def blockable(service: Service) -> Iterator[Service]:
    """The service, started with a way to block its loop."""
    machine = service.machine
    packages = machine.says("ls -d /opt/edge-agent/current/.venv/lib/python3*/site-packages")
    machine.write(f"{packages}/zz-block.pth", BLOCK)
    try:
        machine.run(f"systemctl restart {UNIT}")
        service.wait_until_active()
        yield service
    finally:
        machine.place(f"{packages}/zz-block.pth").unlink()


def test_a_blocked_loop_is_ended_by_the_watchdog(blockable: Service) -> None:
    """Alive for the kernel, deaf for its owner: the process sleeps where its event loop should run."""
    pid, since = blockable.main_pid(), blockable.machine.cursor()
    blockable.machine.run(f"kill -USR2 {pid}")
    _comes_back(blockable, pid, 120)
    assert "Watchdog timeout" in blockable.log(since)


def test_a_microphone_that_was_away_is_heard_again(active: Service) -> None:
    """Unplugged for a minute: no restart, it says what it waits for, and hears again when it is back."""
    rig, machine = active.room.rig, active.machine
    pid, restarts, since = active.main_pid(), active.restarts(), machine.cursor()
    rig.unload_microphone()
    try:
        began = time.monotonic()
        machine.wait_for(lambda: _is_deaf(active), "a status that tells of it", AWAY_S, poll_s=1)
        time.sleep(max(0.0, began + AWAY_S - time.monotonic()))  # the minute is what is tested
        assert _is_deaf(active)
        assert active.state() == "active"
    finally:
        rig.load_microphone()
    machine.wait_for(lambda: not _is_deaf(active), "a microphone that is heard", 60, poll_s=1)
    active.answers()
    assert (active.main_pid(), active.restarts()) == (pid, restarts)
    assert "Watchdog timeout" not in active.log(since)


def _is_deaf(service: Service) -> bool:
    """Whether the unit's status says that nothing is heard."""
    return service.show("StatusText")["StatusText"].startswith("deaf")
