"""Rate limits: the bound for each identity, independence of identities, memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import RateLimitedError
from edge_agent.runtime.rates import RateLimiter


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Read it."""
        return self.now_s


def test_a_burst_passes_at_once_and_then_one_each_interval() -> None:
    """The error says when the next request may come, and then it may."""
    clock = Clock(1e6)
    limiter = RateLimiter("ask", burst=3, per_s=0.5, clock=clock)
    for _ in range(3):
        limiter.check("phone")
    with pytest.raises(RateLimitedError, match=r"ask: 'phone' asks too often; again in 2.0 s") as caught:
        limiter.check("phone")
    assert (caught.value.kind, caught.value.identity) == ("ask", "phone")
    clock.now_s += caught.value.retry_after_s
    assert limiter.allow("phone")
    assert not limiter.allow("phone")
    clock.now_s += 1000
    assert [limiter.allow("phone") for _ in range(4)] == [True, True, True, False]


steps = st.lists(st.tuples(st.floats(0, 5), st.sampled_from("abc")), max_size=80)
rates = st.tuples(st.integers(1, 7), st.floats(0.05, 20))


@given(steps, rates, st.floats(0, 1e7))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_no_identity_ever_gets_more_than_its_rate(
    steps: list[tuple[float, str]], rate: tuple[int, float], start_s: float
) -> None:
    """In any span, at most `burst + per_s * span` requests of one identity pass."""
    burst, per_s = rate
    clock = Clock(start_s)
    limiter = RateLimiter("ask", burst, per_s, clock=clock)
    passed: dict[str, list[float]] = {}
    for pause_s, identity in steps:
        clock.now_s += pause_s
        if limiter.allow(identity):
            passed.setdefault(identity, []).append(clock.now_s)
    for times in passed.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + per_s * (times[last] - times[first]) + 1e-5


@given(rates, st.floats(0, 1e7))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_whole_burst_passes_at_any_time_and_rate(rate: tuple[int, float], start_s: float) -> None:
    """Rounding takes none of it away, and adds none."""
    limiter = RateLimiter("ask", *rate, clock=Clock(start_s))
    assert [limiter.allow("a") for _ in range(rate[0] + 1)] == [True] * rate[0] + [False]


@given(steps, rates)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_identities_do_not_affect_each_other(steps: list[tuple[float, str]], rate: tuple[int, float]) -> None:
    """Each gets the answers that it would get if it were alone."""
    clock = Clock()
    shared = RateLimiter("ask", *rate, clock=clock)
    alone = {identity: RateLimiter("ask", *rate, clock=clock) for identity in "abc"}
    for pause_s, identity in steps:
        clock.now_s += pause_s
        assert shared.allow(identity) == alone[identity].allow(identity)


@given(rates, st.lists(st.floats(0, 1), max_size=50))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_refused_requests_cost_nothing(rate: tuple[int, float], pauses: list[float]) -> None:
    """However much somebody asks in between, the time that the error names is right."""
    clock = Clock()
    limiter = RateLimiter("ask", *rate, clock=clock)
    while limiter.allow("a"):
        pass
    with pytest.raises(RateLimitedError) as caught:
        limiter.check("a")
    due_s = caught.value.retry_after_s
    for pause_s in pauses:
        if clock.now_s + pause_s >= due_s - 1e-4:
            break
        clock.now_s += pause_s
        assert not limiter.allow("a")
    clock.now_s = due_s - 1e-3 / rate[1]
    assert not limiter.allow("a")
    clock.now_s = due_s + 1e-9
    assert limiter.allow("a")


def test_memory_is_bounded_and_those_who_ask_most_are_remembered() -> None:
    """A flood of names does not make the limiter forget the one who is being refused all the time."""
    clock = Clock()
    limiter = RateLimiter("ask", burst=1, per_s=0.001, most_identities=10, clock=clock)
    assert limiter.allow("pest")
    for number in range(1000):
        assert limiter.allow(str(number))
        assert not limiter.allow("pest")
    statistics = limiter.statistics()
    assert (statistics.kind, statistics.identities, statistics.evicted) == ("ask", 10, 991)
    assert (statistics.allowed, statistics.refused) == (1001, 1000)
    assert limiter.allow("0"), "forgotten, so it has its burst again"


def test_senseless_rates_are_refused() -> None:
    """A mistake in the settings shows at once."""
    for burst, per_s, most in ((0, 1.0, 1), (1, 0.0, 1), (1, 1.0, 0)):
        with pytest.raises(ValueError, match="'ask'"):
            RateLimiter("ask", burst, per_s, most)
