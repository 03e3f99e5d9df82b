"""Turns that a language model or an intent answers: how soon, against the floor, and without each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.bench.conversation_floor import Floor, floor_of
from edge_agent.bench.conversation_rig import Exchange, changed, is_intent_turn, is_model_turn, open_rig
from edge_agent.bench.result import Bar, Reference, Row, at_most, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.bench.conversation_rig import Rig
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.config.schema import Config

_ATTEMPTS = 2
"""Times as many questions as turns are wanted: some are not understood, or cut at a pause."""
_FLOOR = "the floor: each engine alone, one after the other, on the same turns"
_SPEED = 4.0
"""Of the speaker, where one feature is left out after the other: what is measured is over with the first sample."""
_NOT_DRAWN = frozenset({"llm", "speculation"})
"""Marks that say again what others say."""
_FIRST_AUDIO = "From the true end of speech to the first sample (ms)"


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking.

    Attributes:
        exchanges: Those that count.
        left_out: Utterances that were not understood, or cut in two, or answered otherwise.
    """

    exchanges: list[Exchange]
    left_out: int


async def take(
    rig: Rig, clips: Sequence[Clip], turns: int, counts: Callable[[Exchange | None], bool], progress: Progress
) -> Taken:
    """Ask `clips` in turn until `turns` of them count, twice as often at most. The agent has its idle time in between.

    Raises:
        EngineError: Something failed.
    """
    taken = Taken([], 0)
    left_out = 0
    for number in range(_ATTEMPTS * turns):
        progress(f"turn {len(taken.exchanges) + 1}/{turns}")
        exchange = await rig.ask(clips[number % len(clips)])
        if exchange is not None and counts(exchange):
            taken.exchanges.append(exchange)
        else:
            left_out += 1
        if len(taken.exchanges) == turns:
            break
        await rig.idle()
    return Taken(taken.exchanges, left_out)


async def measure_model_turns(
    findings: Findings, config: Config, clips: Sequence[Clip], turns: int, progress: Progress
) -> list[Exchange]:
    """Add `llm.*` and return the turns.

    Raises:
        EdgeAgentError: An engine is missing or failed.
    """
    progress("language model turns: loading")
    async with open_rig(config) as rig:
        taken = await take(rig, clips, turns, is_model_turn, lambda text: progress(f"language model, {text}"))
        floors = []
        for number, exchange in enumerate(taken.exchanges, 1):
            progress(f"the floor, turn {number}/{len(taken.exchanges)}")
            floors.append(await floor_of(rig, exchange))
    report_model_turns(findings, taken, floors)
    return taken.exchanges


async def measure_intent_turns(
    findings: Findings, config: Config, clips: Sequence[Clip], turns: int, progress: Progress
) -> list[Exchange]:
    """Add `intent.*` and return the turns.

    Raises:
        EdgeAgentError: An engine is missing or failed.
    """
    progress("intent turns: loading")
    async with open_rig(config) as rig:
        taken = await take(rig, clips, turns, is_intent_turn, lambda text: progress(f"intents, {text}"))
    exchanges = taken.exchanges
    findings.add_percentiles("intent.first_audio", first_audio_ms(exchanges), "ms", shares=(50, 95))
    after_ms = [1000 * (exchange.after_endpoint_s or 0.0) for exchange in exchanges]
    findings.add_percentiles("intent.after_endpoint", after_ms, "ms", shares=(50, 95), goals={95: at_most(100)})
    silences_ms = [exchange.report.endpoint.silence_s * 1000 for exchange in exchanges if exchange.report.endpoint]
    findings.add_percentiles("intent.endpoint_silence", silences_ms, "ms", shares=(50, 95))
    findings.add("intent.turns_left_out", taken.left_out, "turns", samples=taken.left_out + len(exchanges))
    findings.distributions["Intents: from the endpoint to the first sample (ms)"] = {"intents": after_ms}
    findings.distributions[_FIRST_AUDIO] = {
        **findings.distributions.get(_FIRST_AUDIO, {}),
        "intents": first_audio_ms(exchanges),
    }
    return exchanges


def report_model_turns(findings: Findings, taken: Taken, floors: Sequence[Floor]) -> None:
    """Add what was measured of turns and their floors."""
    exchanges = taken.exchanges
    measured_ms = first_audio_ms(exchanges)
    floors_ms = [1000 * floor.whole_s for floor in floors]
    ratios = [measured / floor for measured, floor in zip(measured_ms, floors_ms, strict=True)]
    for share, goal in ((50, 1.0), (95, 1.2)):
        findings.add(
            f"llm.vs_floor_p{share}",
            percentile(ratios, share) if ratios else None,
            "ratio",
            goal=at_most(goal),
            reference=Reference(_FLOOR, percentile(floors_ms, share), "ms") if floors_ms else None,
            samples=len(ratios),
        )
    findings.add_percentiles("llm.first_audio", measured_ms, "ms", shares=(50, 95))
    after_ms = [1000 * (exchange.after_endpoint_s or 0.0) for exchange in exchanges]
    findings.add_percentiles("llm.after_endpoint", after_ms, "ms", shares=(50, 95))
    for part in ("silence", "asr", "prefill", "decode", "tts"):
        values_ms = [1000 * float(getattr(floor, f"{part}_s")) for floor in floors]
        findings.add_percentiles(f"llm.floor_{part}", values_ms, "ms", shares=(50,))
    tokens = [float(floor.new_tokens) for floor in floors]
    findings.add("llm.new_tokens_p50", percentile(tokens, 50) if tokens else None, "tokens", samples=len(tokens))
    findings.add_percentiles("llm.vad_tail", [_vad_tail_ms(exchange) for exchange in exchanges], "ms", shares=(50,))
    kept = sum(_kept_speculation(exchange) for exchange in exchanges)
    findings.add("llm.speculation_kept", kept / len(exchanges) if exchanges else None, "ratio", samples=len(exchanges))
    findings.add("llm.turns_left_out", taken.left_out, "turns", samples=taken.left_out + len(exchanges))
    findings.distributions[_FIRST_AUDIO] = {"language model": measured_ms, "its floor": floors_ms}


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that can be switched off."""

    name: str
    config: Config


def model_features(config: Config, cores: int) -> list[Feature]:
    """Return the configurations in which one feature of language model turns is off.

    Without the ledger each engine has as many threads as the machine has cores, and none waits for another.
    """
    piper = config.tts.piper.model_copy(update={"threads": cores})
    loose = changed(
        config, cores={"compute": 2 * cores + 1, "reserve": 0}, llm={"threads": cores}, tts={"piper": piper}
    )
    return [
        Feature("no_warm_prefix", changed(config, llm={"keep_prefix": False})),
        Feature("no_speculation", changed(config, llm={"speculate": False})),
        Feature("no_ledger", loose),
        Feature("fixed_endpoint", changed(config, endpoint={"adaptive": False})),
    ]


def intent_features(config: Config) -> list[Feature]:
    """Return the configurations in which one feature of intent turns is off."""
    return [
        Feature("no_cache", changed(config, phrases={"memory_mib": 0.0, "disk_mib": 0.0})),
        Feature("fixed_endpoint", changed(config, endpoint={"adaptive": False})),
    ]


@dataclass(frozen=True, slots=True)
class Compared:
    """Turns with everything on, and the features without which the same is asked again.

    Attributes:
        kind: `llm` or `intent`.
        counts: Whether a turn is of that kind.
    """

    kind: str
    features: Sequence[Feature]
    with_all: Sequence[Exchange]
    counts: Callable[[Exchange | None], bool]


async def measure_features(findings: Findings, compared: Compared, progress: Progress) -> None:
    """Add `features.KIND_*`: the same questions in the same order, without each feature.

    Raises:
        EdgeAgentError: An engine is missing or failed.
    """
    kind, with_all = compared.kind, compared.with_all
    if not compared.features:
        return
    findings.add_percentiles(f"features.{kind}_all_on", first_audio_ms(with_all), "ms", shares=(50, 95))
    lines: dict[str, Sequence[float]] = {"all on": first_audio_ms(with_all)}
    for feature in compared.features:
        progress(f"{kind} {feature.name}: loading")
        exchanges: list[Exchange] = []
        async with open_rig(feature.config, speed=_SPEED) as rig:
            for number, exchange in enumerate(with_all, 1):
                progress(f"{kind} {feature.name}, turn {number}/{len(with_all)}")
                again = await rig.ask(exchange.clip)
                if again is not None and compared.counts(again):
                    exchanges.append(again)
                await rig.idle()
        _report_feature(findings, f"features.{kind}_{feature.name}", with_all, exchanges)
        lines[feature.name.replace("_", " ")] = first_audio_ms(exchanges)
    findings.distributions[f"{kind}: without each feature, to the first sample (ms)"] = lines


def _report_feature(findings: Findings, name: str, with_all: Sequence[Exchange], exchanges: Sequence[Exchange]) -> None:
    """Compare turns with those of the same questions."""
    asked = {exchange.clip.name for exchange in exchanges}
    same_ms = first_audio_ms([exchange for exchange in with_all if exchange.clip.name in asked])
    values_ms = first_audio_ms(exchanges)
    for share in (50, 95):
        value = percentile(values_ms, share) if values_ms else None
        base = percentile(same_ms, share) if same_ms else None
        reference = None if base is None else Reference("the same questions with everything on", base, "ms")
        findings.add(f"{name}_p{share}_ms", value, "ms", reference=reference, samples=len(values_ms))
        added = None if value is None or base is None else value - base
        findings.add(f"{name}_adds_p{share}_ms", added, "ms", samples=len(values_ms))


def first_audio_ms(exchanges: Sequence[Exchange]) -> list[float]:
    """Return what each took from the true end of speech to the first sample."""
    return [1000 * exchange.first_audio_s for exchange in exchanges if exchange.first_audio_s is not None]


def _vad_tail_ms(exchange: Exchange) -> float:
    """Return how long after the true end of speech the voice activity detector took something for speech."""
    endpoint = exchange.report.endpoint
    silence_s = 0.0 if endpoint is None else endpoint.silence_s
    return 1000 * (exchange.decided_at - silence_s - exchange.speech.ends_at)


def _kept_speculation(exchange: Exchange) -> bool:
    return any(mark.stage == "speculation" and mark.detail == "kept" for mark in exchange.report.timeline.marks)


def waterfall(exchanges: Sequence[Exchange]) -> list[Row]:
    """Return what happened in each turn, and when, from the true end of speech."""
    return [Row(exchange.report.heard or "", tuple(_bars(exchange))) for exchange in exchanges]


def _bars(exchange: Exchange) -> Iterator[Bar]:
    marks = exchange.report.timeline.marks
    endpoint_s = next((mark.at_s for mark in marks if mark.stage == "endpoint"), None)
    if endpoint_s is None:
        return
    # The report counts from the turn's first sample; when that was is known by the endpoint, which both have.
    first_at = exchange.decided_at - endpoint_s - exchange.speech.ends_at
    for mark in marks:
        if mark.stage not in _NOT_DRAWN:
            until_s = mark.at_s if mark.until_s is None else mark.until_s
            yield Bar(mark.stage, (first_at + mark.at_s) * 1000, (first_at + until_s) * 1000)
    if exchange.first_audio_s is not None:
        yield Bar("first sample", exchange.first_audio_s * 1000, exchange.first_audio_s * 1000)
