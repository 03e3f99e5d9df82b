"""`edge-agent doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, json_option, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from edge_agent.app.doctor import CheckResult

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "bold red")}


@click.command()
@config_option
@json_option
def doctor(config_file: Path | None, *, as_json: bool) -> int:
    """Check microphone, speaker and echo cancellation; status 1 where something is at fault."""
    from edge_agent.app.doctor import examine
    from edge_agent.runtime.logs import logging_to

    config = load(config_file)
    with logging_to(sys.stderr, "error"):
        found = examine(config)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found], ensure_ascii=False))
    else:
        print_results(found)
    return int(any(result.verdict == "fault" for result in found))


def print_results(found: Sequence[CheckResult], console: Console | None = None) -> None:
    """Print a line for each check, and what to do below those that need it."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    width = max((len(result.name) for result in found), default=0)
    for result in found:
        mark, style = _MARKS[result.verdict]
        console.print(Text.assemble((f"{mark} ", style), (f"{result.name:<{width}}  ", "bold"), result.message))
        # As it is, unwrapped, so that its lines can be copied.
        for line in result.remedy.splitlines():
            console.print(Text(f"    {line}"), soft_wrap=True)
