"""The pressure ladder: how hot, short of power, memory or time the device is, and what it gives up for that."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from edge_agent.errors import PoolBusyError
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.sensors import Reading, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.sensors import Sensors

logger = logging.getLogger(__name__)

_MIB = 1 << 20
_WARM_BELOW_HOT_C = 5.0
"""How far under the point where the kernel slows the processor down it counts as warm."""
_CRITICAL_BELOW_OFF_C = 5.0
"""How far under the point where the kernel switches the machine off it counts as critical."""


class Rung(IntEnum):
    """How bad it is."""

    NORMAL = 0
    WARM = 1
    HOT = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The name in reports."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be done on a rung. Listening, intents, timers and speaking always may.

    Attributes:
        idle_work: Jobs for idle time: re-warm, prune, pre-render, verify.
        llm_threads_share: Part of the compute cores that the language model may have; 0 where it may not run.
        answer_tokens_share: Part of the longest answer that it may give.
        llm: It may answer at all; where not, intents alone do.
    """

    idle_work: bool
    llm_threads_share: float
    answer_tokens_share: float
    llm: bool

    def llm_threads(self, compute_cores: int) -> int:
        """Return its part of the compute cores, at least 1 while it may run."""
        return max(1, int(self.llm_threads_share * compute_cores)) if self.llm else 0

    def answer_tokens(self, most: int) -> int:
        """Return the longest answer in tokens, at least 1 while it may answer."""
        return max(1, int(self.answer_tokens_share * most)) if self.llm else 0


_ALLOWANCES = {
    Rung.NORMAL: Allowance(idle_work=True, llm_threads_share=1.0, answer_tokens_share=1.0, llm=True),
    Rung.WARM: Allowance(idle_work=False, llm_threads_share=1.0, answer_tokens_share=0.75, llm=True),
    Rung.HOT: Allowance(idle_work=False, llm_threads_share=0.5, answer_tokens_share=0.5, llm=True),
    Rung.CRITICAL: Allowance(idle_work=False, llm_threads_share=0.0, answer_tokens_share=0.0, llm=False),
}


def allowance(rung: Rung) -> Allowance:
    """Return what may be done on `rung`; each rung allows no more than the one below it."""
    return _ALLOWANCES[rung]


@dataclass(frozen=True, slots=True)
class Levels:
    """From which value on each rung is due; infinite where it never is. It is left at `margin` below.

    Raises:
        ValueError: They are not in order, or the margin is negative.
    """

    warm: float
    hot: float
    critical: float = math.inf
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not self.warm <= self.hot <= self.critical or self.margin < 0:
            raise ValueError(f"levels rise from warm to critical: {self}")

    def rung(self, value: float, margin: float = 0.0) -> Rung:
        """Return the rung that `value` demands, or holds where `margin` is given."""
        return Rung(sum(value >= level - margin for level in (self.warm, self.hot, self.critical)))


@dataclass(frozen=True, slots=True)
class Shortage:
    """At which rest of memory each rung is due. It is left where there is `margin_share` more.

    On machines with little memory all three shrink together, so that `warm_bytes` is at most `most_share` of it.

    Raises:
        ValueError: They are not in order, or a share is not positive.
    """

    warm_bytes: float = 256 * _MIB
    hot_bytes: float = 128 * _MIB
    critical_bytes: float = 64 * _MIB
    margin_share: float = 0.25
    most_share: float = 0.15

    def __post_init__(self) -> None:
        if not self.warm_bytes >= self.hot_bytes >= self.critical_bytes >= 0 or self.warm_bytes <= 0:
            raise ValueError(f"a shortage sinks from warm to critical: {self}")
        if self.margin_share < 0 or self.most_share <= 0:
            raise ValueError(f"shares are positive: {self}")

    def rung(self, rest_bytes: float, total_bytes: float | None, margin_share: float = 0.0) -> Rung:
        """Return the rung that a rest of memory demands, or holds where `margin_share` is given."""
        scale = 1.0 if total_bytes is None else min(1.0, self.most_share * total_bytes / self.warm_bytes)
        scale *= 1 + margin_share
        limits = (self.warm_bytes, self.hot_bytes, self.critical_bytes)
        return Rung(sum(rest_bytes <= limit * scale for limit in limits))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When each rung is due.

    Attributes:
        temperature_c: A Raspberry Pi slows its cores from 80 °C on and everything at 85 °C (raspberrypi.com, "Frequency
            management and thermal control"). Limits that the kernel tells lower these, never raise them.
        memory: What is left of it.
        memory_full_stall_percent: systemd-oomd kills at 60 % over 30 s (oomd.conf(5)); we want to be done before.
        cpu_stall_percent: Recognition, voice and language model at once make up to 79 % of it by themselves (measured
            on two cores, with the ledger); what is beyond is somebody else's. It never takes the model away.
        load_per_core: In its place, on kernels without PSI.
        loop_lag_s: From 1 s on the microphone's queue overflows.
        calm_s: How long it must be better before one rung is left.
    """

    temperature_c: Levels = field(default_factory=lambda: Levels(75.0, 80.0, 85.0, margin=3.0))
    memory: Shortage = field(default_factory=Shortage)
    memory_stall_percent: Levels = field(default_factory=lambda: Levels(10.0, 30.0, margin=5.0))
    memory_full_stall_percent: Levels = field(default_factory=lambda: Levels(5.0, 15.0, 40.0, margin=3.0))
    cpu_stall_percent: Levels = field(default_factory=lambda: Levels(85.0, 97.0, margin=10.0))
    load_per_core: Levels = field(default_factory=lambda: Levels(2.0, 4.0, margin=0.5))
    loop_lag_s: Levels = field(default_factory=lambda: Levels(0.1, 0.3, 1.0, margin=0.05))
    calm_s: float = 30.0

    def temperature_levels(self, reading: Reading) -> Levels:
        """Return the levels for a machine that names limits of its own."""
        own = self.temperature_c
        off_c = math.inf if reading.critical_limit_c is None else reading.critical_limit_c
        slow_c = math.inf if reading.soft_limit_c is None else reading.soft_limit_c
        critical_c = min(own.critical, off_c - _CRITICAL_BELOW_OFF_C)
        hot_c = min(own.hot, slow_c, critical_c)
        warm_c = min(own.warm, slow_c - _WARM_BELOW_HOT_C, hot_c)
        return Levels(warm_c, hot_c, critical_c, own.margin)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one source says: the rung that it demands, the one that it holds, and whether one look is enough."""

    source: str
    demands: Rung
    holds: Rung
    text: str
    noisy: bool = False


class PressureLadder:
    """Goes up as soon as a reading demands it, and down one rung after each `calm_s` without a cause. Has no clock.

    What comes and goes within a moment (stalls, load, loop lag) goes up where two readings in a row demand it; one is
    enough to stay.

    Attributes:
        rung: Where it stands.
        reasons: Short texts for that, worst first; none on the lowest rung.
        since_s: When it came there; None before the first step.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self.rung = Rung.NORMAL
        self.reasons: tuple[str, ...] = ()
        self.since_s: float | None = None
        self._before: dict[str, Rung] = {}
        self._calm_since_s: float | None = None

    def step(self, reading: Reading, loop_lag_s: float | None, now_s: float) -> Rung:
        """Take in one reading, made at `now_s` of a clock that never jumps, and return the rung."""
        findings = tuple(_findings(self.thresholds, reading, loop_lag_s))
        demanded = max((self._confirmed(finding) for finding in findings), default=Rung.NORMAL)
        held = max((finding.holds for finding in findings), default=Rung.NORMAL)
        self._before = {finding.source: finding.demands for finding in findings if finding.noisy}
        before = self.rung
        if demanded > self.rung:
            self.rung = demanded
            self._calm_since_s = None
        elif held >= self.rung:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        elif now_s - self._calm_since_s >= self.thresholds.calm_s:
            self.rung = Rung(self.rung - 1)
            self._calm_since_s = now_s if held < self.rung else None
        if self.rung != before or self.since_s is None:
            self.since_s = now_s
        self.reasons = self._reasons(findings)
        return self.rung

    def _confirmed(self, finding: _Finding) -> Rung:
        if finding.noisy:
            return min(finding.demands, self._before.get(finding.source, Rung.NORMAL))
        return finding.demands

    def _reasons(self, findings: tuple[_Finding, ...]) -> tuple[str, ...]:
        if self.rung is Rung.NORMAL:
            return ()
        causes = sorted((finding for finding in findings if finding.holds), key=lambda finding: -finding.holds)
        return tuple(finding.text for finding in causes) or ("recovering",)


@dataclass(frozen=True, slots=True)
class PressureState:
    """Where the ladder stands.

    Attributes:
        reading: The look that it comes from.
        since_s: When the rung was reached, on the clock of `pressure_loop`.
    """

    rung: Rung
    reasons: tuple[str, ...]
    reading: Reading
    since_s: float

    @property
    def allowance(self) -> Allowance:
        """What may be done now."""
        return allowance(self.rung)

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.rung.label, ", ".join(self.reasons))))


async def pressure_loop(
    sensors: Sensors,
    ladder: PressureLadder,
    pool: Pool,
    lag: Callable[[], float | None],
    on_change: Callable[[PressureState], None],
    *,
    every_s: float = 2.0,
    on_reading: Callable[[PressureState], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> NoReturn:
    """Read the sensors on `pool` every `every_s`, until cancelled, and tell what rung the device is on.

    `lag` returns the lateness of the loop, or None where nobody measures it. `on_change` is called on the loop with the
    first state and with each one on another rung, `on_reading` before it with every state, for gauges. `clock` counts
    seconds and never jumps. A full pool costs that reading, not the rung: who can't look must not take it for calm.
    """
    told: Rung | None = None
    blind = False
    while True:
        try:
            reading = await pool.run(sensors.read, kind="sensors", priority=Priority.HIGH)
        except PoolBusyError as error:
            if not blind:
                logger.warning("can't look at the sensors, pressure stays %s: %s", ladder.rung.label, error)
            blind = True
        else:
            blind = False
            rung = ladder.step(reading, lag(), now_s := clock())
            state = PressureState(rung, ladder.reasons, reading, now_s if ladder.since_s is None else ladder.since_s)
            if on_reading is not None:
                on_reading(state)
            if rung != told:
                if told is not None or rung:
                    logger.log(logging.WARNING if rung > (told or 0) else logging.INFO, "pressure %s", state)
                told = rung
                on_change(state)
        await asyncio.sleep(every_s)


_POWER = (
    (Throttled.UNDER_VOLTAGE, Rung.HOT, "under-voltage"),
    (Throttled.THROTTLED, Rung.HOT, "throttled"),
    (Throttled.FREQUENCY_CAPPED, Rung.HOT, "clock capped"),
    (Throttled.SOFT_TEMPERATURE_LIMIT, Rung.WARM, "soft temperature limit"),
)
"""Less computing helps against each: current and heat fall with it. The soft limit costs a Pi 3B+ 200 of 1400 MHz from
60 °C on, which is no distress yet."""


def _findings(thresholds: Thresholds, reading: Reading, loop_lag_s: float | None) -> Iterator[_Finding]:
    if (value := reading.temperature_c) is not None:
        levels = thresholds.temperature_levels(reading)
        yield _steady("temperature", levels, value, f"temperature {value:.1f}".removesuffix(".0") + " °C")
    for bit, rung, text in _POWER:
        if reading.throttled is not None and bit in reading.throttled:
            yield _Finding(text, rung, rung, text)
    if (rest := reading.memory_available_bytes) is not None:
        shortage, total = thresholds.memory, reading.memory_total_bytes
        holds = shortage.rung(rest, total, shortage.margin_share)
        yield _Finding("memory", shortage.rung(rest, total), holds, f"memory: {rest // _MIB} MiB left")
    if (value := reading.memory_full_stall_percent) is not None:
        text = f"memory: everything waits {value:.0f} % of the time"
        yield _noisy("memory full stall", thresholds.memory_full_stall_percent, value, text)
    if (value := reading.memory_stall_percent) is not None:
        text = f"memory: something waits {value:.0f} % of the time"
        yield _noisy("memory stall", thresholds.memory_stall_percent, value, text)
    if (value := reading.cpu_stall_percent) is not None:
        text = f"cores: something waits {value:.0f} % of the time"
        yield _noisy("cpu stall", thresholds.cpu_stall_percent, value, text)
    if (value := reading.load_per_core) is not None:
        yield _noisy("load", thresholds.load_per_core, value, f"load {value:.1f} a core")
    if loop_lag_s is not None:
        yield _noisy("loop lag", thresholds.loop_lag_s, loop_lag_s, f"loop {loop_lag_s * 1000:.0f} ms late")


def _steady(source: str, levels: Levels, value: float, text: str) -> _Finding:
    return _Finding(source, levels.rung(value), levels.rung(value, levels.margin), text)


def _noisy(source: str, levels: Levels, value: float, text: str) -> _Finding:
    return _Finding(source, levels.rung(value), levels.rung(value, levels.margin), text, noisy=True)
