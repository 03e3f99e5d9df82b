"""Texts from devices on an operator's terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.fleet.plain import plain


@given(st.text(max_size=400))
def test_whatever_comes_is_one_harmless_line(text: str) -> None:
    """Nothing is left that a terminal obeys, or that leaves the line."""
    shown = plain(text, 50)
    assert len(shown) <= 50
    assert shown.isprintable()


def test_escape_sequences_and_directions_lose_their_meaning() -> None:
    """Their first characters are replaced, and the rest is just text."""
    assert plain("\x1b[31mred\x9b0m\u202egnp.exe") == "\ufffd[31mred\ufffd0m\ufffdgnp.exe"


def test_marks_do_not_climb_over_other_lines() -> None:
    """Two combining marks in a row are enough for any language's letters."""
    assert plain("e" + "\u0301" * 50 + "x") == "e\u0301\u0301x"


def test_ordinary_text_stays() -> None:
    """Letters of any language are left as they are."""
    assert plain("客厅 - Küche, 21 °C") == "客厅 - Küche, 21 °C"
