"""The line that is drawn again and again."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from edge_agent.cli.live_line import LiveLine


def console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    """Something to draw on, and what came of it."""
    drawn = io.StringIO()
    return Console(file=drawn, force_terminal=is_terminal, width=40), drawn


def test_the_last_line_is_replaced_and_gone_at_the_end() -> None:
    """On a terminal; what is printed meanwhile stays."""
    terminal, drawn = console(is_terminal=True)
    line = LiveLine(terminal)
    line.draw(Text("too early"))
    line.start()
    line.start()
    assert line.is_on
    line.draw(Text("one"))
    terminal.print("this stays")
    line.draw(Text("two"))
    line.stop()
    line.stop()
    assert not line.is_on
    line.draw(Text("too late"))
    text = drawn.getvalue()
    assert [text.count(word) for word in ("too", "this stays")] == [0, 1]
    assert text.index("one") < text.index("this stays") < text.index("two")
    assert text.rindex("\x1b[2K") > text.rindex("two")  # erased


@pytest.mark.parametrize(("is_terminal", "is_shown"), [(False, True), (True, False)])
def test_nothing_is_drawn_where_nobody_would_see_it(is_terminal: bool, is_shown: bool) -> None:
    """A pipe, or output that is for a program."""
    place, drawn = console(is_terminal=is_terminal)
    line = LiveLine(place, is_shown=is_shown)
    line.start()
    line.draw(Text("one"))
    line.stop()
    assert not line.is_on
    assert drawn.getvalue() == ""
