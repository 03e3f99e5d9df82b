"""From measurements to a plan. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.tune.stored import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.app.tune.stored import LlmSpeed, Measurements, Together

ENOUGH = 1.05
"""Fewer threads are taken that cost no more than 5 % of the best time: a core that is left to others is worth more."""
PROMPT_TOKENS, ANSWER_TOKENS = 24, 40
"""A typical turn of a warm model: a spoken question in the chat's frame, and two short sentences."""
FLUENT = 0.8
"""A voice that renders in four fifths of the time that it speaks stays ahead of the speaker."""


def find_plan(measured: Measurements) -> Plan:
    """Return the fewest threads that are as good as any, each engine alone, and the voice's beside the model."""
    llm = fewest({speed.threads: turn_s(speed) for speed in measured.llm})
    tts = fewest({speed.threads: speed.real_time_factor for speed in measured.tts})
    beside = voice_beside(measured.pairs)
    if tts is not None and beside is not None:
        # The model's gain must not come from a voice that is given more than it can use.
        beside = min(beside, tts)
    return Plan(llm=llm, tts=tts, tts_beside=beside)


def turn_s(speed: LlmSpeed) -> float:
    """Return how long a typical turn takes: reading the question, then writing the answer."""
    return PROMPT_TOKENS / speed.prefill_tokens_per_s + ANSWER_TOKENS / speed.decode_tokens_per_s


def fewest(costs: Mapping[int, float]) -> int | None:
    """Return the fewest threads whose cost is near the least; None where nothing was measured."""
    if not costs:
        return None
    best = min(costs.values())
    return min(threads for threads, cost in costs.items() if cost <= best * ENOUGH)


def voice_beside(pairs: tuple[Together, ...]) -> int | None:
    """Return the fewest threads with which the voice stays ahead beside the model; else those with which it is fastest.

    None where that was not measured.
    """
    factors = {pair.tts_threads: pair.tts_real_time_factor for pair in pairs if pair.tts_real_time_factor is not None}
    fluent = [threads for threads, factor in factors.items() if factor <= FLUENT]
    return min(fluent) if fluent else fewest(factors)
