"""What a person sees of `edge-agent bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.bench.result import machine

if TYPE_CHECKING:
    from edge_agent.bench.result import Findings, Result

_WIDEST = 78
_BARE = {"ratio", "status", "times"}
_BARE |= {"commands", "descriptors", "faults", "frames", "misses", "processes", "requests", "tasks", "threads", "turns"}
"""Units that a result's name says."""


class ProgressLine:
    """Says what is being measured: on a terminal in one line that is written over, else once for each new step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._over = stream.isatty()
        self._step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._over and self._step:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, text: str) -> None:
        """Show `text`."""
        if self._over:
            self._stream.write(f"\r\x1b[K{text[:_WIDEST]}")
            self._step = text
        else:
            # Without its numbers a text is a step: a log need not hold a line for each of a hundred rounds.
            step = "".join(character for character in text if not character.isdigit())
            if step == self._step:
                return
            self._step = step
            self._stream.write(f"{text}\n")
        self._stream.flush()


def print_findings(findings: Findings, bench: str, console: Console | None = None) -> None:
    """Print all results as a table, those with goals first, and below it what the references are."""
    console = console or Console(highlight=False)
    about = machine()
    memory = f"{about['memory_mib'] / 1024:.1f} GiB"
    console.print(Text(f"edge-agent bench {bench}: {about['model']}, {about['cores']} cores, {memory}", "bold"))
    with_goals = [result for result in findings.results if result.goal is not None]
    others = [result for result in findings.results if result.goal is None]
    marks: dict[str, str] = {}
    for results in (with_goals, others):
        if results:
            console.print(_table(results, marks, goals=results is with_goals))
    for what, mark in marks.items():
        console.print(Text(f"{mark:>4}  {what}", "dim"), soft_wrap=True)
    for note in findings.notes:
        console.print(Text(f"! {note}", "yellow"), soft_wrap=True)


def _table(results: list[Result], marks: dict[str, str], *, goals: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Result", no_wrap=True)
    table.add_column("Value", justify="right", no_wrap=True)
    if goals:
        table.add_column("Goal", justify="right", no_wrap=True)
        table.add_column("Met", no_wrap=True)
    table.add_column("Reference", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for result in results:
        cells: list[Text | str] = [result.name, _amount(result.value, result.unit)]
        if goals:
            cells += [str(result.goal), Text("yes", "green") if result.met else Text("no", "bold red")]
        if (reference := result.reference) is None:
            cells.append("")
        else:
            # The same reference stands beside several results: it is described once, below.
            mark = marks.setdefault(reference.what, f"({len(marks) + 1})")
            cells.append(Text(_amount(reference.value, reference.unit)).append(f" {mark}", "dim"))
        table.add_row(*cells, str(result.samples))
    return table


def _amount(value: float | None, unit: str) -> str:
    if value is None or value != value:  # noqa: PLR0124 - not a number
        return "none"
    number = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004
    return number if unit in _BARE else f"{number} {unit}"
