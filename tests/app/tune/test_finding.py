"""From measurements to a plan: fewer threads where more do not help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.app.tune.finding import FLUENT, fewest, find_plan, turn_s, voice_beside
from edge_agent.app.tune.stored import LlmSpeed, Measurements, Together, VoiceSpeed
from edge_agent.app.tune.tuning import thread_counts


def models(*speeds: tuple[float, float]) -> tuple[LlmSpeed, ...]:
    """Return speeds of reading and writing with 1, 2, 3 ... threads."""
    return tuple(
        LlmSpeed(threads=at, prefill_tokens_per_s=read, decode_tokens_per_s=write)
        for at, (read, write) in enumerate(speeds, start=1)
    )


def voices(*factors: float) -> tuple[VoiceSpeed, ...]:
    """Return real-time factors with 1, 2, 3 ... threads."""
    return tuple(VoiceSpeed(threads=at, real_time_factor=factor) for at, factor in enumerate(factors, start=1))


def pairs(*factors: float | None) -> tuple[Together, ...]:
    """Return the voice's factors beside the model, with 1, 2, 3 ... threads of its own."""
    return tuple(
        Together(tts_threads=at, llm_threads=1, tts_real_time_factor=factor)
        for at, factor in enumerate(factors, start=1)
    )


@pytest.mark.parametrize(
    ("speeds", "threads"),
    [
        (((10, 3), (20, 6), (30, 9)), 3),
        (((10, 3), (20, 5.8), (22, 5.9)), 2),
        (((10, 4), (11, 2)), 1),
        (((5, 9), (50, 9)), 2),
    ],
    ids=["each helps", "memory is the limit", "two hurt", "reading counts"],
)
def test_the_model_takes_the_fewest_that_are_as_good(speeds: tuple[tuple[float, float], ...], threads: int) -> None:
    """Judged by a whole turn: reading the question and writing the answer."""
    assert find_plan(Measurements(llm=models(*speeds))).llm == threads


def test_a_voice_of_a_pi_4() -> None:
    """The published factors of sherpa-onnx on a Pi 4 for 1 to 4 threads: the fourth still pays, by 9 %."""
    measured = Measurements(tts=voices(0.774, 0.482, 0.390, 0.357))
    assert find_plan(measured).tts == 4
    assert find_plan(Measurements(tts=voices(0.774, 0.37, 0.36))).tts == 2


@pytest.mark.parametrize(
    ("factors", "threads"),
    [((0.7, 0.5), 1), ((1.2, 0.7, 0.5), 2), ((2.0, 1.5, 1.49), 2), ((None, 0.5), 2), ((None,), None), ((), None)],
    ids=["one is fluent", "two are", "none is", "one did not end", "none ended", "not measured"],
)
def test_beside_the_model_a_voice_needs_to_be_fluent_and_no_more(
    factors: tuple[float | None, ...], threads: int | None
) -> None:
    """The fewest threads with which it stays ahead of the speaker; where none does, those that are best."""
    assert voice_beside(pairs(*factors)) == threads


def test_beside_the_model_a_voice_takes_no_more_than_alone() -> None:
    """What did not help it alone does not beside."""
    assert find_plan(Measurements(tts=voices(0.5, 0.5), pairs=pairs(1.2, 0.7))).tts_beside == 1


def test_nothing_measured_is_nothing_planned() -> None:
    """The usual threads stay."""
    assert find_plan(Measurements()).model_dump() == {"llm": None, "tts": None, "tts_beside": None}


@given(st.dictionaries(st.integers(1, 16), st.floats(0.001, 1000), min_size=1))
def test_the_fewest_are_near_the_best(costs: dict[int, float]) -> None:
    """Never more than 5 % worse, and nothing below is as good."""
    chosen = fewest(costs)
    assert chosen is not None
    limit = min(costs.values()) * 1.05
    assert costs[chosen] <= limit
    assert all(cost > limit for threads, cost in costs.items() if threads < chosen)


def test_a_turn_is_read_and_written() -> None:
    """24 tokens of question, 40 of answer."""
    assert turn_s(models((24, 40))[0]) == pytest.approx(2.0)
    assert FLUENT < 1


@pytest.mark.parametrize(
    ("most", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (7, (1, 2, 3, 4, 6, 7)), (8, (1, 2, 3, 4, 6, 8))]
)
def test_which_threads_are_tried(most: int, counts: tuple[int, ...]) -> None:
    """All of a small board, some of a large one, and always the most."""
    assert thread_counts(most) == counts
