"""The report in Prometheus' text format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from edge_agent.runtime.figures import Spread, Work
    from edge_agent.runtime.report import Report

At = TypeVar("At", bound=tuple[str, ...])
"""The values of a sample's labels."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RUNGS = ("normal", "warm", "hot", "critical")


def as_prometheus(report: Report, info: Mapping[str, str] | None = None) -> str:
    """Return the report's figures as text, of `CONTENT_TYPE`.

    Names begin with `edge_agent_`; durations are in seconds and sizes in bytes, as Prometheus wants them.

    Args:
        report: What to tell.
        info: Labels of `edge_agent_info`, such as version and engines.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ReportCollector(report, info or {}))
    return generate_latest(registry).decode()


@dataclass(eq=False)
class _ReportCollector:
    """Hands the report's figures to the library, which keeps collectors in a dictionary: equal by identity."""

    report: Report
    info: Mapping[str, str]

    def collect(self) -> Iterator[Metric]:
        """Yield every family; one without samples is left out."""
        for family in _families(self.report, self.info):
            if family.samples:
                yield family


def _families(report: Report, info: Mapping[str, str]) -> Iterator[Metric]:
    yield _gauge("uptime_seconds", "Since the agent started.", {(): report.uptime_s})
    if info:
        yield _gauge("info", "What runs; always 1.", {tuple(info.values()): 1}, tuple(info))
    yield from _work(report.work)
    tasks = report.tasks
    yield _gauge("work_peak", "The most pieces of work at once that were seen.", {(): tasks.peak})
    yield _gauge("work_per_second", "Pieces of work ended a second, last minute.", {(): tasks.per_s_last_minute})
    yield from _pools(report)
    yield from _cores(report)
    yield from _queues(report)
    yield from _machine(report)
    yield _counter("logs_lost", "Log records that nobody will read.", {(): report.logs_lost})
    if (found := report.bottleneck) is not None:
        yield _gauge("bottleneck", "What limits the device; always 1.", {(found.what,): 1}, ("what",))


def _work(all_work: Sequence[Work]) -> Iterator[Metric]:
    labels = ("place", "kind")
    by_kind = {(work.place, work.kind or ""): work for work in all_work}
    ended = {
        (*at, outcome): getattr(work, outcome)
        for at, work in by_kind.items()
        for outcome in ("completed", "failed", "timed_out", "cancelled")
    }
    yield _counter("work", "Pieces of work that ended.", ended, (*labels, "outcome"))
    yield _counter(
        "work_refused", "Pieces of work turned away.", {at: work.refused for at, work in by_kind.items()}, labels
    )
    yield _counter("work_busy_seconds", "Time worked.", {at: work.busy_s for at, work in by_kind.items()}, labels)
    yield _gauge("work_active", "Waiting or worked on.", {at: work.active for at, work in by_kind.items()}, labels)
    for name, text in (
        ("wait", "Waiting for a place to run"),
        ("run", "On a thread"),
        ("stop", "From the wish to stop to the thread being free"),
    ):
        spreads = {at: getattr(work, name) for at, work in by_kind.items()}
        yield _summary(f"work_{name}_seconds", f"{text}, last five to ten minutes.", spreads, labels)


def _quantiles(spread: Spread | None) -> Iterator[tuple[str, float]]:
    if spread is not None:
        yield "0.5", spread.p50_ms / 1000
        yield "0.95", spread.p95_ms / 1000
        yield "0.99", spread.p99_ms / 1000


def _pools(report: Report) -> Iterator[Metric]:
    pools = {(pool.name,): pool for pool in report.pools}
    label = ("pool",)
    yield _gauge("pool_workers", "Threads.", {at: pool.workers for at, pool in pools.items()}, label)
    yield _gauge("pool_busy", "Threads with a job.", {at: pool.busy for at, pool in pools.items()}, label)
    yield _gauge(
        "pool_stuck", "Threads whose job does not stop.", {at: pool.stuck for at, pool in pools.items()}, label
    )
    shares = {at: pool.busy_share for at, pool in pools.items() if pool.busy_share is not None}
    yield _gauge("pool_busy_ratio", "Share of the threads' time worked, last ten seconds.", shares, label)
    queued = {(*at, priority): count for at, pool in pools.items() for priority, count in pool.queued.items()}
    yield _gauge("pool_queued", "Jobs that wait.", queued, (*label, "priority"))
    yield _gauge(
        "pool_delayed", "Jobs whose time has not come.", {at: pool.delayed for at, pool in pools.items()}, label
    )
    yield _gauge("pool_depth", "Jobs that may wait.", {at: pool.depth for at, pool in pools.items()}, label)


def _cores(report: Report) -> Iterator[Metric]:
    cores = report.cores
    if cores is None:
        return
    yield _gauge("cores", "Cores of the ledger.", {(): cores.cores})
    yield _gauge("cores_reserved", "Kept for capture and the loop.", {(): cores.reserve})
    yield _gauge("cores_held", "Compute threads leased.", {(): cores.held})
    yield _gauge("cores_claims_waiting", "Engines that wait for a core.", {(): cores.waiting})
    claims, label = {(claim.name,): claim for claim in cores.claims}, ("claim",)
    yield _gauge("claim_threads", "Compute threads held.", {at: claim.held for at, claim in claims.items()}, label)
    seconds = {at: claim.thread_s for at, claim in claims.items()}
    yield _counter("claim_thread_seconds", "Threads times seconds.", seconds, label)
    waited = {at: claim.waited_s for at, claim in claims.items()}
    yield _counter("claim_waited_seconds", "Open without any thread.", waited, label)


def _queues(report: Report) -> Iterator[Metric]:
    channels, label = {(channel.name,): channel for channel in report.channels}, ("channel",)
    yield _gauge("channel_queued", "Items queued.", {at: one.queued for at, one in channels.items()}, label)
    yield _gauge("channel_limit", "Items that may be queued.", {at: one.limit for at, one in channels.items()}, label)
    yield _counter("channel_dropped", "Items dropped.", {at: one.dropped for at, one in channels.items()}, label)
    limits, label = {(limit.resource,): limit for limit in report.limits}, ("resource",)
    yield _gauge("limit", "How many may hold it at once.", {at: one.limit for at, one in limits.items()}, label)
    yield _gauge("limit_in_use", "How many hold it.", {at: one.in_use for at, one in limits.items()}, label)
    yield _gauge("limit_waiting", "How many wait for it.", {at: one.waiting for at, one in limits.items()}, label)
    yield _counter("limit_refused", "Turned away at once.", {at: one.refused for at, one in limits.items()}, label)
    yield _counter("limit_timed_out", "Waited in vain.", {at: one.timed_out for at, one in limits.items()}, label)
    rates, label = {(rate.kind,): rate for rate in report.rates}, ("rate",)
    yield _counter("rate_allowed", "Let through.", {at: rate.allowed for at, rate in rates.items()}, label)
    yield _counter("rate_refused", "Asked too often.", {at: rate.refused for at, rate in rates.items()}, label)


def _machine(report: Report) -> Iterator[Metric]:
    if report.lag is not None:
        yield _gauge("loop_lag_seconds", "How late the event loop is.", {(): report.lag.latest_ms / 1000})
        if report.lag.p99_ms is not None:
            yield _gauge("loop_lag_p99_seconds", "The same, last minute or two.", {(): report.lag.p99_ms / 1000})
    if (pressure := report.pressure) is not None:
        rungs: dict[tuple[str, ...], float] = {(rung,): float(rung == pressure.rung) for rung in _RUNGS}
        yield _gauge("pressure", "1 on the rung of the pressure ladder.", rungs, ("rung",))
        if pressure.temperature_c is not None:
            yield _gauge("temperature_celsius", "The processor's hottest zone.", {(): pressure.temperature_c})
    if (usage := report.usage) is not None:
        if usage.cpu_share is not None:
            yield _gauge("cpu_ratio", "Cores' worth of processor time, children included.", {(): usage.cpu_share})
        yield _counter("cpu_seconds", "Processor time of the process itself.", {(): usage.cpu_s})
        resident = {("self",): usage.rss_bytes, ("children",): usage.children_rss_bytes}
        yield _gauge("resident_memory_bytes", "Resident memory.", resident, ("process",))
        yield _gauge("children", "Child processes.", {(): usage.children})
        yield _gauge("threads", "Threads.", {(): usage.threads})
        yield _gauge("open_files", "Open descriptors.", {(): usage.open_files})
        yield _gauge("memory_available_bytes", "What the device can still give.", {(): usage.memory_available_bytes})


def _gauge(name: str, text: str, values: Mapping[At, float], labels: Sequence[str] = ()) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"edge_agent_{name}", text, labels=labels)
    for at, value in values.items():
        family.add_metric(at, value)
    return family


def _counter(name: str, text: str, values: Mapping[At, float], labels: Sequence[str] = ()) -> Metric:
    """A counter; the library appends `_total` to its name."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"edge_agent_{name}", text, labels=labels)
    for at, value in values.items():
        family.add_metric(at, value)
    return family


def _summary(name: str, text: str, spreads: Mapping[At, Spread | None], labels: Sequence[str]) -> Metric:
    """Quantiles alone: the library's own family knows only sum and count."""
    from prometheus_client.core import Metric

    family = Metric(f"edge_agent_{name}", text, "summary")
    for at, spread in spreads.items():
        for quantile, value in _quantiles(spread):
            at_labels = dict(zip(labels, at, strict=True))
            family.add_sample(family.name, {**at_labels, "quantile": quantile}, value)
    return family
