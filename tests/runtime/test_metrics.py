"""The account of work: what is counted, and that it stays bounded."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.runtime.metrics import Metrics, Outcome


def test_a_piece_of_work_is_counted_from_begin_to_end() -> None:
    """Active in between, then under its outcome with its times."""
    activity = Metrics(clock=lambda: 0.0).activity("asr", "recognize")
    activity.begin()
    activity.begin()
    assert (activity.active, activity.peak, activity.success_rate) == (2, 2, None)
    activity.end(Outcome.COMPLETED, wait_s=0.1, run_s=0.2)
    activity.end(Outcome.FAILED, wait_s=0.1, run_s=0.3)
    activity.refuse()
    assert (activity.active, activity.peak, activity.refused, activity.success_rate) == (0, 2, 1, 0.5)
    assert activity.busy_s == 0.5
    assert activity.wait.percentile(1.0) == 0.1
    assert activity.run.percentile(1.0) == 0.3


def test_time_to_free_a_thread_is_counted() -> None:
    """Of those that were stopped while they ran."""
    activity = Metrics(clock=lambda: 0.0).activity("llm", "generate")
    activity.freed(0.05)
    assert (activity.stop.count, activity.stop.percentile(0.99)) == (1, 0.05)


def test_the_same_place_and_kind_have_one_account() -> None:
    """Asking for it twice makes no second one."""
    metrics = Metrics()
    assert metrics.activity("asr", "recognize") is metrics.activity("asr", "recognize")
    assert metrics.activity("asr", "recognize") is not metrics.activity("tts", "recognize")
    assert len(list(metrics)) == 2


def test_kinds_without_end_share_an_account() -> None:
    """Names made up at run time do not grow memory."""
    metrics = Metrics()
    for number in range(1000):
        metrics.activity("scheduler", f"task-{number}").refuse()
    accounts = list(metrics)
    assert len(accounts) == 201
    assert sum(account.refused for account in accounts) == 1000
    assert metrics.activity("scheduler", "other").refused == 800
    assert metrics.activity("llm", "generate").kind == "generate"


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["begin", "refuse", *Outcome]), max_size=80))
def test_counts_add_up(events: list[str]) -> None:
    """What began is active or ended, whatever the order."""
    activity = Metrics(clock=lambda: 0.0).activity("place", "kind")
    began, counted = 0, Counter[str]()
    for event in events:
        if event == "begin":
            activity.begin()
            began += 1
        elif event == "refuse":
            activity.refuse()
            counted["refused"] += 1
        elif activity.active:
            activity.end(Outcome(event), 0.0, 0.0)
            counted[event] += 1
        assert began == activity.active + sum(activity.ended.values())
        assert activity.peak >= activity.active >= 0
    assert {outcome: counted[outcome] for outcome in Outcome} == activity.ended
    assert activity.refused == counted["refused"]
