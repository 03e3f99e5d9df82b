"""What a person sees of `edge-agent doctor`: a line for each check, a meter while the microphone is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edge_agent.cli.live_line import LiveLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.app.doctor import CheckResult
    from edge_agent.app.doctor.levels import Level

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "bold red")}
_BAR = 30
_FLOOR_DB = -60.0
_LOUD_DB, _CLIPPED_DB = -6.0, -1.0
_CONFIGURATION = "configuration"


class DoctorView:
    """Prints results as they come.

    Args:
        is_shown: False prints nothing: the output is for a program.
        console: Where to.
    """

    def __init__(self, *, is_shown: bool = True, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._is_shown = is_shown
        self._line = LiveLine(self._console, is_shown=is_shown)
        self._width = len(_CONFIGURATION)
        self._doing = ""

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._line.stop()

    @property
    def is_live(self) -> bool:
        """Whether a line can be redrawn: on a terminal."""
        return self._line.is_possible

    def expect(self, names: Sequence[str]) -> None:
        """Make room for these names."""
        self._width = max(map(len, names), default=self._width)

    def begin(self, name: str) -> None:
        """Say what is being looked at."""
        self._doing = name.replace("_", " ")
        self._line.draw(Text(f"… {self._doing}", "dim"))

    def prompt(self, text: str) -> None:
        """Ask the person for something, in the line that is redrawn."""
        self._doing = text
        self._line.draw(Text(f"… {text}", "bold cyan"))

    def level(self, level: Level) -> None:
        """Show how loud it is."""
        self._line.draw(Text(f"… {self._doing}  ", "bold cyan").append_text(level_bar(level)))

    def result(self, result: CheckResult) -> None:
        """Print what a check found, and what to do about it."""
        if not self._is_shown:
            return
        self._line.draw(Text(""))
        mark, style = _MARKS[result.verdict]
        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=self._width)
        row.add_column(overflow="fold")
        row.add_row(Text(mark, style), Text(result.name.replace("_", " "), "bold"), Text(result.message))
        self._console.print(row)
        # As it is, unwrapped, so that its lines can be copied.
        for line in result.remedy.splitlines():
            self._console.print(Text(f"    {line}", "cyan"), soft_wrap=True)

    def summary(self, found: Sequence[CheckResult]) -> None:
        """Print how many are how."""
        counts = {verdict: sum(result.verdict == verdict for result in found) for verdict in _MARKS}
        parts = [f"{counts['ok']} ok"]
        for verdict, word in (("warning", "warning"), ("fault", "fault")):
            if counts[verdict]:
                parts.append(f"{counts[verdict]} {word}{'s' if counts[verdict] > 1 else ''}")
        style = "bold red" if counts["fault"] else "yellow" if counts["warning"] else "green"
        self._console.print(Padding(Text(", ".join(parts), style), (1, 0, 0, 0)))


def level_bar(level: Level, width: int = _BAR) -> Text:
    """Draw -60 to 0 dB: the RMS filled, the peak as a mark; green, yellow when loud, red when clipped."""

    def place(dbfs: float) -> int:
        return round(width * min(1.0, max(0.0, 1 - dbfs / _FLOOR_DB)))

    filled, peak = place(level.rms_dbfs), place(level.peak_dbfs)
    style = "red" if level.peak_dbfs >= _CLIPPED_DB else "yellow" if level.peak_dbfs >= _LOUD_DB else "green"
    cells = ["█" if at < filled else " " for at in range(width)]
    if peak:
        cells[min(peak, width) - 1] = "▌" if peak > filled else "█"
    number = f"{round(max(level.peak_dbfs, -99)):4d} dB"
    return Text("▕", "dim").append("".join(cells), style).append("▏", "dim").append(number, style)
