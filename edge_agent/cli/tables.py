"""What a person sees of `edge-agent devices`."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_devices(found: dict[str, Any], console: Console | None = None) -> None:
    """Print microphones, speakers and GPIO as `edge_agent.app.hardware.describe` returned them."""
    console = console or Console(highlight=False)
    for title, key, setting in (
        ("Microphones", "inputs", "audio.input_device"),
        ("Speakers", "outputs", "audio.output_device"),
    ):
        if found[key]:
            console.print(_table(f"{title} ({setting})", found[key]))
        else:
            console.print(Text(title, "bold").append("  none found", "yellow"))
        console.print()
    _print_gpio(found["gpio"], console)
    for note in found["notes"]:
        console.print(Text(f"! {note}", "yellow"), soft_wrap=True)
    if found["inputs"] or found["outputs"]:
        console.print(
            Text(
                "→ is used; set another by its name, or by the name below that, which stays when numbers change.", "dim"
            )
        )


def _table(title: str, entries: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("No.", justify="right")
    table.add_column("Name", overflow="fold")
    table.add_column("Through")
    table.add_column("Channels", justify="right")
    table.add_column("Own rate", justify="right")
    for entry in entries:
        name = Text(entry["name"])
        if entry["is_default"]:
            name.append("  default", "cyan")
        if entry["stable_name"] != entry["name"]:
            name.append(f"\n{entry['stable_name']}", "not bold cyan")
        table.add_row(
            "→" if entry["is_chosen"] else "",
            str(entry["index"]),
            name,
            entry["host_api"],
            str(entry["channels"]),
            f"{entry['default_rate_hz']} Hz",
            style="bold green" if entry["is_chosen"] else "",
        )
    return table


def _print_gpio(gpio: dict[str, Any], console: Console) -> None:
    line = Text("GPIO", "bold")
    if gpio["available"]:
        line.append("  simulated" if gpio["driver"] == "simulated" else "  available", "green")
    else:
        line.append(f"  none: {gpio['reason']}", "yellow")
    console.print(line, soft_wrap=True)
    pins = dict(gpio["outputs"])
    if gpio["button"] is not None:
        pins["button"] = gpio["button"]
    if gpio["light"] is not None:
        single, rgb = gpio["light"]["pin"], gpio["light"]["rgb_pins"]
        pins["light"] = single if rgb is None else ", ".join(map(str, rgb))
    for name, pin in pins.items():
        console.print(Text(f"  {name}: pin {pin}"))
    console.print()
