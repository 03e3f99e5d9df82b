"""Shows how a change gets on: one table that is written over on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from edge_agent.cli.live_line import LiveLine
from edge_agent.fleet.answers import Answer
from edge_agent.fleet.changing import shown_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from edge_agent.fleet.answers import Answers
    from edge_agent.fleet.registry import Registry

_BETWEEN_S = 0.25
_LINES_BETWEEN_S = 2.0
_ROWS = 12
_STYLES = {
    Answer.APPLIED: "green",
    Answer.REJECTED: "bold yellow",
    Answer.ROLLED_BACK: "bold red",
    Answer.SILENT: "bold red",
    Answer.OFFLINE: "dim",
    Answer.WAITING: "default",
}
_WORST_FIRST = (Answer.ROLLED_BACK, Answer.REJECTED, Answer.SILENT, Answer.WAITING, Answer.OFFLINE, Answer.APPLIED)


class LiveView:
    """Redraws at most four times a second; where nobody can see that, prints a line when it has changed.

    Args:
        console: To draw on; standard error where standard output is for a program.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = LiveLine(console)
        self._drawn_s = 0.0
        self._printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self._live.stop()

    def show(self, line: Callable[[], Text], below: Callable[[], RenderableType] | None = None) -> None:
        """Draw `line` and, on a terminal, what is `below` it."""
        now_s = time.monotonic()
        self._live.start()  # not before: questions are asked without it
        if now_s < self._drawn_s + (_BETWEEN_S if self._live.is_on else _LINES_BETWEEN_S):
            return
        self._drawn_s = now_s
        drawn = line()
        if self._live.is_on:
            self._live.draw(Group(drawn, below()) if below is not None else drawn)
        elif drawn.plain != self._printed:
            self._printed = drawn.plain
            self._console.print(drawn, soft_wrap=True)

    def say(self, text: Text) -> None:
        """Print a line that stays."""
        self._console.print(text, soft_wrap=True)


class RecentLines:
    """The last things that happened, for below a table."""

    def __init__(self, most: int = _ROWS) -> None:
        self._lines: deque[Text] = deque(maxlen=most)

    def add(self, line: Text) -> None:
        """Remember a line."""
        self._lines.append(line)

    def text(self) -> Text:
        """Return them all."""
        return Text("\n").join(self._lines)


def answers_line(answers: Answers) -> Text:
    """Write how many devices answered what."""
    line = Text(f"revision {answers.revision} for {answers.target}", "bold")
    for answer in reversed(_WORST_FIRST):
        if count := answers.count(answer):
            line.append(f" · {count} {shown_answer(answer).partition(';')[0]}", _STYLES[answer])
    return line


def answers_table(answers: Answers, registry: Registry, most: int = _ROWS) -> Table:
    """Return what single devices answered, those that failed first."""
    table = Table.grid(padding=(0, 2, 0, 0))
    ordered = sorted(answers.by_device.items(), key=lambda item: (_WORST_FIRST.index(item[1]), item[0]))
    for device_id, answer in ordered[:most]:
        device = registry.get(device_id)
        report = device.report if device is not None and answer in {Answer.REJECTED, Answer.ROLLED_BACK} else None
        errors = "; ".join(f"{key}: {message}" if key else message for key, message in report.errors) if report else ""
        table.add_row(Text(device_id), Text(shown_answer(answer), _STYLES[answer]), Text(errors, "yellow"))
    if len(ordered) > most:
        table.add_row(Text(f"and {len(ordered) - most} more", "dim"))
    return table
