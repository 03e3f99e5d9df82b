"""What the agent takes from its device."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_agent.runtime.usage import ProcessUsage, ResourceUse

_MIB = 1 << 20


class FakeProbe:
    """Figures as the test sets them."""

    def __init__(self) -> None:
        self.own_cpu_s = 10.0
        self.child_cpu_s: dict[int, float] = {}
        self.thread_cpu_s: list[tuple[int, float]] = []

    def own(self) -> ProcessUsage:
        """This process."""
        return ProcessUsage(1, self.own_cpu_s, 50 * _MIB)

    def children(self) -> Iterable[ProcessUsage]:
        """Its children."""
        return [ProcessUsage(pid, cpu_s, 10 * _MIB) for pid, cpu_s in self.child_cpu_s.items()]

    def threads(self) -> Iterable[tuple[int, float]]:
        """Its threads."""
        return self.thread_cpu_s

    def open_files(self) -> int:
        """Its descriptors."""
        return 12

    def memory(self) -> tuple[int, int]:
        """The device's memory."""
        return 512 * _MIB, 1024 * _MIB


def test_the_share_counts_children_that_come_and_go() -> None:
    """A child that is new counts wholly, one that ended counts no more, and never below nothing."""
    probe, now_s = FakeProbe(), [0.0]
    use = ResourceUse(probe, clock=lambda: now_s[0])
    probe.child_cpu_s = {7: 100.0}
    assert use.read().cpu_share is None
    now_s[0], probe.own_cpu_s, probe.child_cpu_s = 10.0, 12.0, {7: 101.0, 8: 2.0}
    usage = use.read()
    assert usage.cpu_share == pytest.approx((2 + 1 + 2) / 10)
    assert (usage.children, usage.children_rss_bytes, usage.rss_bytes) == (2, 20 * _MIB, 50 * _MIB)
    now_s[0], probe.child_cpu_s = 20.0, {}
    assert use.read().cpu_share == 0.0
    assert use.read().cpu_share is None


def test_threads_are_told_by_their_names() -> None:
    """Those of one name are added up; one that is gone has none."""
    probe = FakeProbe()
    gate = threading.Event()
    twins = [threading.Thread(target=gate.wait, name="edge-twin") for _ in range(2)]
    for twin in twins:
        twin.start()
    probe.thread_cpu_s = [(twin.native_id or 0, 1.5) for twin in twins] + [(2**22 + 1, 0.5)]
    usage = ResourceUse(probe).read()
    gate.set()
    for twin in twins:
        twin.join()
    assert usage.thread_cpu_s == {"edge-twin": 3.0, "ended": 0.5}
    assert usage.threads == 3


def test_the_real_process_is_read() -> None:
    """Through psutil: plausible figures of this very process and a child."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        use = ResourceUse()
        first = use.read()
        sum(range(200_000))
        usage = use.read()
        assert child.stdin is not None
        child.stdin.close()
    assert first.cpu_share is None
    assert usage.cpu_share is not None
    assert usage.cpu_share >= 0
    assert usage.children >= 1
    assert usage.children_rss_bytes > 0
    assert 5 * _MIB < usage.rss_bytes < usage.memory_total_bytes
    assert 0 < usage.memory_available_bytes <= usage.memory_total_bytes
    assert usage.threads >= threading.active_count() - 1
    assert "MainThread" in usage.thread_cpu_s
    assert 3 <= usage.open_files <= len(list(Path("/proc/self/fd").iterdir())) + 50
