"""How fast an engine is, counted from what it yields."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from edge_agent.app.tune.bench_words import question
from edge_agent.app.tune.working import Share, read_and_write
from edge_agent.reason.llm import ChatMessage, PromptCost


class Clock:
    """Goes on when it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


class ScriptedModel:
    """Reads two chunks of ten tokens in a second each, then writes a token every 0.5 s."""

    name = "scripted"

    def __init__(self, clock: Clock, tokens: int) -> None:
        self._clock = clock
        self._tokens = tokens
        self.is_closed = False
        self.prompt_cost: PromptCost | None = None

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None, call_grammar: str | None = None
    ) -> Generator[str, None, None]:
        """Answer."""
        self.prompt_cost = PromptCost(20, 0)
        try:
            for _ in range(2):
                self._clock.now_s += 1.0
                yield ""
            for _ in range(self._tokens):
                self._clock.now_s += 0.5
                yield "x"
        finally:
            self.is_closed = True


@pytest.mark.parametrize(
    ("tokens", "seconds", "speeds"),
    [
        (100, 3.0, (8.0, 2.0)),
        (100, 0.0, (8.0, 2.0)),
        (3, 60.0, (8.0, 2.0)),
        (1, 60.0, (8.0, None)),
        (0, 60.0, (None, None)),
    ],
    ids=["for a while", "at least two tokens", "to its end", "one token", "nothing"],
)
def test_reading_and_writing_are_told_apart(
    tokens: int, seconds: float, speeds: tuple[float | None, float | None]
) -> None:
    """Reading ends with the first token; what did not come about is None; the answer is closed."""
    clock = Clock()
    model = ScriptedModel(clock, tokens)
    assert read_and_write(model, question(is_long=True), seconds, clock) == speeds  # type: ignore[arg-type]
    assert model.is_closed


def test_no_question_is_asked_twice() -> None:
    """Else nothing of the second would be read."""
    asked = [question(is_long=is_long) for is_long in (True, True, False, False)]
    assert len({messages[0].content for messages in asked}) == 4
    assert len(asked[0][1].content) > 4 * len(asked[2][1].content)


def test_a_real_time_factor_is_of_all_audio() -> None:
    """None of none."""
    share = Share()
    assert share.real_time_factor is None
    share.add(1.0, 4.0)
    share.add(1.0, 0.0)
    assert share.real_time_factor == 0.5
