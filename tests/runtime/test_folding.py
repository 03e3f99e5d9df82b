"""What a log would repeat is folded; nothing is lost in silence."""

from __future__ import annotations

import logging

from edge_agent.runtime.folding import Folding


def record(message: str, level: int = logging.WARNING, name: str = "edge_agent.hear") -> logging.LogRecord:
    """Return a record."""
    return logging.LogRecord(name, level, __file__, 1, message, None, None)


def written(folding: Folding, message: str, now_s: float, level: int = logging.WARNING) -> list[str]:
    """Return what is written when that is logged."""
    return [entry.getMessage() for entry in folding.take(record(message, level), now_s)]


def test_a_fault_every_half_minute_is_a_line_every_ten_minutes() -> None:
    """The first three as they are, then one that counts."""
    folding = Folding()
    lines = [(at_s, line) for at_s in range(0, 3600, 30) for line in written(folding, "no microphone", at_s)]
    assert lines[:3] == [(0, "no microphone"), (30, "no microphone"), (60, "no microphone")]
    assert [at_s for at_s, _ in lines[3:]] == [660, 1260, 1860, 2460, 3060]
    assert lines[3][1] == "no microphone (19 times more since this was last written)"
    assert [entry.getMessage() for entry in folding.finish()] == [
        "no microphone (18 times more since this was last written)"
    ]
    assert folding.finish() == []


def test_what_is_new_is_written_at_once() -> None:
    """Another text, another level, another place; and the same one after a quiet while."""
    folding = Folding()
    for at_s in range(5):
        written(folding, "lost", at_s)
    assert written(folding, "lost again", 5) == ["lost again"]
    assert written(folding, "lost", 5, logging.ERROR) == ["lost"]
    assert [entry.name for entry in folding.take(record("lost", name="edge_agent.mqtt"), 5)] == ["edge_agent.mqtt"]
    assert written(folding, "lost", 700) == ["lost (2 times more since this was last written)"]
    assert written(folding, "lost", 1400) == ["lost (once more since this was last written)"]
    assert written(folding, "other", 2200) == ["lost (once more since this was last written)", "other"]
    assert written(folding, "lost", 2900) == ["lost"]


def test_what_only_informs_is_never_folded() -> None:
    """Two turns may go the same way."""
    folding = Folding()
    assert all(written(folding, "intent GetTime", at_s, logging.INFO) for at_s in range(50))


def test_memory_is_bounded() -> None:
    """Of many kinds the oldest makes room, and what was left out of it is told."""
    folding = Folding()
    for at_s in range(5):
        written(folding, "first", at_s)
    told = [line for number in range(1000) for line in written(folding, f"message {number}", 6)]
    assert "first (2 times more since this was last written)" in told
    assert len(told) == 1001
    assert len(folding._repeated) == 64
