"""`edge-agent fleet watch`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from edge_agent.cli.fleet_options import access_options
from edge_agent.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.cli.fleet_options import Access
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.view import FleetView

_CONNECT_S = 30.0
_ROWS = 15


@click.command()
@click.option("--group", metavar="NAME", help="Only devices of this group.")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only events of this name; may be repeated.")
@access_options
@json_option
def watch(access: Access, group: str | None, events: tuple[str, ...], *, as_json: bool) -> int:
    """Show what devices tell as they tell it, until stopped, or for --timeout.

    With --json one object for each change: {"at_s", "device", "kind", "text", "event", "data"}.
    """
    from edge_agent.fleet.target import Target
    from edge_agent.runtime import loop

    target = Target("group", group) if group else Target("fleet")

    def is_wanted(change: Change) -> bool:
        return target.takes_in(change.device) and (not events or change.event in events)

    return loop.run(_watch(access, is_wanted, as_json=as_json))


async def _watch(access: Access, is_wanted: Callable[[Change], bool], *, as_json: bool) -> int:
    from edge_agent.fleet.watching import watch_loop

    console = _JsonLines() if as_json else _Screen()
    with console:

        def changed(change: Change) -> None:
            if is_wanted(change):
                console.changed(change)

        try:
            async with asyncio.timeout(access.timeout_s):
                await watch_loop(access.mqtt, changed, console.draw, console.say, connect_s=_CONNECT_S)
        except TimeoutError:
            return 0
    return 0


class _JsonLines:
    """For programs: each change on a line of standard output, notes on standard error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_details: object) -> None:
        pass

    def changed(self, change: Change) -> None:
        line = {
            "at_s": round(time.time(), 3),
            "device": change.device.id,
            "kind": change.kind,
            "text": change.text,
            "event": change.event or None,
            "data": change.data,
        }
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()

    def draw(self, view: FleetView) -> None:
        """Nothing is drawn for a program."""

    def say(self, text: str) -> None:
        click.echo(f"edge-agent: {text}", err=True)


class _Screen:
    """For people: the fleet, its worst devices and what happened last; without a terminal a line for each change."""

    def __init__(self) -> None:
        from rich.console import Console

        from edge_agent.cli.fleet_progress import LiveView, RecentLines

        self._console = Console(highlight=False)
        self._live = LiveView(self._console)
        self._recent = RecentLines()

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(*details)

    def changed(self, change: Change) -> None:
        from rich.text import Text

        at = time.strftime("%H:%M:%S")
        line = Text(f"{at} ", "dim").append(change.device.id, "bold").append(f"  {change.text}", "default")
        if self._console.is_terminal:
            self._recent.add(line)
        else:
            self._console.print(line, soft_wrap=True)

    def draw(self, view: FleetView) -> None:
        from rich.console import Group
        from rich.text import Text

        from edge_agent.cli.fleet_view import device_table, summary_line

        if self._console.is_terminal:
            self._live.show(
                lambda: summary_line(view.registry.summary()),
                lambda: Group(device_table(view.registry.worst(_ROWS)), Text(), self._recent.text()),
            )

    def say(self, text: str) -> None:
        from rich.text import Text

        self._live.say(Text(f"! {text}", "yellow"))
