"""What a person sees of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.cli.status_view import span
from edge_agent.fleet.document import UNSET, shown
from edge_agent.fleet.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.fleet.device import Device, Report
    from edge_agent.fleet.document import Difference
    from edge_agent.fleet.registry import Registry, Summary

_RUNGS = {"normal": "green", "warm": "yellow", "hot": "bold red", "critical": "bold white on red"}
_OUTCOMES = {"applied": "green", "rejected": "bold yellow", "rolled_back": "bold red"}


def print_devices(
    devices: Sequence[Device], registry: Registry, *, most: int | None, console: Console | None = None
) -> None:
    """Print a table of `devices`, `most` rows of it, and the whole fleet in a line."""
    console = console or Console(highlight=False)
    console.print(summary_line(registry.summary()))
    rows = devices if most is None else devices[:most]
    if rows:
        console.print(device_table(rows))
    if len(rows) < len(devices):
        console.print(Text(f"{len(devices) - len(rows)} more; --all shows them", "dim"))


def summary_line(summary: Summary) -> Text:
    """Write a fleet in one line."""
    line = Text(f"{summary.devices} device{'' if summary.devices == 1 else 's'}", "bold")
    for count, word, style in (
        (summary.online, "online", "green"),
        (summary.offline, "offline", "red"),
        (summary.rejected, "rejected their last change", "bold yellow"),
        (summary.rolled_back, "rolled back", "bold red"),
        (summary.pressed, "hot or worse", "bold red"),
        (summary.unreadable, "send what can't be read", "yellow"),
    ):
        if count:
            line.append(f" · {count} {word}", style)
    return line


def device_table(devices: Sequence[Device]) -> Table:
    """Return a table with a row for each device."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("Device", no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column("State", no_wrap=True)
    table.add_column("Version", no_wrap=True, max_width=12)
    # Where it is narrow only columns that may wrap give way; their cells are cut instead.
    table.add_column("Configuration", overflow="ellipsis")
    table.add_column("Pressure", no_wrap=True)
    table.add_column("Trouble", overflow="ellipsis")
    for device in devices:
        table.add_row(
            device.id,
            _state(device),
            device.version,
            _one_line(_configuration(device.report)),
            Text(device.pressure, _RUNGS.get(device.pressure, "default")),
            _one_line(Text(_reason(device), "yellow")),
        )
    return table


def _reason(device: Device) -> str:
    """Return the trouble without the outcome, which stands in a column of its own."""
    outcome = device.report.outcome.replace("_", " ") if device.report is not None else ""
    return device.trouble.removeprefix(f"{outcome}: ") if outcome else device.trouble


def _one_line(text: Text) -> Text:
    text.no_wrap = True
    return text


def print_device(device: Device, documents: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print all that is known of one device."""
    console = console or Console(highlight=False)
    console.print(Text(device.id, "bold").append("  ").append_text(_state(device)))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in (
        ("version", device.version),
        ("up", "" if device.uptime_s is None else span(max(0.0, device.uptime_s))),
        ("groups", ", ".join(device.groups)),
        ("last turn", "" if device.turn_delay_ms is None else f"answered after {device.turn_delay_ms:.0f} ms"),
        ("temperature", "" if device.temperature_c is None else f"{device.temperature_c:.0f} °C"),
        ("problems", ", ".join(device.problems)),
        ("last fault", device.last_fault),
        ("unreadable", device.why_unreadable),
    ):
        if text:
            grid.add_row(label, Text(text))
    if device.pressure:
        grid.add_row("pressure", Text(device.pressure, _RUNGS.get(device.pressure, "default")))
    report = device.report
    if report is not None:
        grid.add_row("last change", _configuration(report))
        for key, message in report.errors:
            grid.add_row("", Text(f"{key}: {message}" if key else message, "yellow"))
        if report.error_count > len(report.errors):
            grid.add_row("", Text(f"and {report.error_count - len(report.errors)} errors more", "dim"))
        grid.add_row("hash", Text(report.hash, "dim"))
    console.print(grid)
    for document in documents:
        console.print()
        console.print(_document(document))


def difference_table(differences: Sequence[Difference]) -> Table:
    """Return what a document changes, a row for each key."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for difference in differences:
        sign = "+" if difference.before is UNSET else "-" if difference.after is UNSET else "~"
        style = {"+": "green", "-": "red", "~": "yellow"}[sign]
        change = Text(shown(difference.before), "dim").append(" → ").append(shown(difference.after), style)
        table.add_row(Text(sign, style), Text(plain(difference.key, 80)), change)
    return table


def _state(device: Device) -> Text:
    if device.online is None:
        return Text(device.state or "unknown", "dim")
    if not device.online:
        return Text("✕ offline", "red")
    return Text(f"● {device.state or 'online'}", "green")


def _configuration(report: Report | None) -> Text:
    if report is None:
        return Text("-", "dim")
    revisions = " ".join(f"{layer.removeprefix('group:')} {number}" for layer, number in report.layers)
    line = Text(report.outcome.replace("_", " ") or "?", _OUTCOMES.get(report.outcome, "dim"))
    return line.append(f"  {revisions}", "dim") if revisions else line


def _document(document: Mapping[str, Any]) -> Text:
    from edge_agent.fleet.document import flat

    if "error" in document:
        return Text(f"{document['layer']}: ", "bold").append(plain(str(document["error"])), "yellow")
    text = Text(f"{document['layer']}, revision {document['revision']}", "bold")
    for key, value in sorted(flat(document["patch"]).items()):
        text.append(f"\n  {plain(key, 80)} = {shown(value)}", "default")
    return text
