"""What is learned of a speaker's pauses, and how soon it is forgotten."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.audio import EndpointConfig
from edge_agent.hear.pauses import PauseLearner

CONFIG = EndpointConfig(hang_over_s=0.6, shortest_s=0.45, longest_s=1.0)
LONG_S = 3.0


def hear(learner: PauseLearner, *pauses_s: float, end_s: float = 0.6) -> None:
    """Have one utterance of three seconds heard, with pauses in it."""
    for pause_s in pauses_s:
        learner.pause(pause_s)
    learner.utterance_ended(LONG_S, end_s)


def test_it_starts_at_the_hang_over() -> None:
    """Nothing learned: the configured silence."""
    assert PauseLearner(CONFIG).silence_s == 0.6


def test_who_does_not_pause_is_waited_for_less() -> None:
    """Each utterance without a pause shortens the silence a little, never below the bound."""
    learner = PauseLearner(CONFIG)
    silences_s = []
    for _ in range(40):
        hear(learner)
        silences_s.append(learner.silence_s)
    assert silences_s == sorted(silences_s, reverse=True)
    assert 0.55 < silences_s[0] < 0.6
    assert 0.45 <= silences_s[-1] < 0.5


def test_a_pause_lengthens_the_silence_at_once() -> None:
    """A pause of 0.55 s within the utterance that runs counts for its own end."""
    learner = PauseLearner(CONFIG)
    learner.pause(0.55)
    assert 0.65 < learner.silence_s <= 0.7


def test_a_short_pause_does_not_shorten_the_wait_for_its_own_sentence() -> None:
    """It counts once the utterance is over."""
    learner = PauseLearner(CONFIG)
    learner.pause(0.2)
    assert learner.silence_s == 0.6
    learner.utterance_ended(LONG_S, 0.6)
    assert learner.silence_s < 0.6


def test_a_false_end_counts_as_the_whole_pause() -> None:
    """Ended after 0.6 s, gone on 0.2 s later: a pause of 0.8 s, which the next silence covers."""
    learner = PauseLearner(CONFIG)
    hear(learner, end_s=0.6)
    learner.false_end(0.2)
    assert learner.silence_s > 0.8
    once = learner.silence_s
    learner.false_end(0.9)
    assert learner.silence_s == once, "one endpoint is one mistake"


def test_a_false_end_before_any_endpoint_changes_nothing() -> None:
    """As after a restart."""
    learner = PauseLearner(CONFIG)
    learner.false_end(0.5)
    assert learner.silence_s == 0.6
    assert learner.state() == {"open": [], "sentence": []}


def test_one_distraction_is_soon_forgotten() -> None:
    """One pause of 0.9 s among utterances without any is an outlier ten utterances later."""
    learner = PauseLearner(CONFIG)
    for _ in range(20):
        hear(learner)
    hear(learner, 0.9)
    assert learner.silence_s > 0.85
    for _ in range(10):
        hear(learner)
    assert learner.silence_s < 0.5


def test_short_utterances_say_less() -> None:
    """A second of speech without a pause moves the silence less than three seconds do."""
    short, long = PauseLearner(CONFIG), PauseLearner(CONFIG)
    short.utterance_ended(0.5, 0.6)
    long.utterance_ended(3.0, 0.6)
    assert long.silence_s < short.silence_s < 0.6


def test_a_dropped_utterance_takes_its_pauses_along() -> None:
    """What was no utterance teaches nothing."""
    learner = PauseLearner(CONFIG)
    learner.pause(0.9)
    learner.utterance_dropped()
    assert learner.silence_s == 0.6
    assert learner.state() == {"open": [], "sentence": []}


@pytest.mark.parametrize("pause_s", [0.0, 0.8])
def test_a_long_quiet_leads_back_to_the_start(pause_s: float) -> None:
    """Half an hour forgets part of what was learned, a day all of it."""
    learner = PauseLearner(CONFIG)
    for _ in range(20):
        hear(learner, *([pause_s] if pause_s else []))
    away = abs(learner.silence_s - 0.6)
    learner.forget(1800)
    assert 0 < abs(learner.silence_s - 0.6) < away
    learner.forget(86_400)
    assert learner.silence_s == 0.6


def test_a_speaker_with_long_pauses_is_hardly_cut_off_once_known() -> None:
    """Pauses around 0.6 s: of utterances that a fixed 0.6 s cuts off by half, the learned silence cuts few."""
    rng = random.Random(7)
    learner = PauseLearner(CONFIG)
    fixed = learned = 0
    for number in range(200):
        pause_s = min(0.95, max(0.2, rng.gauss(0.6, 0.08)))
        is_known = number >= 20
        fixed += is_known and pause_s >= 0.6
        if pause_s >= learner.silence_s:
            learned += is_known
            end_s = learner.silence_s
            learner.utterance_ended(LONG_S / 2, end_s)
            learner.false_end(pause_s - end_s)
            learner.utterance_ended(LONG_S / 2, 0.6)
        else:
            hear(learner, pause_s)
    assert fixed > 60
    assert learned <= 9


def test_a_false_end_after_a_sentence_counts_there() -> None:
    """And an end after anything else does not take its place."""
    learner = PauseLearner(CONFIG)
    learner.utterance_ended(LONG_S, 0.5, is_sentence=True)
    learner.false_end(0.3)
    assert learner.state() == {"open": [], "sentence": [[1.0, 0.8]]}
    for _ in range(5):
        hear(learner, 0.9)
    assert 0.8 < learner.after_sentence_s <= learner.silence_s


def test_the_state_survives_a_restart() -> None:
    """As JSON, and without loss that matters."""
    learner = PauseLearner(CONFIG)
    for pause_s in (0.3, 0.5, 0.2, 0.4):
        hear(learner, pause_s)
    again = PauseLearner(CONFIG, json.loads(json.dumps(learner.state())))
    assert again.silence_s == pytest.approx(learner.silence_s, abs=0.002)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"open": []},
        {"open": 3, "sentence": []},
        {"open": [[1.0]], "sentence": []},
        {"open": [[2.0, 0.3]], "sentence": []},
        {"open": [], "sentence": [[0.5, float("nan")]]},
    ],
)
def test_what_is_no_state_is_refused(state: dict[str, object]) -> None:
    """It is named, so that whoever keeps it can start anew and say so."""
    with pytest.raises(ValueError, match="no state of a PauseLearner"):
        PauseLearner(CONFIG, state)


def test_a_configured_silence_outside_the_bounds_stretches_them() -> None:
    """Who asks for 1.5 s gets 1.5 s."""
    learner = PauseLearner(EndpointConfig(hang_over_s=1.5))
    assert learner.silence_s == 1.5
    learner.pause(1.4)
    assert learner.silence_s == pytest.approx(1.5)


_steps = st.one_of(
    st.tuples(st.just("pause"), st.floats(0.16, 12)),
    st.tuples(st.just("pause after a sentence"), st.floats(0.16, 12)),
    st.tuples(st.just("ended after a sentence"), st.floats(0.2, 12)),
    st.tuples(st.just("ended"), st.floats(0.2, 12)),
    st.tuples(st.just("dropped"), st.just(0.0)),
    st.tuples(st.just("false_end"), st.floats(0, 1.2)),
    st.tuples(st.just("forget"), st.floats(0, 1e6)),
)


@given(st.lists(_steps, max_size=120))
def test_it_stays_within_its_bounds(steps: list[tuple[str, float]]) -> None:
    """Whatever happens, in whatever order, silence and state are bounded."""
    learner = PauseLearner(CONFIG)
    for name, value_s in steps:
        match name:
            case "pause":
                learner.pause(value_s)
            case "pause after a sentence":
                learner.pause(value_s, is_sentence=True)
            case "ended after a sentence":
                learner.utterance_ended(value_s, learner.after_sentence_s, is_sentence=True)
            case "ended":
                learner.utterance_ended(value_s, learner.silence_s)
            case "dropped":
                learner.utterance_dropped()
            case "false_end":
                learner.false_end(value_s)
            case "forget":
                learner.forget(value_s)
        assert 0.45 <= learner.silence_s <= 1.0 + 1e-9
        assert 0.45 <= learner.after_sentence_s <= learner.silence_s
        assert all(len(samples) <= 64 for samples in learner.state().values())
        PauseLearner(CONFIG, learner.state())
