"""`edge-agent fleet set`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.fleet_options import DURATION, access_options
from edge_agent.cli.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from edge_agent.cli.fleet_options import Access
    from edge_agent.fleet.document import Edit
    from edge_agent.fleet.sealing import Sealer
    from edge_agent.fleet.target import Target

_WAIT_S = 120.0
_CONNECT_S = 30.0
_FRESH_S = 0.1
_LASTS_S = 365 * 86_400.0


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for signing."""
    key = click.option(
        "--sign-key",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="EDGE_AGENT_FLEET_SIGN_KEY",
        show_envvar=True,
        metavar="FILE",
        help="Sign with this private key (see `edge-agent fleet keygen`).",
    )
    expires = click.option(
        "--expires",
        type=DURATION,
        metavar="TIME",
        help="With --sign-key: how long devices may take the change, such as 30d; default: a year.",
    )
    decorated: Callable[..., Any] = key(expires(command))
    return decorated


@click.command("set")
@click.argument("settings", nargs=-1, metavar="KEY=VALUE...")
@click.option("--device", metavar="ID", help="Change this device's own document.")
@click.option("--group", metavar="NAME", help="Change this group's document.")
@click.option("--fleet", "whole_fleet", is_flag=True, help="Change the whole fleet's document.")
@click.option("--unset", multiple=True, metavar="KEY", help="Take a key out of the document, as KEY= does.")
@click.option("--replace", is_flag=True, help="Begin a new document: what else the old one set is gone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@signing_options
@access_options
@json_option
def set_command(
    *,
    access: Access,
    settings: tuple[str, ...],
    device: str | None,
    group: str | None,
    unset: tuple[str, ...],
    sign_key: Path | None,
    expires: float | None,
    whole_fleet: bool,
    replace: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Set keys for one device, a group or the fleet, and wait for what becomes of it.

    A VALUE is JSON (true, 0.5, ["a"]) or else text. Devices that are offline take the change when they come back. The
    status is 1 when a device that is there does not take it.
    """
    from edge_agent.fleet.check import check_edits
    from edge_agent.fleet.document import edits_from
    from edge_agent.runtime import loop

    target = _target(device, group, whole_fleet=whole_fleet)
    edits = check_edits(edits_from(settings, unset))
    if not edits and not replace:
        raise click.UsageError("nothing to set: give KEY=VALUE, or --unset KEY")
    sealer = make_sealer(sign_key, expires)
    return loop.run(_set(access, target, edits, sealer, replace=replace, yes=yes, as_json=as_json))


def make_sealer(sign_key: Path | None, expires_s: float | None) -> Sealer:
    """Return what signs, or does not.

    Raises:
        BadInputError: The key can't be used.
        UsageError: There is an expiry and no key.
    """
    from datetime import timedelta

    from edge_agent.fleet.sealing import Sealer, read_key

    if expires_s is not None and sign_key is None:
        raise click.UsageError("--expires needs --sign-key: only a signature can expire")
    if sign_key is None:
        return Sealer()
    return Sealer(read_key(sign_key), timedelta(seconds=_LASTS_S if expires_s is None else expires_s))


async def confirmed(question: str, *, yes: bool) -> bool:
    """Ask, unless told not to; where nobody can answer the answer is no.

    Raises:
        UsageError: Standard input is no terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: look at what changes, and give --yes")
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    return (await _typed()).strip().lower() in {"y", "yes"}


async def _typed() -> str:
    """Return the next line from the terminal. A thread that reads could not be interrupted."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()  # a terminal is readable when a line is complete


def _target(device: str | None, group: str | None, *, whole_fleet: bool) -> Target:
    from edge_agent.fleet.target import Target

    if (device is not None) + (group is not None) + whole_fleet != 1:
        raise click.UsageError("give one of --device ID, --group NAME and --fleet")
    if device is not None:
        return Target("device", device)
    return Target("group", group) if group is not None else Target("fleet")


async def _set(
    access: Access, target: Target, edits: Sequence[Edit], sealer: Sealer, *, replace: bool, yes: bool, as_json: bool
) -> int:
    from rich.console import Console
    from rich.text import Text

    from edge_agent.cli.fleet_progress import LiveView, answers_line, answers_table
    from edge_agent.cli.fleet_view import difference_table
    from edge_agent.fleet.changing import carry_out, prepare
    from edge_agent.fleet.session import connect
    from edge_agent.fleet.view import FleetView
    from edge_agent.fleet.writing import Operator

    console = Console(highlight=False, stderr=as_json)
    async with connect(access.mqtt, timeout_s=_CONNECT_S) as session:
        operator = Operator(session, FleetView(time.time, sealer), sealer)
        while True:
            editing = await prepare(operator, target, edits, replace=replace)
            if not editing.is_change:
                return _nothing_to_do(target, editing.before.revision, console, as_json=as_json)
            console.print(difference_table(editing.before.differences(editing.document)))
            _warn_of_doubts(editing.document.patch, console)
            members = operator.view.registry.members(target)
            online = sum(device.online is True for device in members)
            if not members:
                console.print(Text(f"! no device is known that takes it; is {target} right?", "yellow"), soft_wrap=True)
            question = f"Publish revision {editing.document.revision} for {target} ({online} of {len(members)} online)?"
            if not await confirmed(question, yes=yes):
                console.print(Text("nothing was published", "dim"))
                return 1
            await operator.hear(_FRESH_S)
            if operator.view.document(target).equals(editing.before):
                break
            console.print(Text("! somebody else has changed the document meanwhile; once more:", "yellow"))
        with LiveView(console) as live:
            outcome = await carry_out(
                operator,
                target,
                editing,
                progress=lambda answers: live.show(
                    lambda: answers_line(answers), lambda: answers_table(answers, operator.view.registry)
                ),
                wait_s=access.timeout(_WAIT_S),
            )
    if as_json:
        click.echo(json.dumps(outcome.as_json(target)))
    else:
        console.print(answers_line(outcome.answers))
        if outcome.answers.failed:
            console.print(answers_table(outcome.answers, operator.view.registry, len(outcome.answers.failed)))
    if outcome.overwritten_by:
        click.echo(f"! somebody else has published revision {outcome.overwritten_by} without these settings", err=True)
    return 0 if outcome.is_success else 1


def _nothing_to_do(target: Target, revision: int, console: Console, *, as_json: bool) -> int:
    if as_json:
        layer = {"layer": target.layer, "name": target.name or None, "revision": revision}
        click.echo(json.dumps({**layer, "ok": True, "devices": {}, "overwritten_by": None}))
    else:
        console.print(f"the document of {target} says so already (revision {revision}); nothing was published")
    return 0


def _warn_of_doubts(patch: Any, console: Console) -> None:  # noqa: ANN401 - whatever the document holds
    from rich.text import Text

    from edge_agent.fleet.check import doubts

    for doubt in doubts(patch):
        console.print(Text(f"! on a device whose own file does not mend it: {doubt}", "yellow"), soft_wrap=True)
