"""The plan of cores, as the documentation shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.runtime.plan import as_markdown, grants, voice_threads

DOCUMENT = Path(__file__).parents[2] / "docs" / "concurrency.md"


def test_the_documentation_shows_the_plan_as_it_is() -> None:
    """Paste the output of `python -c 'from edge_agent.runtime import plan; print(plan.as_markdown())'` where not."""
    assert as_markdown() in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 6, 8])
def test_a_plan_never_exceeds_the_board(cores: int) -> None:
    """Whoever is active; and the language model alone uses all that is not reserved."""
    reserve = int(cores >= 4)
    assert sum(grants(cores, reserve=reserve, active=("ASR", "TTS", "LLM")).values()) <= cores
    assert grants(cores, reserve=reserve, active=("LLM",)) == {"LLM": cores - reserve}


def test_a_voice_leaves_cores_to_others() -> None:
    """Half, at least one, at most four."""
    assert [voice_threads(cores) for cores in (1, 2, 3, 7, 16)] == [1, 1, 2, 4, 4]
