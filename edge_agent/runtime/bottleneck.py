"""Names the one thing that limits the device now, with the figure that shows it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 1 << 20
_LAG_S = 0.1
"""Every step of a turn waits for the loop, and there are several: from here on people notice."""
_LEAST_MEMORY_BYTES = 64 * _MIB
_LEAST_MEMORY_SHARE = 0.05
_BUSY_SHARE = 0.9
_GIVEN_UP = {
    "warm": "idle work waits",
    "hot": "the language model is throttled",
    "critical": "the language model is off",
}


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limits the device, and the figure that shows it."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class PoolSigns:
    """What one pool shows.

    Attributes:
        waiting: Jobs that are due and wait.
        busy: Threads with a job.
        busy_share: Mean share (0 to 1) of its threads' time that was worked, over the last ten seconds or so.
        wait_p95_s: Recent waiting time.
        stuck_job: A job that was told to stop and has not, with its age.
    """

    name: str
    workers: int
    most_workers: int
    busy: int
    waiting: int
    busy_share: float | None = None
    wait_p95_s: float | None = None
    stuck_job: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class LimitSigns:
    """What one limited resource shows."""

    name: str
    limit: int
    in_use: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ChannelSigns:
    """What one channel shows."""

    name: str
    limit: int
    queued: int


@dataclass(frozen=True, slots=True)
class Signs:
    """All that tells where the device stands.

    Attributes:
        rung: Of the pressure ladder: normal, warm, hot, critical; None where nobody watches.
        reasons: Why it is not normal.
        claims_waiting: Engines that have work and wait for a core.
    """

    rung: str | None = None
    reasons: tuple[str, ...] = ()
    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    lag_p99_s: float | None = None
    cores: int = 0
    cores_held: int = 0
    claims_waiting: int = 0
    pools: tuple[PoolSigns, ...] = ()
    limits: tuple[LimitSigns, ...] = ()
    channels: tuple[ChannelSigns, ...] = ()


def name_bottleneck(signs: Signs) -> Bottleneck | None:
    """Return the first of these that holds; None where nothing limits the device.

    The order is from causes to effects: what comes later would be explained by what comes before.

    1. pressure at `hot` or `critical`: the board itself holds everything back;
    2. memory, where less than 64 MiB or 5 % is left;
    3. the event loop, where its p99 lag reaches 100 ms;
    4. a pool whose thread is stuck in a job;
    5. cores, where engines wait for one;
    6. a pool that has all its threads busy and jobs waiting; of several, the one whose jobs wait longest;
    7. a limited resource that someone waits for;
    8. a channel that is full;
    9. pressure at `warm`;
    10. a pool that was busy for 90 % of the time, with nobody waiting.
    """
    return next((found for rule in _RULES if (found := rule(signs)) is not None), None)


def _hard_pressure(signs: Signs) -> Bottleneck | None:
    return _pressure(signs) if signs.rung in ("hot", "critical") else None


def _soft_pressure(signs: Signs) -> Bottleneck | None:
    return _pressure(signs) if signs.rung == "warm" else None


def _pressure(signs: Signs) -> Bottleneck:
    """Name it by the first reason's own words: `temperature` of "temperature 85 °C"."""
    first = signs.reasons[0] if signs.reasons else "pressure"
    subject = re.match(r"[^\d:]+", first)
    what = (subject.group() if subject else first).strip()
    figures = [
        reason.removeprefix(what).lstrip(": ") if number == 0 else reason for number, reason in enumerate(signs.reasons)
    ]
    given_up = _GIVEN_UP.get(signs.rung or "", "")
    return Bottleneck(what, ": ".join(part for part in (", ".join(filter(None, figures)), given_up) if part))


def _memory(signs: Signs) -> Bottleneck | None:
    available, total = signs.memory_available_bytes, signs.memory_total_bytes
    if available is None:
        return None
    if available >= _LEAST_MEMORY_BYTES and available >= _LEAST_MEMORY_SHARE * (total or 0):
        return None
    of = f" of {total // _MIB}" if total else ""
    return Bottleneck("memory", f"{available // _MIB}{of} MiB left")


def _loop(signs: Signs) -> Bottleneck | None:
    if signs.lag_p99_s is None or signs.lag_p99_s < _LAG_S:
        return None
    return Bottleneck("event loop", f"lag p99 {_duration(signs.lag_p99_s)}")


def _stuck(signs: Signs) -> Bottleneck | None:
    stuck = [pool for pool in signs.pools if pool.stuck_job is not None]
    if not stuck:
        return None
    job, age_s = stuck[0].stuck_job or ("", 0.0)
    return Bottleneck(f"pool {stuck[0].name}", f"stuck in {job} for {_duration(age_s)}: it was told to stop")


def _cores(signs: Signs) -> Bottleneck | None:
    if not signs.claims_waiting:
        return None
    wait = f"{signs.claims_waiting} {'claim waits' if signs.claims_waiting == 1 else 'claims wait'}"
    return Bottleneck("cores", f"{wait}, {signs.cores_held} of {signs.cores} are in use")


def _backed_up_pool(signs: Signs) -> Bottleneck | None:
    full = [pool for pool in signs.pools if pool.waiting and pool.busy and pool.busy >= pool.most_workers]
    if not full:
        return None
    worst = max(full, key=lambda pool: (pool.wait_p95_s or 0.0, pool.waiting))
    parts = [f"{worst.waiting} {'job' if worst.waiting == 1 else 'jobs'} waiting"]
    if worst.wait_p95_s is not None:
        parts.append(f"p95 wait {_duration(worst.wait_p95_s)}")
    return Bottleneck(f"pool {worst.name}", ", ".join([*parts, _busy(worst)]))


def _limit(signs: Signs) -> Bottleneck | None:
    waited_for = [limit for limit in signs.limits if limit.waiting]
    if not waited_for:
        return None
    worst = max(waited_for, key=lambda limit: limit.waiting)
    waiting = "1 waits" if worst.waiting == 1 else f"{worst.waiting} wait"
    return Bottleneck(f"limit {worst.name}", f"{waiting}, {worst.in_use} of {worst.limit} are in use")


def _channel(signs: Signs) -> Bottleneck | None:
    full = next((channel for channel in signs.channels if channel.queued >= channel.limit), None)
    if full is None:
        return None
    return Bottleneck(f"channel {full.name}", f"full: {full.queued} of {full.limit} are queued")


def _busy_pool(signs: Signs) -> Bottleneck | None:
    working = [pool for pool in signs.pools if pool.busy and (pool.busy_share or 0.0) >= _BUSY_SHARE]
    if not working:
        return None
    worst = max(working, key=lambda pool: pool.busy_share or 0.0)
    return Bottleneck(f"pool {worst.name}", f"nothing waits, {_busy(worst)}")


_RULES: tuple[Callable[[Signs], Bottleneck | None], ...] = (
    _hard_pressure,
    _memory,
    _loop,
    _stuck,
    _cores,
    _backed_up_pool,
    _limit,
    _channel,
    _soft_pressure,
    _busy_pool,
)


def _busy(pool: PoolSigns) -> str:
    whose = "its one thread" if pool.workers == 1 else f"its {pool.workers} threads"
    return f"{whose} busy" if pool.busy_share is None else f"{whose} busy {pool.busy_share:.0%}".replace("%", " %")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
