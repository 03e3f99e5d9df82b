"""`tune`: what is measured, in which order, for how long; and whether the outcome is kept."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import Surroundings
from edge_agent.app.places import find_places
from edge_agent.app.tune.board import read_board
from edge_agent.app.tune.errors import ServiceRunsError, StoredTuneError, TuneNotAllowedError
from edge_agent.app.tune.finding import find_plan
from edge_agent.app.tune.heat import HeatWatch
from edge_agent.app.tune.rig import open_rig
from edge_agent.app.tune.stored import (
    LlmSpeed,
    Measurements,
    Plan,
    Together,
    Tuned,
    VoiceSpeed,
    read_usable,
    store_tuned,
    tune_file,
)
from edge_agent.runtime.plan import ThreadPlan
from edge_agent.runtime.sensors import Sensors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.app.tune.rig import TuneRig
    from edge_agent.config.schema import Config
    from edge_agent.runtime.sensors import Reading

_RUNNING = frozenset({"active", "activating", "reloading"})
_EACH_UP_TO = 4
SYSTEM_STATE = Path("/var/lib/edge-agent")


@dataclass(frozen=True, slots=True)
class Size:
    """How long it takes.

    Attributes:
        window_s: For how long each case is measured each time.
        rounds: How often; of the outcomes the middle one counts.
    """

    window_s: float
    rounds: int


FULL, QUICK = Size(5.0, 3), Size(2.0, 1)


def check_may_tune(config: Config, around: Surroundings | None = None, system: Path = SYSTEM_STATE) -> Path:
    """Return where the outcome is stored. Blocking.

    Raises:
        ServiceRunsError: The service runs.
        TuneNotAllowedError: This user may not store what the service would read.
    """
    check_is_quiet(around)
    state = find_places(config.directories).state
    if config.directories.state is None and system.is_dir() and not os.access(system, os.W_OK):
        raise TuneNotAllowedError(system)
    nearest = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        raise TuneNotAllowedError(nearest)
    return state


def check_is_quiet(around: Surroundings | None = None) -> None:
    """Make sure that no service computes beside what is measured. Blocking.

    Raises:
        ServiceRunsError: One does.
    """
    around = around or Surroundings()
    if around.status is not None or (around.unit or {}).get("ActiveState") in _RUNNING:
        raise ServiceRunsError


async def tune(config: Config, size: Size, progress: Callable[[str], None], before: Reading) -> Tuned:
    """Measure this board with the engines that `config` would use, and find its plan.

    Args:
        config: Chooses engines and models; what it says of threads is not looked at.
        size: How long it takes.
        progress: Is told what is being done.
        before: What the machine was doing before any of this.

    Raises:
        EdgeAgentError: An engine or a model is missing or broken.
    """
    places = find_places(config.directories)
    progress("looking at the board")
    async with open_rig(config, places, progress) as rig:
        core = rig.core
        sensors = Sensors(cores=len(core.topology.cores))
        compute, whole = core.ledger.compute_cores, core.ledger.statistics().cores
        watch = HeatWatch(config.pressure.hot_c, before)
        measured = await measure(rig, size, progress, lambda: _look(rig, sensors, watch))
        board = await core.match.run(
            lambda: read_board(core.topology, compute_cores=compute, reserve=whole - compute), kind="tune.board"
        )
        asr, llm, tts = rig.engines
    notes = []
    if llm is None:
        notes.append("there is no language model: what it needs was not measured")
    if rig.voice.most_threads == 1:
        notes.append(f"{tts.name} computes on one thread: there is nothing to choose")
    return Tuned(
        measured_at=datetime.now(UTC).replace(microsecond=0),
        is_quick=size == QUICK,
        board=board,
        asr=asr,
        llm=llm,
        tts=tts,
        measured=measured,
        plan=find_plan(measured),
        tainted=watch.tainted,
        notes=tuple(notes),
    )


async def _look(rig: TuneRig, sensors: Sensors, watch: HeatWatch) -> None:
    watch.look(await rig.core.match.run(sensors.read, kind="tune.sensors"))


async def measure(
    rig: TuneRig, size: Size, progress: Callable[[str], None], look: Callable[[], Awaitable[None]]
) -> Measurements:
    """Measure each case once a round, so that slow changes of the machine hit all of them.

    Args:
        rig: The engines.
        size: How long and how often.
        progress: Is told what is measured.
        look: Looks at the board's temperature after each case.
    """
    compute = rig.core.ledger.compute_cores
    counts = thread_counts(compute)
    voices = thread_counts(min(compute, rig.voice.most_threads or compute))
    llm: dict[int, list[LlmSpeed]] = defaultdict(list)
    tts: dict[int, list[VoiceSpeed]] = defaultdict(list)
    asr: list[float] = []
    pairs: dict[int, list[Together]] = defaultdict(list)
    for turn in range(1, size.rounds + 1):
        where = f"round {turn} of {size.rounds}: "
        progress(f"{where}recognition")
        if (factor := await rig.recognizer_alone(size.window_s)) is not None:
            asr.append(factor)
        await look()
        for threads in voices:
            progress(f"{where}voice, threads: {threads}")
            if (voice := await rig.voice_alone(threads, size.window_s)) is not None:
                tts[threads].append(voice)
            await look()
        for threads in counts if rig.model is not None else ():
            progress(f"{where}language model, threads: {threads}")
            if (model := await rig.model_alone(threads, size.window_s)) is not None:
                llm[threads].append(model)
            await look()
        for threads in voices if rig.model is not None else ():
            progress(f"{where}voice and language model, threads of the voice: {threads}")
            pairs[threads].append(await rig.together(threads, size.window_s))
            await look()
    measured = Measurements(
        llm=tuple(_middle_model(found) for found in llm.values()),
        tts=tuple(_middle_voice(found) for found in tts.values()),
        asr_real_time_factor=_middle(asr),
        pairs=tuple(_middle_pair(found) for found in pairs.values()),
    )
    progress("everything at once")
    plan = find_plan(measured)
    everything = await rig.together(plan.tts or 1, size.window_s, as_plan(plan))
    await look()
    return measured.model_copy(update={"everything": everything})


def thread_counts(most: int) -> tuple[int, ...]:
    """Return how many threads are tried: each number up to four, then every other one, and the most in any case."""
    steps = {*range(1, min(most, _EACH_UP_TO) + 1), *range(_EACH_UP_TO, most + 1, 2), most}
    return tuple(sorted(steps))


def keep(state: Path, tuned: Tuned) -> tuple[Path, str]:
    """Store what was found; return the file, and why it was not stored, or nothing. Blocking.

    Figures that are not to be trusted do not take the place of good ones.

    Raises:
        StoreError: The disk says no.
    """
    path = tune_file(state)
    if tuned.tainted:
        try:
            is_kept = read_usable(path, tuned.board) is not None
        except StoredTuneError:
            is_kept = False
        if is_kept:
            return path, "the figures of before stay, since these are not to be trusted"
    store_tuned(path, tuned)
    return path, ""


def _middle(found: Sequence[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return statistics.median(known) if known else None


def _middle_model(found: Sequence[LlmSpeed]) -> LlmSpeed:
    return LlmSpeed(
        threads=found[0].threads,
        prefill_tokens_per_s=statistics.median(speed.prefill_tokens_per_s for speed in found),
        decode_tokens_per_s=statistics.median(speed.decode_tokens_per_s for speed in found),
    )


def _middle_voice(found: Sequence[VoiceSpeed]) -> VoiceSpeed:
    return VoiceSpeed(
        threads=found[0].threads, real_time_factor=statistics.median(speed.real_time_factor for speed in found)
    )


def _middle_pair(found: Sequence[Together]) -> Together:
    return found[0].model_copy(
        update={
            "tts_real_time_factor": _middle([pair.tts_real_time_factor for pair in found]),
            "decode_tokens_per_s": _middle([pair.decode_tokens_per_s for pair in found]),
        }
    )


def as_plan(plan: Plan) -> ThreadPlan:
    """Return the plan as the ledger's arithmetic takes it."""
    return ThreadPlan(plan.llm, plan.tts, plan.tts_beside)
