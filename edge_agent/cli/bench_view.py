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
    """Print all results as a table, those with goals first."""
    console = console or Console(highlight=False)
    about = machine()
    memory = f"{about['memory_mib'] / 1024:.1f} GiB"
    console.print(Text(f"edge-agent bench {bench}: {about['model']}, {about['cores']} cores, {memory}", "bold"))
    with_goals = [result for result in findings.results if result.goal is not None]
    others = [result for result in findings.results if result.goal is None]
    if with_goals:
        console.print(_table(with_goals, goals=True))
    if others:
        console.print(_table(others, goals=False))
    for note in findings.notes:
        console.print(Text(f"! {note}", "yellow"), soft_wrap=True)


def _table(results: list[Result], *, goals: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Result", no_wrap=True)
    table.add_column("Value", justify="right", no_wrap=True)
    if goals:
        table.add_column("Goal", justify="right", no_wrap=True)
        table.add_column("Met")
    table.add_column("Reference, same run", overflow="fold")
    table.add_column("Samples", justify="right")
    for result in results:
        cells: list[Text | str] = [result.name, _amount(result.value, result.unit)]
        if goals:
            cells += [str(result.goal), Text("yes", "green") if result.met else Text("no", "bold red")]
        reference = result.reference
        cells.append("" if reference is None else f"{_amount(reference.value, reference.unit)}: {reference.what}")
        table.add_row(*cells, str(result.samples))
    return table


def _amount(value: float | None, unit: str) -> str:
    if value is None or value != value:  # noqa: PLR0124 - not a number
        return "none"
    number = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004
    return number if unit == "ratio" else f"{number} {unit}"
