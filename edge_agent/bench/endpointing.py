"""When an utterance ends: too early, and how late, over recorded speech; adaptive against fixed silences."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.bench.endpoint_play import Case, Previews, play
from edge_agent.bench.pause_speech import read_clip, with_noise, with_pause
from edge_agent.bench.result import Reference, percentile
from edge_agent.engines.webrtc import WebRtcVad
from edge_agent.errors import AudioFileError
from edge_agent.events import EndpointReason
from edge_agent.hear.noise import NoiseAwareVad
from edge_agent.hear.pauses import PauseLearner
from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_agent.bench.endpoint_play import Judge, Outcome
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.config.schema import Config
    from edge_agent.events import Completeness, Transcript
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.reason.templates import IntentSet

HANG_OVERS_S = (0.3, 0.45, 0.6, 0.8, 1.0)
_REFERENCE_S = 0.6
"""The fixed silence that all results are compared with."""
_PAUSES_S = (0.25, 0.9)
_MOST_ORDERS = 40
"""Of the coffee orders, evenly chosen: with all hundred a run takes a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What is done to a recording."""

    name: str
    pause: bool
    snr_db: float | None


CONDITIONS = (
    Condition("clean", pause=False, snr_db=None),
    Condition("clean_pause", pause=True, snr_db=None),
    Condition("20db", pause=False, snr_db=20),
    Condition("20db_pause", pause=True, snr_db=20),
    Condition("10db", pause=False, snr_db=10),
    Condition("10db_pause", pause=True, snr_db=10),
)
_FEW = CONDITIONS[:2]


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings of people who talk to the same agent.

    Attributes:
        names: Files below the directory of speech.
        intents: What they may ask for; the recognizer listens for these sentences. In read/ nobody says one of them.
    """

    name: str
    names: tuple[str, ...]
    intents: IntentSet


async def measure(
    findings: Findings,
    speech: Path,
    config: Config,
    progress: Progress,
    *,
    few: bool = False,
    intents: Sequence[Path] = (),
) -> None:
    """Add `endpoint.*`: cut-off rates and delays, adaptive and fixed.

    `speech` is a directory with home/, read/ and coffee/, as far as they exist; the orders in coffee/ are left out
    unless `intents` has files for them. `few` is three recordings under two conditions: enough to see that it works.

    Raises:
        AudioFileError: A recording can't be used.
        EdgeAgentError: The recognizer or its model is missing, or an intents file is wrong.
    """
    from edge_agent.app.build import build_recognizer
    from edge_agent.app.places import find_places

    pool = Pool("bench", most_workers=1, replaces_stuck=False)
    recognizer: SpeechRecognizer | None = None
    try:
        groups = await pool.run(lambda: _groups(speech, config, intents, few=few))
        if not any(group.name == "coffee" for group in groups):
            findings.notes.append("endpoint: no coffee orders were played; name an intents file for them")
        recognizer = await pool.run(lambda: build_recognizer(config, find_places(config.directories)))
        await measure_groups(
            findings,
            progress,
            groups,
            config=config,
            speech=speech,
            pool=pool,
            recognizer=recognizer,
            conditions=_FEW if few else CONDITIONS,
            judge=judge_of,
        )
    finally:
        if recognizer is not None:
            await pool.run(recognizer.close)
        await pool.close()


def judge_of(intents: IntentSet) -> Judge:
    """Return what judges the words before a pause, as the agent does."""
    from edge_agent.reason.completeness import CompletenessJudge
    from edge_agent.reason.matcher import IntentMatcher

    matcher = IntentMatcher(intents.intents, intents.language)
    judge = CompletenessJudge(intents.intents, intents.language, matcher.automaton)

    def judged(transcript: Transcript) -> tuple[Completeness, bool]:
        readings = [transcript.text, *transcript.alternatives] if transcript.text else []
        return judge.judge(transcript), matcher.match(readings, forgiving=False) is not None

    return judged


async def measure_groups(
    findings: Findings,
    progress: Progress,
    groups: Sequence[Group],
    *,
    config: Config,
    speech: Path,
    pool: Pool,
    recognizer: SpeechRecognizer,
    conditions: Sequence[Condition],
    judge: Callable[[IntentSet], Judge],
) -> None:
    """Play all recordings of `groups` under `conditions` and add what came of it."""
    from edge_agent.reason.sampling import sample_grammar

    adaptive: dict[str, list[Outcome]] = {condition.name: [] for condition in conditions}
    fixed: dict[float, dict[str, list[Outcome]]] = {
        hang_over_s: {condition.name: [] for condition in conditions} for hang_over_s in HANG_OVERS_S
    }
    took_ms: list[float] = []
    verdicts: Counter[Completeness] = Counter()
    for group in groups:
        progress(f"endpointing: {group.name}, loading")
        grammar = await pool.run(partial(sample_grammar, group.intents.intents, group.intents.language))
        await pool.run(partial(recognizer.load, grammar), stop=recognizer.stop)
        previews = Previews(recognizer, await pool.run(partial(judge, group.intents)))
        clips = [await pool.run(partial(read_clip, speech, name)) for name in group.names]
        # Learned within one noise, of speakers who pause and speakers who don't: nobody says before which they are.
        learners = {condition.snr_db: PauseLearner(config.endpoint) for condition in conditions}
        for number, clip in enumerate(clips, 1):
            for condition in conditions:
                progress(f"endpointing: {group.name} {number}/{len(clips)}, {condition.name}")
                case = await pool.run(partial(prepared, clip, condition, config.vad.aggressiveness))
                pauses = learners[condition.snr_db]
                ended = await pool.run(partial(play, case, config.endpoint, pauses, previews), stop=recognizer.stop)
                adaptive[condition.name].append(ended)
                for hang_over_s, outcomes in fixed.items():
                    settings = config.endpoint.model_copy(update={"hang_over_s": hang_over_s, "adaptive": False})
                    outcomes[condition.name].append(await pool.run(partial(play, case, settings, None, None)))
        took_ms += previews.took_ms
        verdicts.update(previews.verdicts)
    _report(findings, adaptive, fixed)
    findings.add_percentiles("endpoint.preview", took_ms, "ms", shares=(50, 95))
    findings.notes.append(_verdicts(verdicts, [outcome for outcomes in adaptive.values() for outcome in outcomes]))


def prepared(clip: Clip, condition: Condition, aggressiveness: int) -> Case:
    """Put pause and noise into `clip`, the same ones every time, and have the voice activity detector hear it."""
    # One stream for the pause and one for the noise, so that a clip has the same pause under every noise.
    seed = zlib.crc32(clip.name.encode())
    rng = np.random.default_rng((seed, 1))
    if condition.pause:
        clip = with_pause(clip, rng.uniform(*_PAUSES_S), rng)
    if condition.snr_db is not None:
        clip = with_noise(clip, condition.snr_db, np.random.default_rng((seed, 2)), pink=seed % 2 == 0)
    vad = NoiseAwareVad(WebRtcVad(aggressiveness))
    frames = clip.frames()
    return Case(
        clip.name,
        frames,
        tuple(vad.is_speech(frame) for frame in frames),
        clip.begins_s,
        clip.ends_s,
    )


def _groups(speech: Path, config: Config, intents: Sequence[Path], *, few: bool) -> list[Group]:
    from edge_agent.reason.templates import load_intents

    home = load_intents("en", builtin=True, paths=config.intents.paths, outputs={"lamp": ()})
    names = (*_names(speech, "home", 1 if few else None), *_names(speech, "read", 0 if few else None))
    groups = [Group("home", names, home)]
    if intents:
        orders = load_intents("en", builtin=False, paths=intents, outputs={})
        groups.append(Group("coffee", _names(speech, "coffee", 2 if few else _MOST_ORDERS), orders))
    found = [group for group in groups if group.names]
    if not found:
        raise AudioFileError(speech, "has no recordings in home, read or coffee; name a directory that has")
    return found


def _names(speech: Path, folder: str, most: int | None) -> tuple[str, ...]:
    """Return up to `most` recordings, evenly chosen."""
    names = sorted(f"{folder}/{path.name}" for path in (speech / folder).glob("*.wav"))
    if most is None or most >= len(names):
        return tuple(names)
    return tuple(names[count * len(names) // most] for count in range(most))


@dataclass(frozen=True, slots=True)
class Summary:
    """Cut-offs and delays of some outcomes; delays are those of utterances that were not cut off."""

    cut_off_rate: float
    p50_ms: float
    p95_ms: float
    utterances: int

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Summary:
        """Sum up at least one outcome."""
        delays_ms = [outcome.delay_s * 1000 for outcome in outcomes if not outcome.is_cut_off]
        return cls(
            sum(outcome.is_cut_off for outcome in outcomes) / len(outcomes),
            percentile(delays_ms, 50) if delays_ms else float("nan"),
            percentile(delays_ms, 95) if delays_ms else float("nan"),
            len(outcomes),
        )


def _report(
    findings: Findings,
    adaptive: Mapping[str, Sequence[Outcome]],
    fixed: Mapping[float, Mapping[str, Sequence[Outcome]]],
) -> None:
    reference = fixed[_REFERENCE_S]
    _add(findings, "endpoint", Summary.of(_all(adaptive)), Summary.of(_all(reference)))
    for condition in adaptive:
        summary, compared = Summary.of(adaptive[condition]), Summary.of(reference[condition])
        _add(findings, f"endpoint.{condition}", summary, compared)
    for hang_over_s, outcomes in fixed.items():
        _add(findings, f"endpoint.fixed_{hang_over_s * 1000:.0f}ms", Summary.of(_all(outcomes)), None)
    ours = Summary.of(_all(adaptive))
    curve = [(hang_over_s, Summary.of(_all(outcomes))) for hang_over_s, outcomes in fixed.items()]
    if (equal := as_careful(ours.cut_off_rate, curve)) is not None:
        hang_over_s, p50_ms, p95_ms = equal
        what = f"a fixed silence of {hang_over_s:.2f} s, which cuts off as many; interpolated"
        for share, value, fixed_ms in ((50, ours.p50_ms, p50_ms), (95, ours.p95_ms, p95_ms)):
            name = f"endpoint.added_delay_at_equal_cut_offs_p{share}_ms"
            findings.add(name, value, "ms", reference=Reference(what, fixed_ms, "ms"), samples=ours.utterances)
    findings.distributions["Endpoint after the true end of speech (ms)"] = {
        "adaptive": _delays_ms(adaptive),
        **{f"fixed {hang_over_s:g} s": _delays_ms(outcomes) for hang_over_s, outcomes in fixed.items()},
    }


def as_careful(cut_off_rate: float, curve: Sequence[tuple[float, Summary]]) -> tuple[float, float, float] | None:
    """Return silence in seconds, p50 and p95 in ms of a fixed silence with that cut-off rate, interpolated linearly.

    None where the rate lies outside `curve`, which holds fixed silences and what came of them, shortest first.
    """
    for (shorter_s, shorter), (longer_s, longer) in itertools.pairwise(curve):
        if longer.cut_off_rate <= cut_off_rate <= shorter.cut_off_rate and longer.cut_off_rate < shorter.cut_off_rate:
            share = (shorter.cut_off_rate - cut_off_rate) / (shorter.cut_off_rate - longer.cut_off_rate)
            return (
                shorter_s + share * (longer_s - shorter_s),
                shorter.p50_ms + share * (longer.p50_ms - shorter.p50_ms),
                shorter.p95_ms + share * (longer.p95_ms - shorter.p95_ms),
            )
    return None


def _add(findings: Findings, name: str, summary: Summary, compared: Summary | None) -> None:
    for key, unit in (("cut_off_rate", "ratio"), ("p50_ms", "ms"), ("p95_ms", "ms")):
        reference = None
        if compared is not None:
            what = f"fixed silence of {_REFERENCE_S:g} s, same recordings"
            reference = Reference(what, getattr(compared, key), unit)
        result = key if key == "cut_off_rate" else f"added_delay_{key}"
        findings.add(f"{name}.{result}", getattr(summary, key), unit, reference=reference, samples=summary.utterances)


def _all(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Outcome]:
    return [outcome for some in outcomes.values() for outcome in some]


def _delays_ms(outcomes: Mapping[str, Sequence[Outcome]]) -> list[float]:
    return [outcome.delay_s * 1000 for outcome in _all(outcomes) if not outcome.is_cut_off]


def _verdicts(verdicts: Mapping[Completeness, int], outcomes: Sequence[Outcome]) -> str:
    counts = ", ".join(f"{count} {verdict.value}" for verdict, count in sorted(verdicts.items()))
    early = [outcome for outcome in outcomes if _reason(outcome) is EndpointReason.GRAMMAR_COMPLETE]
    wrong = sum(outcome.is_cut_off for outcome in early)
    never = sum(not outcome.ended for outcome in outcomes)
    return (
        f"endpoint: judged in pauses: {counts or 'none'}; {len(early)} of {len(outcomes)} utterances ended as a "
        f"complete command, {wrong} of them too early; {never} had not ended 3 s after the recording"
    )


def _reason(outcome: Outcome) -> EndpointReason | None:
    return None if outcome.endpoint is None else outcome.endpoint.reason
