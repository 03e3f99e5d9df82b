"""The benchmark of endpointing: what it counts as cut off and late, on the audio's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubles import ScriptedRecognizer

from edge_agent.audio import FRAME_BYTES, FRAME_S, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.bench import endpointing
from edge_agent.bench.endpoint_play import Case, Outcome, Previews, play
from edge_agent.bench.endpointing import CONDITIONS, HANG_OVERS_S, Summary, as_careful, measure, prepared
from edge_agent.bench.pause_speech import read_clip
from edge_agent.bench.result import Findings
from edge_agent.config.audio import EndpointConfig
from edge_agent.config.schema import Config
from edge_agent.errors import AudioFileError
from edge_agent.events import Completeness, EndpointReason, Transcript
from edge_agent.hear.endpoint import PAUSE_S
from edge_agent.hear.pauses import PauseLearner

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = EndpointConfig(hang_over_s=0.6, complete_s=0.3, unfinished_s=1.2)


def case(diagram: str, ends: int) -> Case:
    """Return a case from a diagram, # for speech, whose speech begins at frame 0 and truly ends before frame `ends`."""
    frame = AudioChunk(bytes(FRAME_BYTES), HEAR_RATE_HZ)
    return Case("made", (frame,) * len(diagram), tuple(mark == "#" for mark in diagram), 0.0, ends * 0.02)


class Ticks:
    """A clock on which every second look is `step_s` later: what is timed takes that long."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self._now_s += self._step_s
        return self._now_s


def previews(verdict: Completeness, took_s: float, count: int = 1) -> Previews:
    """Return previews that all say the same, and take that long."""
    recognizer = ScriptedRecognizer(*[Transcript("lights on")] * count)
    return Previews(recognizer, lambda _transcript: (verdict, False), clock=Ticks(took_s))


def told(_text: str) -> None:
    """Nobody looks at the progress."""


def test_the_delay_counts_from_the_true_end() -> None:
    """30 frames of silence after the detector's last speech, which lagged behind the true end by five."""
    outcome = play(case("#" * 55 + "." * 60, ends=50), CONFIG, None, None)
    assert outcome.ended
    assert not outcome.is_cut_off
    assert outcome.delay_s == pytest.approx(0.7)


def test_an_endpoint_within_the_sentence_is_a_cut_off() -> None:
    """The first one counts, however well the rest went."""
    outcome = play(case("#" * 50 + "." * 35 + "#" * 50 + "." * 60, ends=135), CONFIG, None, None)
    assert outcome.is_cut_off
    assert outcome.decided_s == pytest.approx(1.6)


def test_an_utterance_that_never_ends_is_late_by_all_there_is() -> None:
    """It is no missing value: whoever leaves those out looks faster the more of them there are."""
    outcome = play(case("#" * 80, ends=50), CONFIG, None, None)
    assert not outcome.ended
    assert outcome.delay_s == pytest.approx(0.6)


def test_an_endpoint_before_anybody_speaks_is_neither() -> None:
    """A noise in the lead-in, ended on its own."""
    noisy = case("#" * 20 + "." * 60 + "#" * 50 + "." * 60, ends=130)
    outcome = play(Case("made", noisy.frames, noisy.is_speech, 1.5, noisy.ends_s), CONFIG, None, None)
    assert outcome.delay_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("took_s", "delay_s"),
    [(0.05, 0.3), (0.2, PAUSE_S + 0.22), (0.3, PAUSE_S + 0.32), (0.9, 0.6)],
)
def test_a_verdict_comes_as_late_as_its_preview(took_s: float, delay_s: float) -> None:
    """Complete, asked for at 0.12 s of silence: ends at 0.3 s or once that is known, not after the learned 0.6 s."""
    outcome = play(case("#" * 50 + "." * 60, ends=50), CONFIG, None, previews(Completeness.COMPLETE, took_s))
    assert outcome.delay_s == pytest.approx(delay_s, abs=FRAME_S + 1e-9)
    assert outcome.endpoint is not None
    complete = delay_s < 0.6
    assert outcome.endpoint.reason is (EndpointReason.GRAMMAR_COMPLETE if complete else EndpointReason.SILENCE)


def test_a_verdict_on_a_pause_that_is_over_is_dropped() -> None:
    """The preview took longer than the pause; the next pause gets one of its own."""
    looks = previews(Completeness.COMPLETE, 0.3, count=2)
    outcome = play(case("#" * 50 + "." * 12 + "#" * 50 + "." * 60, ends=112), CONFIG, None, looks)
    assert outcome.delay_s == pytest.approx(PAUSE_S + 0.32)
    assert looks.verdicts == {Completeness.COMPLETE: 2}
    assert looks.took_ms == pytest.approx([300, 300])


def test_the_recognizer_hears_all_of_an_utterance_once() -> None:
    """What came before a preview and what came between two, without gap or overlap."""
    recognizer = ScriptedRecognizer(Transcript("lights on"))
    looks = Previews(recognizer, lambda _transcript: (Completeness.UNFINISHED, False), clock=Ticks(0.01))
    play(case("#" * 50 + "." * 20 + "#" * 50 + "." * 70, ends=120), CONFIG, None, looks)
    assert recognizer.samples == [(50 + 20 + 50 + round(PAUSE_S / FRAME_S)) * FRAME_SAMPLES]
    assert recognizer.previews == 2


def test_what_is_said_after_an_endpoint_teaches() -> None:
    """Ended after 0.6 s, gone on 0.2 s later (and found out an onset later): the next pause of 0.75 s is none."""
    learner = PauseLearner(CONFIG)
    halting = case("#" * 50 + "." * 40 + "#" * 50 + "." * 60, ends=140)
    assert play(halting, CONFIG, learner, None).is_cut_off
    assert learner.silence_s > 0.8
    assert not play(halting, CONFIG, learner, None).is_cut_off


def test_a_summary_leaves_cut_off_utterances_out_of_the_delays() -> None:
    """They have none."""
    heard = case("", ends=100)
    outcomes = [Outcome(heard, at_s, ended=True, endpoint=None) for at_s in (1.0, 2.5, 2.6, 2.7)]
    summary = Summary.of(outcomes)
    assert (summary.cut_off_rate, summary.utterances) == (0.25, 4)
    assert summary.p50_ms == pytest.approx(600)
    assert summary.p95_ms == pytest.approx(700)


def test_a_fixed_silence_as_careful_is_interpolated() -> None:
    """Half way between the rates is half way between the silences and delays; outside the curve there is none."""
    curve = [(0.3, Summary(0.5, 400, 500, 10)), (0.6, Summary(0.3, 700, 900, 10)), (1.0, Summary(0.1, 1100, 1300, 10))]
    assert as_careful(0.2, curve) == pytest.approx((0.8, 900, 1100))
    assert as_careful(0.5, curve) == pytest.approx((0.3, 400, 500))
    assert as_careful(0.05, curve) is None
    assert as_careful(0.6, curve) is None


def test_pause_and_noise_are_the_same_every_time(speech_dir: Path) -> None:
    """A clip has its own pause, under every noise; frames and judgements are as many."""
    clip = read_clip(speech_dir, "home/set_timer.wav")
    by_name = {condition.name: prepared(clip, condition, 2) for condition in CONDITIONS}
    assert by_name["10db_pause"].frames == prepared(clip, CONDITIONS[-1], 2).frames
    assert by_name["clean_pause"].ends_s == by_name["10db_pause"].ends_s > by_name["clean"].ends_s
    for made in by_name.values():
        assert len(made.frames) == len(made.is_speech)


@pytest.mark.slow
async def test_adaptive_and_fixed_are_compared_on_real_speech(speech_dir: Path, tmp_path: Path) -> None:
    """Every name that others read is there, with its reference, and made of as many utterances as were played."""
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    config = Config.model_validate(
        {"directories": {name: str(tmp_path / name) for name in ("models", "cache", "state")}}
    )
    findings = Findings()
    await measure(findings, speech_dir, config, told, few=True)
    results = {result.name: result for result in findings.results}
    for name in ("endpoint.cut_off_rate", "endpoint.added_delay_p50_ms", "endpoint.added_delay_p95_ms"):
        assert results[name].samples == 2
        reference = results[name].reference
        assert reference is not None
        assert reference.value == results[name.replace("endpoint", "endpoint.fixed_600ms", 1)].value
    assert {f"endpoint.fixed_{round(s * 1000)}ms.cut_off_rate" for s in HANG_OVERS_S} < set(results)
    assert results["endpoint.preview_p50_ms"].samples >= 2
    assert any("intents file" in note for note in findings.notes)
    assert any("complete command" in note for note in findings.notes)


async def test_a_directory_without_speech_is_refused(tmp_path: Path) -> None:
    """Before any engine is started."""
    with pytest.raises(AudioFileError, match="no recordings in home, read or coffee"):
        await measure(Findings(), tmp_path, Config(), told, few=True)


def test_recordings_are_chosen_evenly(tmp_path: Path) -> None:
    """The first and every so many, the same ones every time."""
    (tmp_path / "home").mkdir()
    for number in range(10):
        (tmp_path / "home" / f"{number}.wav").touch()
    assert endpointing._names(tmp_path, "home", 3) == ("home/0.wav", "home/3.wav", "home/6.wav")
    assert len(endpointing._names(tmp_path, "home", None)) == 10
    assert endpointing._names(tmp_path, "read", 3) == ()
