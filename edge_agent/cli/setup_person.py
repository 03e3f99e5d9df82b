"""The person at the terminal: plain prompts, a meter in one line. Works over ssh in 80 columns and in any encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.app.doctor.levels import Level

_WIDTH = 78
_METER = 40
_FLOOR_DBFS = -60.0
_CLIPS_DBFS = -1.0
_YES_OR_NO = {"y": True, "yes": True, "n": False, "no": False}


class TerminalPerson:
    """Asks by click. A `Person`."""

    def head(self, title: str) -> None:
        """Begin with another subject."""
        click.echo()
        click.secho(title, bold=True)

    def tell(self, text: str) -> None:
        """Say something, in lines of the terminal's width."""
        for line in _wrapped(text):
            click.echo(f"  {line}")

    def warn(self, text: str) -> None:
        """Say what is not as it should be."""
        for at, line in enumerate(_wrapped(text)):
            click.secho(f"{'!' if at == 0 else ' '} {line}", fg="yellow")

    def ask(self, question: str, default: str) -> str:
        """Ask for a line."""
        return str(click.prompt(f"  {question}", default=default, type=str))

    def pick(self, question: str, options: Sequence[str], default: int) -> int:
        """Print the list and ask for a number of it."""
        for number, option in enumerate(options, start=1):
            click.echo(f"  {number:>2}  {_cut(option)}")
        while True:
            answer = str(click.prompt(f"  {question}", default=str(default + 1), type=str)).strip()
            if answer.isdecimal() and 1 <= int(answer) <= len(options):
                return int(answer) - 1
            self.warn(f"Type a number from 1 to {len(options)}.")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Ask for a yes or a no."""
        shown = "Y/n" if default else "y/N"
        while True:
            answer = str(click.prompt(f"  {question} [{shown}]", default="", show_default=False, type=str))
            if not answer.strip():
                return default
            if answer.strip().casefold() in _YES_OR_NO:
                return _YES_OR_NO[answer.strip().casefold()]
            self.warn("Type y or n.")

    def secret(self, question: str) -> str:
        """Ask without showing what is typed, nor how long it is."""
        return str(click.prompt(f"  {question}", default="", show_default=False, hide_input=True, type=str))

    def show(self, level: Level | None) -> None:
        """Draw the meter over itself: 1.5 dB a column, the peak as a bar; put away, it leaves an empty line."""
        if level is None:
            click.echo(f"\r{' ' * (_WIDTH - 1)}\r", nl=False)
            return
        columns = [_column(dbfs) for dbfs in (level.rms_dbfs, level.peak_dbfs)]
        bar = "".join("#" if at < columns[0] else "|" if at == columns[1] - 1 else "." for at in range(_METER))
        note = "too loud" if level.peak_dbfs > _CLIPS_DBFS else ""
        click.echo(f"\r  [{bar}] {round(max(_FLOOR_DBFS, level.peak_dbfs)):4d} dB {note:<9}", nl=False)


def _column(dbfs: float) -> int:
    share = (dbfs - _FLOOR_DBFS) / -_FLOOR_DBFS
    return round(min(1.0, max(0.0, share)) * _METER)


def _cut(text: str) -> str:
    room = _WIDTH - 6
    return text if len(text) <= room else f"{text[: room - 3]}..."


def _wrapped(text: str) -> list[str]:
    import textwrap

    lines: list[str] = []
    for line in text.splitlines():
        # What is set in is a command, to be copied as it is.
        whole = line.startswith(" ")
        wrapped = textwrap.wrap(line, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        lines += [line] if whole else wrapped
    return lines or [""]
