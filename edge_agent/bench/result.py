"""The form of what a benchmark found."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Progress = Callable[[str], None]
"""Is told in a few words what is being measured now."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a value should be: at most `limit`, at least, or less than it."""

    relation: str
    limit: float

    def met_by(self, value: float) -> bool:
        """Tell whether `value` is as good as it should be."""
        match self.relation:
            case "<=":
                return value <= self.limit
            case ">=":
                return value >= self.limit
            case "<":
                return value < self.limit
        raise ValueError(self.relation)

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}"


def at_most(limit: float) -> Goal:
    """Return the goal of no more than `limit`."""
    return Goal("<=", limit)


def at_least(limit: float) -> Goal:
    """Return the goal of `limit` or more."""
    return Goal(">=", limit)


def less_than(limit: float) -> Goal:
    """Return the goal of less than `limit`."""
    return Goal("<", limit)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a value is compared with, measured in the same run."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `samples` is how many measurements it is made of; `value` is None where there were none."""

    name: str
    value: float | None
    unit: str
    goal: Goal | None = None
    reference: Reference | None = None
    samples: int = 1

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is no goal."""
        if self.goal is None:
            return None
        return self.value is not None and self.goal.met_by(self.value)

    def as_json(self) -> dict[str, Any]:
        """Return it as the documented object."""
        reference = self.reference
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "goal": None if self.goal is None else str(self.goal),
            "reference": None
            if reference is None
            else {"what": reference.what, "value": _rounded(reference.value), "unit": reference.unit},
            "samples": self.samples,
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage's work in a waterfall; a moment where both ends are the same."""

    stage: str
    from_ms: float
    until_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """One turn in a waterfall: times are from the true end of speech."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(slots=True)
class Findings:
    """What the parts of a benchmark add their results to.

    Attributes:
        distributions: Single measurements by group and name, for the plot.
        waterfalls: Turns with their stages by group, for the plot.
        lines: Values over something else, such as time, by group and name, for the plot.
        notes: Sentences for people: what could not be measured, and why.
    """

    results: list[Result] = field(default_factory=list)
    distributions: dict[str, dict[str, Sequence[float]]] = field(default_factory=dict)
    waterfalls: dict[str, list[Row]] = field(default_factory=dict)
    lines: dict[str, dict[str, Sequence[tuple[float, float]]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float | None,
        unit: str,
        *,
        goal: Goal | None = None,
        reference: Reference | None = None,
        samples: int = 1,
    ) -> None:
        """Add one result."""
        self.results.append(Result(name, value, unit, goal, reference, samples))

    def add_percentiles(
        self,
        name: str,
        values: Sequence[float],
        unit: str,
        *,
        shares: Sequence[int] = (50, 95, 99),
        goals: dict[int, Goal] | None = None,
        reference: Reference | None = None,
    ) -> None:
        """Add `name` with `_p50`, `_p95` and so on before its unit: `stop.sleep` in ms becomes `stop.sleep_p50_ms`."""
        for share in shares:
            value = percentile(values, share) if values else None
            goal = (goals or {}).get(share)
            self.add(f"{name}_p{share}_{unit}", value, unit, goal=goal, reference=reference, samples=len(values))

    def value(self, name: str) -> float | None:
        """Return the value of the result called `name`.

        Raises:
            KeyError: There is none.
        """
        for result in self.results:
            if result.name == name:
                return result.value
        raise KeyError(name)

    def document(self, bench: str) -> dict[str, Any]:
        """Return the one object that `--json` prints."""
        return {"bench": bench, "machine": machine(), "results": [result.as_json() for result in self.results]}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def linear_fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Return slope and intercept of the line with the least squares; at least two different `xs`."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    return slope, mean_y - slope * mean_x


def machine() -> dict[str, Any]:
    """Describe this machine: the figures mean nothing without it."""
    from edge_agent import __version__

    return {
        "model": _board() or _processor() or platform.machine(),
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "edge_agent": __version__,
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def _board() -> str | None:
    from pathlib import Path

    return _first_line(Path("/sys/firmware/devicetree/base/model"))


def _processor() -> str | None:
    from pathlib import Path

    for line in _lines(Path("/proc/cpuinfo")):
        key, _, text = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return text.strip()
    return None


def _first_line(path: Path) -> str | None:
    return next((line.strip("\0 ") for line in _lines(path)), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another kind of machine has no such file
        return []


def _rounded(value: float | None) -> float | None:
    """Keep five significant digits: more is noise."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")
