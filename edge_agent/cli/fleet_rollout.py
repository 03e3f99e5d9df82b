"""`edge-agent fleet rollout`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from edge_agent.cli.fleet_change import confirmed, make_sealer, signing_options
from edge_agent.cli.fleet_options import DURATION, SHARE, access_options
from edge_agent.cli.options import WholeNumber, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from edge_agent.cli.fleet_options import Access
    from edge_agent.fleet.canaries import Share
    from edge_agent.fleet.rolling import Prepared, Request, Result
    from edge_agent.fleet.rollout import Rollout
    from edge_agent.fleet.sealing import Sealer
    from edge_agent.fleet.target import Target

_CONNECT_S = 30.0
_REPORT_S = 120.0
_SOAK_S = 600.0


@click.command()
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--canary", type=SHARE, metavar="N|N%", help="How many devices try it first.")
@click.option("--canary-device", "named", multiple=True, metavar="ID", help="A device that tries it; may be repeated.")
@click.option(
    "--then", "then", nargs=1, required=True, metavar="fleet|group:NAME", help="Who gets it when they have stayed well."
)
@click.option("--soak", type=DURATION, default=_SOAK_S, metavar="TIME", help="How long they have to; default: 10m.")
@click.option(
    "--max-failures", type=WholeNumber(min=0), default=0, metavar="N", help="Devices that may fail; default: 0."
)
@click.option("--undo", is_flag=True, help="Take the settings out of the canaries' own documents again, and end.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@signing_options
@access_options
@json_option
def rollout(
    *,
    access: Access,
    settings: tuple[str, ...],
    canary: Share | None,
    named: tuple[str, ...],
    then: str,
    soak: float,
    max_failures: int,
    sign_key: Path | None,
    expires: float | None,
    undo: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Let a few devices try a change, and give it to all when they stay well.

    It pauses by itself, with status 1, when a canary rejects the change, rolls it back, reports a fault, comes under
    critical pressure or goes offline. The same command again goes on where it stopped; --undo takes it back.
    --timeout is how long a device may take for its answer.
    """
    from edge_agent.fleet.check import check_edits
    from edge_agent.fleet.document import UNSET, edits_from
    from edge_agent.fleet.rolling import Request
    from edge_agent.fleet.rollout import Terms
    from edge_agent.runtime import loop

    target = _target(then)
    edits = check_edits(edits_from(settings, ()))
    if any(edit.value is UNSET for edit in edits):
        raise click.UsageError("a rollout sets keys: what a group sets a canary can't be without; use `fleet set`")
    if canary is None and not named and not undo:
        raise click.UsageError("give --canary N or --canary-device ID")
    terms = Terms(soak_s=soak, report_s=access.timeout(_REPORT_S), max_failures=max_failures)
    sealer = make_sealer(sign_key, expires)
    request = Request(edits, target, canary, named, terms)
    if undo:
        return loop.run(_undo(access, request, sealer, yes=yes, as_json=as_json))
    return loop.run(_roll_out(access, request, sealer, yes=yes, as_json=as_json))


def _target(then: str) -> Target:
    from edge_agent.fleet.target import Target

    if then == "fleet":
        return Target("fleet")
    layer, colon, name = then.partition(":")
    if layer != "group" or not colon:
        raise click.BadParameter(f"{then!r} is neither fleet nor group:NAME", param_hint="--then")
    return Target("group", name)


async def _roll_out(access: Access, request: Request, sealer: Sealer, *, yes: bool, as_json: bool) -> int:
    from rich.console import Console
    from rich.text import Text

    from edge_agent.cli.fleet_progress import LiveView
    from edge_agent.cli.fleet_rollout_view import progress_line, progress_table, rollout_json
    from edge_agent.fleet.rolling_through import roll_out

    console = Console(highlight=False, stderr=as_json)
    told = ""

    async def agree(prepared: Prepared) -> bool:
        _show_plan(prepared, console)
        if await confirmed("Begin?" if not prepared.resumed else "Go on?", yes=yes):
            return True
        console.print(Text("nothing was published", "dim"))
        return False

    with LiveView(console) as live:

        def progress(rolling: Rollout, now_s: float) -> None:
            nonlocal told
            if as_json and rolling.stage.value != told:
                told = rolling.stage.value
                click.echo(json.dumps(rollout_json(rolling)))
            live.show(lambda: progress_line(rolling, now_s), lambda: progress_table(rolling))

        result = await roll_out(
            access.mqtt,
            request,
            sealer,
            agree=agree,
            progress=progress,
            say=lambda text: live.say(Text(f"! {text}", "yellow")),
            connect_s=_CONNECT_S,
        )
    if result is None:
        return 1
    if as_json:
        click.echo(json.dumps(result.as_json()))
    _show_result(result, console)
    return 0 if result.paused_in is None else 1


async def _undo(access: Access, request: Request, sealer: Sealer, *, yes: bool, as_json: bool) -> int:
    from rich.console import Console

    from edge_agent.cli.fleet_view import difference_table
    from edge_agent.fleet.rolling import undo
    from edge_agent.fleet.session import connect
    from edge_agent.fleet.view import FleetView
    from edge_agent.fleet.writing import Operator

    console = Console(highlight=False, stderr=as_json)
    async with connect(access.mqtt, timeout_s=_CONNECT_S) as session:
        operator = Operator(session, FleetView(time.time, sealer), sealer)
        changes = await undo(operator, request.target, request.edits)
        if changes:
            first = next(iter(changes.values()))
            console.print(difference_table(first.before.differences(first.document)))
            names = ", ".join(target.name for target in changes)
            console.print(f"for {len(changes)} device{'' if len(changes) == 1 else 's'}: {names}", soft_wrap=True)
            if not await confirmed("Take these settings out of their own documents?", yes=yes):
                console.print("nothing was published")
                return 1
            await operator.write(changes)
        else:
            console.print("no device has these settings in its own document; nothing was published")
        if operator.view.document(request.target).holds(request.edits):
            console.print(f"! {request.target} has them: `edge-agent fleet set` changes that", soft_wrap=True)
    if as_json:
        click.echo(json.dumps({"undone": [target.name for target in changes]}))
    return 0


def _show_plan(prepared: Prepared, console: Console) -> None:
    from edge_agent.cli.fleet_view import difference_table

    request = prepared.request
    if prepared.differences:
        console.print(difference_table(prepared.differences))
    else:
        console.print(f"{request.target} has these settings already")
    new = [canary for canary in prepared.canaries if canary not in prepared.resumed]
    if prepared.resumed:
        console.print(f"canaries from an earlier run: {', '.join(sorted(prepared.resumed))}", soft_wrap=True)
    if new:
        console.print(f"canaries: {', '.join(new)}", soft_wrap=True)
    console.print(f"then, after {request.terms.soak_s:g} s without trouble: {request.target}")


def _show_result(result: Result, console: Console) -> None:
    from rich.text import Text

    for device, why in sorted(result.failures.items()):
        console.print(Text(f"{device}  ", "bold").append(why, "yellow"), soft_wrap=True)
    if result.paused_in is None:
        console.print(Text("done", "bold green").append(f": {result.prepared.request.target} has it"))
        if result.kept:
            text = f"still in their own documents, which does no harm; --undo takes it out: {', '.join(result.kept)}"
            console.print(Text(text, "dim"), soft_wrap=True)
        return
    console.print(Text(f"paused in {result.paused_in.value}", "bold red"))
    console.print("the same command again goes on; with --undo it takes the settings from the canaries", soft_wrap=True)
    if result.wide is not None:
        from edge_agent.fleet.document import UNSET, shown

        target = result.prepared.request.target
        old = [
            f"{one.key}={'' if one.before is UNSET else shown(one.before, 1000)}" for one in result.prepared.differences
        ]
        if old:
            console.print(f"for {target} as it was before, set: {' '.join(old)}", soft_wrap=True)
