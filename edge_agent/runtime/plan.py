"""What the core ledger makes of a board: how many threads each engine is granted in each situation."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.runtime.account import CoreAccount, Rank
from edge_agent.runtime.topology import RESERVED_FROM

MOST_VOICE_THREADS = 4
"""Piper gains little from more: real-time factors on a Pi 4 are 0.774, 0.482, 0.390, 0.357 with 1 to 4 threads
(k2-fsa's documentation of sherpa-onnx)."""

_RANKS = {"ASR": Rank.HEARING, "TTS": Rank.SPEAKING, "LLM": Rank.REASONING}
_SITUATIONS = (("LLM",), ("TTS",), ("ASR", "LLM"), ("TTS", "LLM"), ("ASR", "TTS", "LLM"))
_BOARDS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """How many threads an engine is to ask for, where that was measured; None: what holds for every board.

    Attributes:
        llm: Language model, alone.
        tts: Voice, alone.
        tts_beside: Voice, while the language model computes too.
    """

    llm: int | None = None
    tts: int | None = None
    tts_beside: int | None = None


UNMEASURED = ThreadPlan()


def voice_threads(compute_cores: int) -> int:
    """Return how many threads a voice may ask for: half, rounded up, and never all cores of several."""
    return min((compute_cores + 1) // 2, MOST_VOICE_THREADS)


def grants(cores: int, *, reserve: int, active: tuple[str, ...], plan: ThreadPlan = UNMEASURED) -> dict[str, int]:
    """Return the threads that each active engine (`ASR`, `TTS`, `LLM`) holds once all have settled.

    0 means that it takes turns with the others: between their steps, and first once it has waited for half a second.
    """
    account = CoreAccount(cores, reserve)
    most = {
        "ASR": 1,
        "TTS": plan.tts or voice_threads(account.compute),
        "LLM": plan.llm or account.compute,
    }
    claims = {name: account.add(name, _RANKS[name], min(most[name], account.compute)) for name in active}
    if "TTS" in claims:
        claims["TTS"].most_beside = plan.tts_beside
    for claim in claims.values():
        account.open(claim, 0.0)
    return {name: account.settle(claim, 0.0) for name, claim in claims.items()}


def as_markdown() -> str:
    """Return the plan for boards of 1, 2, 4 and 8 equal cores as a table."""
    heads = ["cores", "reserve", *(" + ".join(active) for active in _SITUATIONS)]
    rows = []
    for cores in _BOARDS:
        reserve = int(cores >= RESERVED_FROM)
        cells = [
            " + ".join(str(held) for held in grants(cores, reserve=reserve, active=active).values())
            for active in _SITUATIONS
        ]
        rows.append(f"| {' | '.join([str(cores), str(reserve), *cells])} |")
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *rows]) + "\n"
