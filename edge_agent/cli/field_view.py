"""What a person sees of `edge-agent field-test`, and how they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.app.doctor.levels import Level
from edge_agent.cli.doctor_view import level_bar
from edge_agent.cli.live_line import LiveLine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.app.field.load_step import Sample
    from edge_agent.app.field.report import FieldReport
    from edge_agent.app.field.step import StepResult

_MARKS = {"pass": ("✓", "green"), "fail": ("✗", "bold red"), "skipped": ("·", "dim")}
_STYLES = {"passed": "bold green", "incomplete": "yellow", "failed": "bold red"}
_WIDTH = 10
_YES, _NO = {"y", "yes"}, {"n", "no"}
_MOST_QUESTIONS = 5


class FieldView:
    """Prints steps as they end; asks on the terminal. `Person` for the steps.

    Args:
        is_shown: False prints nothing: the output is for a program.
        is_there: Somebody can be asked.
        answers: What was answered beforehand, by step.
    """

    def __init__(
        self, *, is_shown: bool, is_there: bool, answers: Mapping[str, bool], console: Console | None = None
    ) -> None:
        self._console = console or Console(highlight=False)
        self._is_shown = is_shown
        self._is_there = is_there
        self._answers = answers
        self._line = LiveLine(self._console, is_shown=is_shown)
        self._doing = ""

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._line.stop()

    @property
    def is_there(self) -> bool:
        """Whether somebody can be asked to do something."""
        return self._is_there

    def tell(self, text: str) -> None:
        """Say what is to be done."""
        if self._is_shown:
            self._console.print(Text(f"  → {text}", "bold cyan"))

    def confirm(self, step: str, question: str) -> bool | None:
        """Ask something; None where nobody answers."""
        if step in self._answers:
            return self._answers[step]
        if not self._is_there:
            return None
        self._line.draw(Text(""))
        for _ in range(_MOST_QUESTIONS):
            try:
                word = self._console.input(Text(f"  → {question}? [y/n] ", "bold cyan")).strip().casefold()
            except EOFError:
                return None
            if word in _YES | _NO:
                return word in _YES
        return None

    def level(self, rms_dbfs: float, peak_dbfs: float) -> None:
        """Show how loud it is."""
        self._line.draw(Text(f"… {self._doing}  ", "cyan").append_text(level_bar(Level(rms_dbfs, peak_dbfs))))

    def begin(self, name: str) -> None:
        """Say what is being done."""
        self._doing = {"agent": "starting the agent"}.get(name, name.replace("_", " "))
        self._line.draw(Text(f"… {self._doing}", "dim"))

    def sample(self, sample: Sample) -> None:
        """Show the machine during the load."""
        heat = "" if sample.temperature_c is None else f", {sample.temperature_c:.0f} °C"
        minutes, seconds = divmod(round(sample.at_s), 60)
        told = f"… load  {minutes}:{seconds:02}{heat}, {sample.rss_mib:.0f} MiB, {sample.frames_lost} frames lost"
        self._line.draw(Text(told, "dim"))

    def result(self, result: StepResult) -> None:
        """Print how a step went."""
        if not self._is_shown:
            return
        self._line.draw(Text(""))
        mark, style = _MARKS[result.outcome]
        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=_WIDTH)
        row.add_column(overflow="fold")
        message = f"not done: {result.message}" if result.outcome == "skipped" else result.message
        row.add_row(Text(mark, style), Text(result.name.replace("_", " "), "bold"), Text(message))
        self._console.print(row)
        for part in result.parts if result.name == "commands" else ():
            sign, colour = ("✓", "green") if part["right"] else ("✗", "red")
            heard = "nothing heard" if part["heard"] is None else f"heard: {part['heard']}"
            late = "" if part["answered_ms"] is None else f", {part['answered_ms']} ms"
            line = Text(f"     {sign} ", colour).append(f"{part['said']}", "default")
            self._console.print(line.append("" if part["right"] else f"   {heard}", "red").append(late, "dim"))

    def end(self, report: FieldReport, paths: tuple[Path, Path], untold: str) -> None:
        """Print the verdict, and where the reports are."""
        counts = {outcome: sum(step.outcome == outcome for step in report.steps) for outcome in _MARKS}
        parts = [f"{counts['pass']} passed"]
        parts += [f"{counts['fail']} failed"] if counts["fail"] else []
        parts += [f"{counts['skipped']} not done"] if counts["skipped"] else []
        self._console.print()
        self._console.print(Text(f"{report.verdict}: ", _STYLES[report.verdict]).append(", ".join(parts), "default"))
        for path in paths:
            self._console.print(Text(f"  {path}"), soft_wrap=True)
        if untold:
            self._console.print(Text(f"  not told to a broker: {untold}", "dim"), soft_wrap=True)
        else:
            self._console.print(Text("  the broker has the summary (event field_test)"), soft_wrap=True)
