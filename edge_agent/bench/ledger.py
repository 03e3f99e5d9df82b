"""What the core ledger is worth: the language model's speed alone, under load with it, and under load without it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from edge_agent.bench.result import Reference, at_least
from edge_agent.bench.watching import SETTLE_S, Seen, watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.bench.defaults_process import DefaultsProcess
    from edge_agent.bench.ledger_load import LedgerEngines
    from edge_agent.bench.result import Findings, Progress


def fair_share(alone: Mapping[int, float], threads: float) -> float:
    """Return the speed alone at a mean number of threads: straight lines between whole numbers, and nothing at 0.

    Args:
        alone: Speed by number of threads.
        threads: From 0 to the largest number in `alone`; more counts as that.
    """
    known = {0: 0.0, **alone}
    below = max(count for count in known if count <= max(0.0, threads))
    above = min((count for count in known if count >= threads), default=below)
    if above == below:
        return known[below]
    return known[below] + (known[above] - known[below]) * (threads - below) / (above - below)


async def measure(
    findings: Findings,
    progress: Progress,
    *,
    ours: LedgerEngines,
    defaults: DefaultsProcess,
    rounds: int,
    window_s: float,
    settle_s: float = SETTLE_S,
) -> None:
    """Add `ledger.*`. Each round measures every case once, so that slow changes of the machine hit all of them."""
    alone = {count: Seen() for count in range(1, ours.cores + 1)}
    loaded, loose, loose_alone = Seen(), Seen(), Seen()
    for turn in range(1, rounds + 1):
        where = f"ledger {turn}/{rounds}"
        for count, seen in alone.items():
            progress(f"{where}: language model alone, threads: {count}")
            seen.add(await watch(ours.model_alone(count), window_s, settle_s=settle_s))
        progress(f"{where}: under load with the ledger")
        loaded.add(await watch(ours.running(), window_s, settle_s=settle_s, granted=ours.granted_thread_s))
        progress(f"{where}: the libraries' defaults, language model alone")
        loose_alone.add(await defaults.watch(window_s, alone=True, settle_s=settle_s))
        progress(f"{where}: the libraries' defaults under the same load")
        loose.add(await defaults.watch(window_s, alone=False, settle_s=settle_s))
    _report(findings, alone, loaded, loose, loose_alone)


def _report(findings: Findings, alone: dict[int, Seen], loaded: Seen, loose: Seen, loose_alone: Seen) -> None:
    threads = statistics.fmean(loaded.threads)
    fair = fair_share({count: seen.mean for count, seen in alone.items()}, threads)
    rounds = len(loaded.tokens_per_s)
    findings.add(
        "ledger.fair_share",
        loaded.mean / fair if fair else None,
        "ratio",
        goal=at_least(0.8),
        reference=Reference(f"alone at {threads:.2f} threads, the mean granted", fair, "tokens/s"),
        samples=rounds,
    )
    findings.add(
        "ledger.vs_defaults",
        # Where the defaults came to a standstill the ratio has no upper end; this is its lower one.
        loaded.mean / max(loose.mean, loose.least),
        "ratio",
        goal=at_least(4),
        reference=Reference("the libraries' defaults under the same load", loose.mean, "tokens/s"),
        samples=rounds,
    )
    for count, seen in alone.items():
        findings.add(f"ledger.alone_{count}_tokens_per_s", seen.mean, "tokens/s", samples=rounds)
    for name, seen in (("loaded", loaded), ("defaults", loose), ("defaults_alone", loose_alone)):
        findings.add(f"ledger.{name}_tokens_per_s", seen.mean, "tokens/s", samples=rounds)
        findings.add(f"ledger.{name}_spread", seen.spread, "ratio", samples=rounds)
    findings.add("ledger.mean_threads", threads, "threads", samples=rounds)
    for name, seen in (("loaded", loaded), ("defaults", loose)):
        factors = seen.real_time_factors
        mean = statistics.fmean(factors) if factors else None
        findings.add(f"ledger.{name}_tts_real_time_factor", mean, "ratio", samples=len(factors))
        findings.add_percentiles(f"ledger.{name}_asr_lag", seen.lags_ms, "ms", shares=(50, 95))
    findings.distributions["Language model (tokens/s)"] = {
        **{f"alone, threads: {count}": seen.tokens_per_s for count, seen in alone.items()},
        "ledger": loaded.tokens_per_s,
        "defaults": loose.tokens_per_s,
    }
