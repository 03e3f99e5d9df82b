"""The named bottleneck: each cause by itself, and which of several is named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.runtime.bottleneck import ChannelSigns, LimitSigns, PoolSigns, Signs, name_bottleneck

_MIB = 1 << 20
_LLM = PoolSigns("llm", workers=1, most_workers=1, busy=1, waiting=3, busy_share=1.0, wait_p95_s=2.1)

CASES: list[tuple[Signs, str, str]] = [
    (
        Signs(rung="hot", reasons=("temperature 84 °C", "throttled")),
        "temperature",
        "84 °C, throttled: the language model is throttled",
    ),
    (Signs(rung="critical", reasons=("under-voltage",)), "under-voltage", "the language model is off"),
    (
        Signs(rung="hot", reasons=("memory: 48 MiB left",)),
        "memory",
        "48 MiB left: the language model is throttled",
    ),
    (Signs(rung="hot", reasons=()), "pressure", "the language model is throttled"),
    (
        Signs(memory_available_bytes=41 * _MIB, memory_total_bytes=512 * _MIB),
        "memory",
        "41 of 512 MiB left",
    ),
    (Signs(memory_available_bytes=41 * _MIB), "memory", "41 MiB left"),
    (
        Signs(memory_available_bytes=300 * _MIB, memory_total_bytes=8192 * _MIB),
        "memory",
        "300 of 8192 MiB left",
    ),
    (Signs(lag_p99_s=0.18), "event loop", "lag p99 180 ms"),
    (Signs(lag_p99_s=2.5), "event loop", "lag p99 2.5 s"),
    (
        Signs(pools=(replace(_LLM, busy=0, waiting=0, stuck_job=("generate", 41.0)),)),
        "pool llm",
        "stuck in generate for 41.0 s: it was told to stop",
    ),
    (Signs(cores=2, cores_held=2, claims_waiting=2), "cores", "2 claims wait, 2 of 2 are in use"),
    (Signs(cores=4, cores_held=3, claims_waiting=1), "cores", "1 claim waits, 3 of 4 are in use"),
    (Signs(pools=(_LLM,)), "pool llm", "3 jobs waiting, p95 wait 2.1 s, its one thread busy 100 %"),
    (
        Signs(pools=(PoolSigns("general", workers=2, most_workers=2, busy=2, waiting=1),)),
        "pool general",
        "1 job waiting, its 2 threads busy",
    ),
    (
        Signs(limits=(LimitSigns("llm", 1, 1, 1), LimitSigns("files", 5, 5, 4))),
        "limit files",
        "4 wait, 5 of 5 are in use",
    ),
    (Signs(limits=(LimitSigns("llm", 1, 1, 1),)), "limit llm", "1 waits, 1 of 1 are in use"),
    (
        Signs(channels=(ChannelSigns("text", 4, 1), ChannelSigns("microphone", 50, 50))),
        "channel microphone",
        "full: 50 of 50 are queued",
    ),
    (Signs(rung="warm", reasons=("temperature 76 °C",)), "temperature", "76 °C: idle work waits"),
    (
        Signs(pools=(replace(_LLM, waiting=0, busy_share=0.97),)),
        "pool llm",
        "nothing waits, its one thread busy 97 %",
    ),
]

PRECEDENCE = [
    Signs(rung="hot", reasons=("temperature 84 °C",)),
    Signs(memory_available_bytes=10 * _MIB),
    Signs(lag_p99_s=0.5),
    Signs(pools=(replace(_LLM, name="stuck", stuck_job=("generate", 5.0)),)),
    Signs(cores=2, cores_held=2, claims_waiting=1),
    Signs(pools=(_LLM,)),
    Signs(limits=(LimitSigns("files", 5, 5, 4),)),
    Signs(channels=(ChannelSigns("microphone", 50, 50),)),
    Signs(rung="warm", reasons=("temperature 76 °C",)),
    Signs(pools=(replace(_LLM, waiting=0),)),
]


@pytest.mark.parametrize(("signs", "what", "why"), CASES)
def test_each_cause_is_named_with_its_figure(signs: Signs, what: str, why: str) -> None:
    """What and why, in people's words."""
    found = name_bottleneck(signs)
    assert found is not None
    assert (found.what, found.why) == (what, why)


@pytest.mark.parametrize(
    "signs",
    [
        Signs(),
        Signs(rung="normal"),
        Signs(lag_p99_s=0.02, memory_available_bytes=2000 * _MIB, memory_total_bytes=4000 * _MIB),
        Signs(pools=(replace(_LLM, waiting=0, busy_share=0.3),)),
        Signs(pools=(replace(_LLM, busy=0, waiting=0),)),
        # A job that was queued this moment: a thread is about to take it.
        Signs(pools=(PoolSigns("general", workers=1, most_workers=2, busy=1, waiting=1, busy_share=0.1),)),
        Signs(cores=4, cores_held=3, limits=(LimitSigns("llm", 1, 1, 0),), channels=(ChannelSigns("text", 4, 3),)),
    ],
)
def test_nothing_is_named_where_nothing_limits(signs: Signs) -> None:
    """Idle, or working with room to spare."""
    assert name_bottleneck(signs) is None


def merged(first: Signs, second: Signs) -> Signs:
    """Both at once; where both say something, what comes first in the order of precedence does, and pools add up."""
    values = {field.name: getattr(first, field.name) or getattr(second, field.name) for field in fields(Signs)}
    return Signs(**{**values, "pools": first.pools + second.pools})


@pytest.mark.parametrize("first", range(len(PRECEDENCE)))
def test_causes_go_before_effects(first: int) -> None:
    """Each one hides all that come after it."""
    alone = name_bottleneck(PRECEDENCE[first])
    assert alone is not None
    for later in PRECEDENCE[first + 1 :]:
        assert name_bottleneck(merged(PRECEDENCE[first], later)) == alone


def test_the_pool_whose_jobs_wait_longest_is_named() -> None:
    """Not the one with the most jobs."""
    many = replace(_LLM, name="asr", waiting=9, wait_p95_s=0.1)
    found = name_bottleneck(Signs(pools=(many, _LLM)))
    assert found is not None
    assert found.what == "pool llm"


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from(["warm", "hot", "critical"]), st.lists(st.text(max_size=20), max_size=3))
def test_any_reason_makes_a_name(rung: str, reasons: list[str]) -> None:
    """Whatever a sensor's text is, there is a name and it is no longer than the text."""
    found = name_bottleneck(Signs(rung=rung, reasons=tuple(reasons)))
    assert found is not None
    assert len(found.what) <= max(len("pressure"), *(len(reason) for reason in reasons), 0)
