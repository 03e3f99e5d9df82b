"""Opens what every part of the agent works on: pools, the core ledger, limits, the scheduler, the account of it all."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.tune.applying import TunedThreads, load_tuned
from edge_agent.errors import BusyError, JobTimeoutError
from edge_agent.runtime.ledger import CoreLedger, Rank
from edge_agent.runtime.limits import ResourceLimits
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.plan import voice_threads
from edge_agent.runtime.pool import Pool, Priority
from edge_agent.runtime.pools import Pools, Station, open_pools
from edge_agent.runtime.scheduler import Scheduler
from edge_agent.runtime.topology import Topology, read_topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.config.schema import Config
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.runtime.ledger import Claim
    from edge_agent.speak.tts import SpeechSynthesizer

_log = logging.getLogger(__name__)


_SHUT_S = 1.0


class IdleGate:
    """Says whether it is time for idle work: nobody is served, and the device can afford it."""

    def __init__(self) -> None:
        self.is_serving = False
        self.can_afford = True

    def __call__(self) -> bool:
        """Tell whether idle work may run."""
        return self.can_afford and not self.is_serving


@dataclass(frozen=True, slots=True)
class Core:
    """The runtime of one agent.

    Attributes:
        asr: Where recognition works; and so on for the other engines.
        match: Where intents are matched.
        wake: Where wake words are detected.
        tuned: What was measured of this board.
    """

    metrics: Metrics
    topology: Topology
    pools: Pools
    ledger: CoreLedger
    limits: ResourceLimits
    scheduler: Scheduler
    idle: IdleGate
    asr: Station
    llm: Station
    tts: Station
    match: Station
    wake: Station
    tuned: TunedThreads

    async def shut(self, station: Station, close: Callable[[], None], what: str) -> None:
        """Free an engine on its own thread; leave it behind, logged, where that is not free within a second.

        A native call that loads a model can't be broken off, and stopping must not wait for it.
        """
        try:
            await station.pool.run(close, kind=f"close.{what}", priority=Priority.HIGH, timeout_s=_SHUT_S)
        except (JobTimeoutError, BusyError) as error:
            _log.warning("%s is not freed: %s", what, error)

    def size_voice(self, config: Config, voice: SpeechSynthesizer) -> None:
        """Let the voice ask for the configured threads, else for those that were measured to be best for it.

        It asks for no more than it can make use of.
        """
        plan = self.tuned.for_voice(voice.name)
        configured = config.tts.piper.threads
        self.tts_claim.resize(configured or plan.tts or voice_threads(self.ledger.compute_cores))
        self.tts_claim.bound(voice.most_threads)
        self.tts_claim.make_way(None if configured else plan.tts_beside)

    def size_model(self, config: Config, model: LanguageModel | None) -> None:
        """Let the language model ask for the configured threads, else for those that were measured to be best."""
        plan = self.tuned.for_model(None if model is None else model.name)
        self.llm_claim.resize(config.llm.threads or plan.llm or self.ledger.compute_cores)
        if config.tts.piper.threads is None:
            self.tts_claim.make_way(plan.tts_beside)

    @property
    def llm_claim(self) -> Claim:
        """The language model's place in the ledger."""
        return _claim_of(self.llm)

    @property
    def tts_claim(self) -> Claim:
        """The voice's place in the ledger."""
        return _claim_of(self.tts)


def make_ledger(config: Config, topology: Topology) -> CoreLedger:
    """Return the ledger of the configured cores, or else of those that the board has."""
    compute = config.cores.compute or topology.compute_cores
    reserve = topology.reserve if config.cores.reserve is None else config.cores.reserve
    return CoreLedger(compute + reserve, reserve)


@asynccontextmanager
async def open_core(
    config: Config, metrics: Metrics | None = None, *, tuned: TunedThreads | None = None
) -> AsyncIterator[Core]:
    """Open the runtime; leaving stops whatever still works on it.

    Args:
        config: What is configured goes before what was measured.
        metrics: Those of a core before this one.
        tuned: What is known of the board; None: what `edge-agent tune` has stored.
    """
    metrics = metrics or Metrics()
    topology, ledger, stored = await _look_around(config, metrics)
    _log.debug("%s", topology.describe())
    cores = ledger.compute_cores
    limits = ResourceLimits({"asr": 1, "llm": 1, "tts": 1}, metrics=metrics)
    idle = IdleGate()
    big = topology.big if topology.little else ()
    async with (
        open_pools(metrics, little=topology.little, big=big) as pools,
        Scheduler(most_running=max(2, len(topology.cores)), idle=idle, metrics=metrics) as scheduler,
    ):
        asr = ledger.claim("asr", Rank.HEARING, 1)
        tts = ledger.claim("tts", Rank.SPEAKING, _voice_threads(config, cores))
        llm = ledger.claim("llm", Rank.REASONING, _model_threads(config, cores))
        yield Core(
            metrics=metrics,
            topology=topology,
            pools=pools,
            ledger=ledger,
            limits=limits,
            scheduler=scheduler,
            idle=idle,
            asr=Station(pools.asr, asr, limits, "asr", patience_s=30.0),
            llm=Station(pools.llm, llm, limits, "llm"),
            tts=Station(pools.tts, tts, limits, "tts"),
            match=Station(pools.general),
            wake=Station(pools.capture),
            tuned=stored if tuned is None else tuned,
        )


async def _look_around(config: Config, metrics: Metrics) -> tuple[Topology, CoreLedger, TunedThreads]:
    """Look at the board on a thread of its own: the pools are made of what it says."""

    def look() -> tuple[Topology, CoreLedger, TunedThreads]:
        topology = read_topology()
        ledger = make_ledger(config, topology)
        return topology, ledger, load_tuned(config, topology, ledger)

    pool = Pool("boot", metrics=metrics)
    try:
        return await pool.run(look, kind="load.topology")
    finally:
        await pool.close()


def _voice_threads(config: Config, cores: int) -> int:
    return config.tts.piper.threads or voice_threads(cores)


def _model_threads(config: Config, cores: int) -> int:
    return config.llm.threads or cores


def _claim_of(station: Station) -> Claim:
    if station.claim is None:
        raise RuntimeError("an engine that computes has a claim")
    return station.claim
