"""The report as Prometheus reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.gateway.prometheus import as_prometheus
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.figures import LagReport
from edge_agent.runtime.jobs import Priority
from edge_agent.runtime.ledger import CoreLedger, Rank
from edge_agent.runtime.limits import ResourceLimits
from edge_agent.runtime.metrics import Metrics, Outcome
from edge_agent.runtime.pool import PoolStatistics
from edge_agent.runtime.pressure import PressureState, Rung
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.report import Report, Reporter, Sources
from edge_agent.runtime.sensors import Reading
from edge_agent.runtime.usage import Usage
from edge_agent.runtime.worker import ThreadStatistics


@pytest.fixture
def report() -> Report:
    """A report with something in every part."""
    now_s = [100.0]
    metrics = Metrics(lambda: now_s[0])
    activity = metrics.activity("llm", 'generate "it"\n')
    for outcome in (Outcome.COMPLETED, Outcome.COMPLETED, Outcome.FAILED):
        activity.begin()
        activity.end(outcome, 0.25, 1.5)
    activity.freed(0.05)
    ledger = CoreLedger(4, 1)
    ledger.claim("llama", Rank.REASONING, 3)
    threads = (ThreadStatistics("edge-llm-1", "generate", 2.0, 3, 4.0, 1.0, is_stuck=False),)
    pool = PoolStatistics("llm", 1, 1, 1, 0, 64, {Priority.HIGH: 0, Priority.NORMAL: 2, Priority.LOW: 1}, 1, threads)
    channel: Channel[int] = Channel(3, name="microphone")
    rate = RateLimiter("questions", 1, 1.0)
    reading = Reading(temperature_c=61.5)
    reporter = Reporter(
        Sources(
            metrics,
            pools=lambda: [pool],
            ledger=ledger.statistics,
            channels=lambda: [channel.statistics()],
            limits=ResourceLimits({"llm": 1}).statistics,
            rates=lambda: [rate.statistics()],
            pressure=lambda: PressureState(Rung.WARM, ("temperature 76 °C",), reading, 90.0),
            logs_lost=lambda: 3,
        )
    )
    now_s[0] += 10
    usage = Usage(0.5, 12.0, 1 << 26, 2, 1 << 25, 9, 30, 1 << 29, 1 << 30, {"MainThread": 2.0})
    return replace(reporter.report(), usage=usage, lag=LagReport(1.5, 20.0))


def samples_of(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample by name and labels, as Prometheus' own parser reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_are_the_report_s(report: Report) -> None:
    """In seconds and bytes, with labels that are escaped."""
    samples = samples_of(as_prometheus(report, {"version": "0.1.0", "asr": "vosk"}))
    work = (("kind", 'generate "it"\n'), ("place", "llm"))
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("uptime_seconds", ()): 10.0,
        ("info", (("asr", "vosk"), ("version", "0.1.0"))): 1.0,
        ("work_total", (work[0], ("outcome", "completed"), work[1])): 2.0,
        ("work_total", (work[0], ("outcome", "failed"), work[1])): 1.0,
        ("work_busy_seconds_total", work): 4.5,
        ("work_wait_seconds", (*work, ("quantile", "0.5"))): 0.25,
        ("work_run_seconds", (*work, ("quantile", "0.99"))): 1.5,
        ("work_stop_seconds", (*work, ("quantile", "0.95"))): 0.05,
        ("pool_busy", (("pool", "llm"),)): 1.0,
        ("pool_queued", (("pool", "llm"), ("priority", "normal"))): 2.0,
        ("cores", ()): 4.0,
        ("claim_threads", (("claim", "llama"),)): 0.0,
        ("channel_dropped_total", (("channel", "microphone"),)): 0.0,
        ("limit_in_use", (("resource", "llm"),)): 0.0,
        ("rate_refused_total", (("rate", "questions"),)): 0.0,
        ("loop_lag_seconds", ()): 0.0015,
        ("loop_lag_p99_seconds", ()): 0.02,
        ("pressure", (("rung", "warm"),)): 1.0,
        ("pressure", (("rung", "hot"),)): 0.0,
        ("temperature_celsius", ()): 61.5,
        ("resident_memory_bytes", (("process", "children"),)): float(1 << 25),
        ("cpu_seconds_total", ()): 12.0,
        ("logs_lost_total", ()): 3.0,
        ("bottleneck", (("what", "pool llm"),)): 1.0,
    }
    found = {at: samples.get((f"edge_agent_{at[0]}", at[1])) for at in expected}
    assert found == pytest.approx(expected)


def test_names_types_and_help_are_proper(report: Report) -> None:
    """One family a name, a counter ends in _total, everything has a help text and our prefix."""
    families = list(text_string_to_metric_families(as_prometheus(report)))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert family.name.startswith("edge_agent_")
        assert family.documentation
        assert family.type in {"gauge", "counter", "summary"}
        assert family.samples
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)


def test_an_agent_that_knows_nothing_has_a_text() -> None:
    """Families without samples are left out."""
    samples = samples_of(as_prometheus(Reporter(Sources(Metrics(lambda: 0.0))).report()))
    assert ("edge_agent_uptime_seconds", ()) in samples
    assert not [name for name, _ in samples if "pool" in name or "bottleneck" in name]
