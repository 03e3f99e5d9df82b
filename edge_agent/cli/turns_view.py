"""What a person sees of `edge-agent status --turns`: each turn with a waterfall of its stages; made for 80 columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.cli.status_view import joined, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NARROW, _WIDE = 72, 110
_BAR_WIDTHS = (0, 16, 30)
"""Of the bars on a terminal narrower than `_NARROW` columns, on others, and from `_WIDE` on."""
_BEFORE_MS = 500.0
"""What bars show of the time before the end of speech."""
_MOST_STAGE_CHARS = 18
_SECONDS_FROM_MS = 9999.5


@dataclass(frozen=True, slots=True)
class Row:
    """A stage of a turn; milliseconds from the end of speech. `took_ms` is None for what took no time."""

    stage: str
    at_ms: float
    took_ms: float | None = None
    detail: str = ""

    @property
    def until_ms(self) -> float:
        """When it was over."""
        return self.at_ms + (self.took_ms or 0.0)


def print_turns(turns: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print turns as the service gave them, newest last; what it leaves out is not shown."""
    console = console or Console(highlight=False)
    if not turns:
        console.print("no turn yet")
        return
    tables = [rows_of(turn) for turn in turns]
    stage_width = min(_MOST_STAGE_CHARS, max((len(row.stage) for rows in tables for row in rows), default=0))
    console.print(Text("Times count from the end of speech; without speech from the turn's beginning.", "dim"))
    for turn, rows in zip(turns, tables, strict=True):
        console.print()
        console.print(_head(turn, console.width))
        if rows:
            console.print(_waterfall(rows, len(_number(turn)), stage_width, console.width))


def rows_of(turn: Mapping[str, Any]) -> list[Row]:
    """Return a turn's stages in the order in which they began: its marks, and what its timings say besides."""
    timings = turn.get("timings") or {}
    zero_s = timings.get("speech_end_s") or 0.0

    def row(stage: str, at_s: float, until_s: float | None, detail: str = "") -> Row:
        took_ms = None if until_s is None else (until_s - at_s) * 1000
        return Row(_printable(stage), (at_s - zero_s) * 1000, took_ms, _printable(detail))

    rows = [
        row(mark["stage"], mark["at_s"], mark.get("until_s"), mark.get("detail") or "")
        for mark in turn.get("timeline") or []
    ]
    marked = {found.stage.partition(".")[0] for found in rows}
    endpoint_s, asr_s, token_s = (timings.get(name) for name in ("endpoint_s", "asr_s", "first_token_s"))
    audio_s, done_s = timings.get("first_audio_s"), timings.get("done_s")
    if endpoint_s is not None and "endpoint" not in marked:
        rows.append(row("endpoint", zero_s, endpoint_s, _endpoint_reason(turn.get("endpoint") or {})))
    if endpoint_s is not None and asr_s is not None and "asr" not in marked:
        rows.append(row("asr", endpoint_s, endpoint_s + asr_s))
    if token_s is not None and "llm" not in marked:
        rows.append(row("llm", token_s, None, "first token"))
    if audio_s is not None and "playback" not in marked:
        rows.append(row("playback", audio_s, done_s))
    return sorted(rows, key=lambda found: found.at_ms)


def _head(turn: Mapping[str, Any], width: int) -> Table:
    number = _number(turn)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(number, _exchange(turn))
    grid.add_row("", joined(_facts(turn), width - len(number) - 1))
    for remark in _remarks(turn):
        grid.add_row("", remark)
    return grid


def _exchange(turn: Mapping[str, Any]) -> Text:
    heard, reply = turn.get("heard"), turn.get("reply")
    if heard:
        line = Text(f'"{_printable(heard)}"', "cyan")
    elif heard is None and turn.get("endpoint") is None:
        line = Text("alert" if turn.get("alert") else "announcement", "cyan")
    else:
        line = Text("(not understood)", "dim")
    line.append(" → ", "default")
    return line.append(f'"{_printable(reply)}"' if reply else "(no answer)", "green" if reply else "dim")


def _facts(turn: Mapping[str, Any]) -> Iterator[str]:
    if turn.get("age_s") is not None:
        yield f"{span(turn['age_s'])} ago"
    if turn.get("intent"):
        slots = (f"{name}={value}" for name, value in (turn.get("slots") or {}).items())
        yield _printable(" ".join(["intent", turn["intent"], *slots]))
    elif turn.get("source") == "llm":
        yield "language model"
    if turn.get("confidence") is not None:
        yield f"{turn['confidence']:.0%} sure"
    if turn.get("audio_s"):
        yield f"{turn['audio_s']:.1f} s of audio kept"


def _remarks(turn: Mapping[str, Any]) -> Iterator[Text]:
    if turn.get("interrupted"):
        by = f" by {_printable(turn['cut_off_by'])}" if turn.get("cut_off_by") else ""
        played = turn.get("reply_heard")
        of_it = f'; played was: "{_printable(played)}"' if played else "; no sentence was played to its end"
        yield Text(f"interrupted{by}{of_it}", "yellow")
    for fault in turn.get("faults") or []:
        yield Text(f"! {_printable(fault)}", "yellow")
    if turn.get("marks_left_out"):
        yield Text(f"{turn['marks_left_out']} further stages were not kept", "dim")


def _number(turn: Mapping[str, Any]) -> str:
    return f"#{turn.get('turn')}"


def _waterfall(rows: Sequence[Row], indent: int, stage_width: int, width: int) -> Table:
    bar_width = _BAR_WIDTHS[(width >= _NARROW) + (width >= _WIDE)]
    from_ms, until_ms = _shown_span(rows)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=indent)
    grid.add_column(width=stage_width, overflow="fold")
    grid.add_column(width=len("+9999 ms"), justify="right", no_wrap=True)
    grid.add_column(width=len("9999 ms"), justify="right", no_wrap=True)
    if bar_width:
        grid.add_column(width=bar_width, no_wrap=True)
    grid.add_column(overflow="fold", style="dim")
    for row in rows:
        style = "bold" if row.stage == "playback" else ""
        cells = [
            Text(row.stage, style),
            Text(_milliseconds(row.at_ms, signed=True), style),
            Text("" if row.took_ms is None else _milliseconds(row.took_ms)),
        ]
        if bar_width:
            cells.append(Text(bar(row, from_ms, until_ms, bar_width), "cyan"))
        grid.add_row("", *cells, Text(row.detail))
    return grid


def _shown_span(rows: Sequence[Row]) -> tuple[float, float]:
    """Return what the bars show: from shortly before the end of speech until a little after the first sound."""
    from_ms = max(-_BEFORE_MS, min(row.at_ms for row in rows))
    sounds = [row.at_ms for row in rows if row.stage == "playback"]
    until_ms = min(sounds) if sounds else max(row.until_ms for row in rows)
    return from_ms, until_ms + max(1.0, 0.15 * (until_ms - from_ms))


def bar(row: Row, from_ms: float, until_ms: float, width: int) -> str:
    """Draw a stage into `width` columns that stand for `from_ms` to `until_ms`.

    At least a column is drawn: a dot for what took no time, an arrow at the edge where it lies beyond it.
    """
    per_ms = width / (until_ms - from_ms)
    first, last = (row.at_ms - from_ms) * per_ms, (row.until_ms - from_ms) * per_ms
    if last < 0:
        return "◂"
    if first >= width:
        return " " * (width - 1) + "▸"
    begin = max(0, int(first))
    if row.took_ms is None:
        return " " * begin + "•"
    end = min(width, max(begin + 1, round(last)))
    line = "━" * (end - begin)
    if first < 0:
        line = "◂" + line[1:]
    if last > width:
        line = line[:-1] + "▸"
    return " " * begin + line


def _endpoint_reason(endpoint: Mapping[str, Any]) -> str:
    if endpoint.get("why"):
        return str(endpoint["why"])
    reason = str(endpoint.get("reason", "")).replace("_", " ")
    silence_ms = endpoint.get("silence_ms")
    return f"{reason} {silence_ms} ms" if reason == "silence" and silence_ms is not None else reason


def _milliseconds(value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value / 1000:{sign}.1f} s" if abs(value) >= _SECONDS_FROM_MS else f"{value:{sign}.0f} ms"


def _printable(text: str) -> str:
    """Replace what would steer the terminal: a model may say anything."""
    return "".join(character if character.isprintable() else " " for character in str(text))
