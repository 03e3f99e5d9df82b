"""The core ledger's arithmetic: never above the cores, nobody starves, everything comes back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ClaimBusyError
from edge_agent.runtime.account import CoreAccount, Rank, share_out

RANKS = {"asr": Rank.HEARING, "tts": Rank.SPEAKING, "llm": Rank.REASONING, "idle": Rank.BACKGROUND}


def plan(cores: int, reserve: int, **most: int) -> dict[str, int]:
    """What each claim of a fresh account holds when all are open and settled, most urgent first."""
    account = CoreAccount(cores, reserve)
    claims = {name: account.add(name, RANKS[name], threads) for name, threads in most.items()}
    for claim in claims.values():
        account.open(claim, 0.0)
    return {name: account.settle(claim, 0.0) for name, claim in claims.items()}


@pytest.mark.parametrize(
    ("cores", "reserve", "most", "held"),
    [
        (1, 0, {"llm": 4}, {"llm": 1}),
        (1, 0, {"asr": 1, "llm": 4}, {"asr": 1, "llm": 0}),
        (2, 0, {"llm": 4}, {"llm": 2}),
        (2, 0, {"tts": 1, "llm": 4}, {"tts": 1, "llm": 1}),
        (2, 0, {"asr": 1, "tts": 1, "llm": 4}, {"asr": 1, "tts": 1, "llm": 0}),
        (4, 1, {"llm": 4}, {"llm": 3}),
        (4, 1, {"asr": 1, "llm": 4}, {"asr": 1, "llm": 3}),
        (4, 1, {"asr": 1, "tts": 2, "llm": 4}, {"asr": 1, "tts": 2, "llm": 1}),
        (8, 1, {"asr": 1, "tts": 4, "llm": 8}, {"asr": 1, "tts": 4, "llm": 3}),
        (8, 1, {"asr": 2, "tts": 4, "llm": 8, "idle": 8}, {"asr": 2, "tts": 4, "llm": 1, "idle": 1}),
    ],
)
def test_ranks_share_the_cores(cores: int, reserve: int, most: dict[str, int], held: dict[str, int]) -> None:
    """One each, in the order of ranks; what is left to the highest; hearing from the reserve, the others never."""
    assert plan(cores, reserve, **most) == held


def test_a_lower_rank_gives_back_between_two_steps() -> None:
    """A new claim gets its core when the holder settles, not before, and the holder grows again afterwards."""
    account = CoreAccount(2)
    llm, asr = account.add("llm", Rank.REASONING, 2), account.add("asr", Rank.HEARING, 1)
    account.open(llm, 0.0)
    assert account.settle(llm, 0.0) == 2
    account.open(asr, 0.1)
    assert account.settle(asr, 0.1) == 0
    assert account.settle(llm, 0.11) == 1
    assert account.settle(asr, 0.11) == 1
    account.close(asr, 0.12)
    assert account.settle(llm, 0.13) == 2
    account.close(llm, 1.0)
    assert account.held == 0
    assert asr.waited_s == pytest.approx(0.01)
    assert llm.thread_s == pytest.approx(2 * 0.11 + 1 * 0.02 + 2 * 0.87)


def test_a_cap_bounds_a_rank_until_it_is_lifted() -> None:
    """Under pressure the language model computes with less, or not at all."""
    account = CoreAccount(4, 1)
    llm = account.add("llm", Rank.REASONING, 4)
    account.open(llm, 0.0)
    assert account.settle(llm, 0.0) == 3
    account.cap(Rank.REASONING, 1)
    assert account.settle(llm, 0.1) == 1
    account.cap(Rank.REASONING, 0)
    assert account.settle(llm, 0.2) == 0
    account.cap(Rank.REASONING, None)
    assert account.settle(llm, 0.3) == 3


def test_a_claim_that_starves_goes_first_for_a_while() -> None:
    """On one core a busy voice gives way to the language model after half a second, for a fifth of one."""
    account = CoreAccount(1)
    tts, llm = account.add("tts", Rank.SPEAKING, 1), account.add("llm", Rank.REASONING, 1)
    account.open(tts, 0.0)
    account.open(llm, 0.0)
    assert account.settle(tts, 0.0) == 1
    assert account.settle(llm, 0.4) == 0
    assert account.settle(llm, 0.5) == 0
    assert account.settle(tts, 0.9) == 0
    assert account.settle(llm, 0.9) == 1
    assert account.settle(llm, 1.05) == 1
    assert account.settle(llm, 1.15) == 0
    assert account.settle(tts, 1.15) == 1


def test_a_claim_serves_one_job_at_a_time() -> None:
    """Opened twice, it would count its threads twice."""
    account = CoreAccount(1)
    claim = account.add("llm", Rank.REASONING, 1)
    account.open(claim, 0.0)
    with pytest.raises(ClaimBusyError, match="llm still does a job"):
        account.open(claim, 0.0)


def test_a_reserve_leaves_a_core() -> None:
    """A board whose every core is reserved could not compute."""
    with pytest.raises(ValueError, match="at least one core"):
        CoreAccount(1, 1)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "settle", "close"]), st.integers(0, 5), st.floats(0.0, 0.3)), max_size=120
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.integers(1, 8),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from(list(Rank)), st.integers(1, 9)), min_size=1, max_size=6),
    ACTIONS,
)
def test_never_above_the_cores(
    cores: int, reserve: int, claims: list[tuple[Rank, int]], actions: list[tuple[str, int, float]]
) -> None:
    """Whatever is opened, settled and closed when: the sum fits, the reserve is hearing's, and all comes back."""
    account = CoreAccount(cores, min(reserve, cores - 1))
    entered = [account.add(str(number), *claim) for number, claim in enumerate(claims)]
    now_s = 0.0
    for action, number, passed_s in actions:
        now_s += passed_s
        claim = entered[number % len(entered)]
        if action == "open" and not claim.is_open:
            account.open(claim, now_s)
        elif action == "settle" and claim.is_open:
            account.settle(claim, now_s)
        elif action == "close":
            account.close(claim, now_s)
        assert account.held <= account.cores
        assert sum(claim.held for claim in entered if claim.rank is not Rank.HEARING) <= account.compute
        assert all(0 <= claim.held <= max(claim.most, 0) for claim in entered)
        assert all(claim.is_open or not claim.held for claim in entered)
        shares = share_out(account.compute, account.reserve, entered, caps={}, now_s=now_s)
        assert sum(share.threads for share in shares.values()) <= account.cores
    for claim in entered:
        account.close(claim, now_s)
        assert claim.thread_s + claim.waited_s >= claim.open_s - 1e-6
    assert account.held == 0


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(list(Rank)), st.integers(1, 4)), min_size=1, max_size=6),
    st.lists(st.floats(0.01, 0.3), min_size=6, max_size=6),
)
def test_nobody_starves(cores: int, claims: list[tuple[Rank, int]], step_s: list[float]) -> None:
    """All are busy for ever, each with steps of its own length: every one computes again within a bounded time."""
    account = CoreAccount(cores)
    entered = [account.add(str(number), *claim) for number, claim in enumerate(claims)]
    due_s = [0.0] * len(entered)
    last_s = [0.0] * len(entered)
    for claim in entered:
        account.open(claim, 0.0)
    longest_s = max(step_s[: len(entered)])
    bound_s = len(entered) * (account.starving_s + 0.2 + 2 * longest_s)
    now_s = 0.0
    while now_s < 4 * bound_s:
        at = min(range(len(entered)), key=lambda n: (due_s[n], n))
        now_s = due_s[at]
        held = account.settle(entered[at], now_s)
        if held:
            last_s[at] = now_s + step_s[at]
        due_s[at] = now_s + (step_s[at] if held else 0.01)
        assert now_s - last_s[at] <= bound_s
