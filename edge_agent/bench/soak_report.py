"""What a soak found: its figures, and the bounds by which they count as flat."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from edge_agent.bench.result import Reference, at_least, at_most, less_than
from edge_agent.bench.soak_series import after, grown, last_over_first, quarters, slope_per_hour, warm_up_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.bench.result import Findings
    from edge_agent.bench.soak_commands import Asked
    from edge_agent.bench.soak_looks import Look
    from edge_agent.bench.soak_notify import Told
    from edge_agent.bench.soak_series import Series

_MIB, _KIB = 2**20, 2**10
MEMORY_SLOPE_KIB_PER_HOUR = 2048
"""Flat; docs/bench.md says why no less."""
PEAK_MIB = 300
"""Leaves the rest of a 512 MB board to its firmware, its kernel and the other services."""
RIGHT_SHARE = 0.95
"""A recognizer that hears wrongly now and then is no fault of a soak; one that gets worse is."""
DELAY_RATIO = 1.1
LEAST_S = 1200.0
_COMPLAINTS = 20
_MORE = {"threads": 1}
"""A pool may have its second thread at the end and not at the beginning; they have bounds."""
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Soak:
    """What was seen. Times are of the monotonic clock.

    Attributes:
        began_s: When the service listened and the first command was due.
        ended_s: When the last command's time was over, or the service had ended.
        unasked: Turns before the first command.
        death: How the service ended by itself; empty where it was ended at the end.
    """

    began_s: float
    ended_s: float
    looks: Sequence[Look]
    asked: Sequence[Asked]
    unasked: int
    told: Told
    watchdog_s: float
    ready_s: float
    stopped_s: float | None
    exit_status: int | None
    death: str = ""

    @property
    def warm_s(self) -> float:
        """When the warm-up was over."""
        return self.began_s + warm_up_s(self.ended_s - self.began_s)

    @property
    def is_long(self) -> bool:
        """Whether its slope tells of hours: a start goes on growing for some minutes."""
        return self.ended_s - self.began_s >= LEAST_S

    def series(self, value: Callable[[Look], float | None]) -> Series:
        """Return a value of each look since the service listened."""
        found = [(look.at_s, value(look)) for look in self.looks if look.at_s >= self.began_s]
        return [(at_s, number) for at_s, number in found if number is not None]


def report(findings: Findings, soak: Soak) -> None:
    """Add `soak_service.*`, the lines over time for the plot, and what people should know."""
    length_s = soak.ended_s - soak.began_s
    findings.add("soak_service.hours", length_s / 3600, "h", samples=len(soak.looks))
    findings.add("soak_service.ended_by_itself", float(bool(soak.death)), "times", goal=at_most(0))
    _growth(findings, soak)
    _peaks(findings, soak)
    _counts(findings, soak)
    _watchdog(findings, soak)
    _commands(findings, soak)
    findings.add("soak_service.ready_s", soak.ready_s, "s")
    findings.add("soak_service.stop_s", soak.stopped_s, "s", goal=at_most(STOP_S))
    findings.add("soak_service.exit_status", soak.exit_status, "status", goal=at_most(0))
    _plot(findings, soak)
    warm_min = (soak.warm_s - soak.began_s) / 60
    findings.notes.append(
        f"it ran for {length_s / 60:.1f} min; the first {warm_min:.1f} min, while it warms up, do not count as growth"
    )
    if not soak.is_long:
        findings.notes.append(f"under {LEAST_S / 60:.0f} min memory has no goal: its slope is that of a start")
    if soak.death:
        findings.notes.append(f"the service {soak.death}")


def _growth(findings: Findings, soak: Soak) -> None:
    memory = after(soak.series(lambda look: look.own_bytes / _KIB), soak.warm_s)
    disk = after(soak.series(lambda look: look.disk_bytes / _KIB), soak.warm_s)
    ends = grown(memory)
    findings.add(
        "soak_service.memory_slope_kib_per_hour",
        slope_per_hour(memory),
        "KiB",
        goal=at_most(MEMORY_SLOPE_KIB_PER_HOUR) if soak.is_long else None,
        reference=None if ends is None else Reference("memory in the last quarter", ends[1] / 1024, "MiB"),
        samples=len(memory),
    )
    middle_s = (soak.warm_s + soak.ended_s) / 2
    late = after(memory, middle_s)
    findings.add("soak_service.memory_slope_last_half_kib_per_hour", slope_per_hour(late), "KiB", samples=len(late))
    findings.add("soak_service.disk_slope_kib_per_hour", slope_per_hour(disk), "KiB", samples=len(disk))
    for name, unit, value in (
        ("threads", "threads", lambda look: look.threads),
        ("descriptors", "descriptors", lambda look: look.descriptors),
        ("tasks", "tasks", lambda look: None if look.counted is None else look.counted.tasks),
        ("processes", "processes", lambda look: look.standing),
    ):
        series = after(soak.series(value), soak.warm_s)
        ends = grown(series)
        findings.add(
            f"soak_service.{name}_grown",
            None if ends is None else ends[1] - ends[0],
            unit,
            goal=at_most(_MORE.get(name, 0)),
            reference=None if ends is None else Reference(f"{name} in the first quarter", ends[0], unit),
            samples=len(series),
        )
        findings.add(f"soak_service.{name}_slope_per_hour", slope_per_hour(series), unit, samples=len(series))


def _peaks(findings: Findings, soak: Soak) -> None:
    looks = soak.looks
    pss = [look.pss_bytes for look in looks if look.pss_bytes is not None]
    findings.add(
        "soak_service.peak_pss_mib",
        max(pss) / _MIB if pss else None,
        "MiB",
        goal=at_most(PEAK_MIB),
        samples=len(pss),
    )
    findings.add("soak_service.peak_rss_mib", max(look.rss_bytes for look in looks) / _MIB, "MiB", samples=len(looks))
    running = [look for look in looks if look.at_s >= soak.began_s]
    share = None
    if len(running) > 1:
        share = 100 * (running[-1].cpu_s - running[0].cpu_s) / (running[-1].at_s - running[0].at_s)
    findings.add("soak_service.cpu_percent", share, "% of a core", samples=len(running))


def _counts(findings: Findings, soak: Soak) -> None:
    counted = [look.counted for look in soak.looks if look.at_s >= soak.began_s]
    known = [one for one in counted if one is not None]
    for name, values in (
        ("lost_frames", [one.frames_lost for one in known]),
        ("underruns", [one.underruns for one in known]),
        ("microphone_reopened", [one.microphone_reopened for one in known]),
        ("faults", [one.faults for one in known]),
    ):
        unit = "frames" if name == "lost_frames" else "times"
        findings.add(
            f"soak_service.{name}", increase(values) if known else None, unit, goal=at_most(0), samples=len(known)
        )
    findings.add(
        "soak_service.status_unanswered", len(counted) - len(known), "requests", goal=at_most(0), samples=len(counted)
    )
    lags_ms = [one.lag_p99_ms for one in known if one.lag_p99_ms is not None]
    findings.add("soak_service.loop_lag_p99_most_ms", max(lags_ms, default=None), "ms", samples=len(lags_ms))


def increase(values: Iterable[float]) -> float:
    """Return by how much a count has grown in all; one that begins anew at 0 has not shrunk."""
    return sum(max(0, later - earlier) for earlier, later in pairwise(values))


def _watchdog(findings: Findings, soak: Soak) -> None:
    gaps_s = soak.told.gaps_s(soak.ended_s)
    limit = Reference("the watchdog's interval", soak.watchdog_s, "s")
    misses = sum(gap_s > soak.watchdog_s for gap_s in gaps_s) if gaps_s else None
    findings.add(
        "soak_service.watchdog_misses", misses, "misses", goal=at_most(0), reference=limit, samples=len(gaps_s)
    )
    longest = max(gaps_s, default=None)
    findings.add(
        "soak_service.watchdog_longest_gap_s",
        longest,
        "s",
        goal=less_than(soak.watchdog_s),
        reference=limit,
        samples=len(gaps_s),
    )
    if not gaps_s:
        findings.notes.append("the service has never sent WATCHDOG=1")
    if soak.told.ready_at_s is None:
        findings.notes.append("the service has never sent READY=1")


def _commands(findings: Findings, soak: Soak) -> None:
    asked = soak.asked
    count = len(asked)
    right = sum(one.is_right for one in asked)
    findings.add("soak_service.commands", count, "commands")
    unanswered = sum(one.is_unanswered for one in asked)
    findings.add("soak_service.commands_unanswered", unanswered, "commands", goal=at_most(0), samples=count)
    share = right / count if count else None
    findings.add("soak_service.commands_right", share, "ratio", goal=at_least(RIGHT_SHARE), samples=count)
    first, last = (sum(one.is_right for one in part) for part in quarters(asked)) if asked else (0, 0)
    findings.add(
        "soak_service.right_last_vs_first",
        last / first if first else None,
        "ratio",
        reference=Reference("right in the first quarter", first, "commands"),
        samples=count,
    )
    findings.add("soak_service.turns_unasked", soak.unasked, "turns", goal=at_most(0))
    by_text: dict[str, list[tuple[int, float]]] = {}
    for place, one in enumerate(asked):
        if (delay_s := one.delay_s) is not None:
            by_text.setdefault(one.command.text, []).append((place, delay_s * 1000))
    delays_ms = [delay for _, delay in sorted(pair for group in by_text.values() for pair in group)]
    early, late = quarters(delays_ms) if delays_ms else ([], [])
    findings.add(
        "soak_service.delay_last_vs_first",
        last_over_first(list(by_text.values())),
        "ratio",
        goal=at_most(DELAY_RATIO),
        reference=Reference("first quarter, to the first sample, p50", statistics.median(early), "ms")
        if early
        else None,
        samples=len(delays_ms),
    )
    findings.add_percentiles("soak_service.delay", delays_ms, "ms", shares=(50, 95))
    findings.distributions["From the end of speech to the first sample (ms)"] = {
        f"first {len(early)}": early,
        f"last {len(late)}": late,
    }
    wrong = [one for one in asked if not one.is_right]
    findings.notes += [_complaint(one, soak.began_s) for one in wrong[:_COMPLAINTS]]
    if len(wrong) > _COMPLAINTS:
        findings.notes.append(f"and {len(wrong) - _COMPLAINTS} more")


def _complaint(one: Asked, began_s: float) -> str:
    if not one.turns:
        became = "no turn"
    else:
        became = ", then ".join(f"heard {turn['heard']!r}, replied {turn['reply']!r}" for turn in one.turns)
    return f"{(one.at_s - began_s) / 60:.1f} min, {one.command.text!r}: {became}"


def _plot(findings: Findings, soak: Soak) -> None:
    def minutes(series: Series) -> list[tuple[float, float]]:
        return [((at_s - soak.began_s) / 60, value) for at_s, value in series]

    findings.lines["Memory (MiB) over minutes"] = {
        "all processes": minutes(soak.series(lambda look: (look.pss_bytes or look.rss_bytes) / _MIB)),
        "written by those that stay": minutes(soak.series(lambda look: look.own_bytes / _MIB)),
    }
    findings.lines["Threads, descriptors and tasks over minutes"] = {
        "threads": minutes(soak.series(lambda look: look.threads)),
        "descriptors": minutes(soak.series(lambda look: look.descriptors)),
        "tasks": minutes(soak.series(lambda look: None if look.counted is None else look.counted.tasks)),
    }
    gaps_s = soak.told.gaps_s(soak.ended_s)
    findings.distributions["Between two signs of life to the watchdog (s)"] = {"gap": gaps_s}
