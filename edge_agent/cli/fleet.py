"""`edge-agent fleet`: look at devices, and the group of its commands."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.cli.fleet_change import set_command
from edge_agent.cli.fleet_options import access_options
from edge_agent.cli.fleet_rollout import rollout
from edge_agent.cli.fleet_watch import watch
from edge_agent.cli.options import json_option

if TYPE_CHECKING:
    from edge_agent.cli.fleet_options import Access
    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.fleet.device import Device
    from edge_agent.fleet.target import Target
    from edge_agent.fleet.view import FleetView

_READ_S = 30.0
_SHOWN = 50


@click.group()
def fleet() -> None:
    """Watch and change many devices over MQTT."""


@fleet.command("list")
@click.option("--group", metavar="NAME", help="Only devices of this group.")
@click.option("--trouble", is_flag=True, help="Only devices that are not well.")
@click.option("--all", "show_all", is_flag=True, help=f"Show all, and not only the {_SHOWN} that are worst.")
@access_options
@json_option
def list_command(access: Access, group: str | None, *, trouble: bool, show_all: bool, as_json: bool) -> int:
    """List the devices that the broker knows, the worst first."""
    from edge_agent.fleet.target import Target
    from edge_agent.runtime import loop

    target = Target("group", group) if group else Target("fleet")
    view, is_complete = loop.run(_read(access.mqtt, access.timeout(_READ_S)))
    found = [
        device
        for device in view.registry.worst(len(view.registry))
        if target.takes_in(device) and (not trouble or device.trouble)
    ]
    if as_json:
        for device in found:
            click.echo(json.dumps(device.as_json()))
    else:
        from edge_agent.cli.fleet_view import print_devices

        print_devices(found, view.registry, most=None if show_all else _SHOWN)
    _say_what_is_missing(view, is_complete=is_complete)
    return 0 if is_complete else 1


@fleet.command()
@click.argument("device")
@access_options
@json_option
def show(access: Access, device: str, *, as_json: bool) -> int:
    """Show everything that is known of DEVICE, and what became of its last change."""
    from edge_agent.fleet.errors import UnknownFleetDeviceError
    from edge_agent.fleet.target import Target
    from edge_agent.runtime import loop

    target = Target("device", device)
    view, is_complete = loop.run(_read(access.mqtt, access.timeout(_READ_S), target))
    found = view.registry.get(device)
    if found is None:
        raise UnknownFleetDeviceError(device, "" if is_complete else " (not all was received in time)")
    if as_json:
        click.echo(json.dumps({**found.as_json(), "documents": _documents(view, found)}))
    else:
        from edge_agent.cli.fleet_view import print_device

        print_device(found, _documents(view, found))
    return 0


@fleet.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def keygen(file: Path) -> int:
    """Make a key for signing changes: the private half goes to FILE, the public one is printed.

    With the public half in a device's own configuration only changes count that were signed with the private one.
    """
    from edge_agent.fleet.sealing import write_new_key

    public = write_new_key(file)
    click.echo(f'[remote]\npublic_key = "{public}"')
    click.echo(
        f"The private key is in {file}: keep it off the devices and off the broker, and keep a copy. "
        "Put the lines above into each device's configuration file.",
        err=True,
    )
    return 0


fleet.add_command(set_command)
fleet.add_command(rollout)
fleet.add_command(watch)


async def _read(mqtt: MqttConfig, timeout_s: float, target: Target | None = None) -> tuple[FleetView, bool]:
    """Read what is retained of all devices, or of one with the documents that it takes."""
    from edge_agent.fleet.changing import read_members
    from edge_agent.fleet.session import connect
    from edge_agent.fleet.target import Target
    from edge_agent.fleet.view import FleetView

    view = FleetView(time.time)
    async with connect(mqtt, timeout_s=timeout_s) as session:
        wanted = target or Target("fleet")
        is_complete = await read_members(session, wanted, view.take, timeout_s)
        if target is not None and (device := view.registry.get(target.name)) is not None:
            layers = [Target("fleet"), *(Target("group", group) for group in device.groups), target]
            for layer in layers:
                view.follow(layer)
            is_complete = is_complete and await session.read_retained(
                [layer.topic for layer in layers], view.take, timeout_s
            )
    return view, is_complete


def _documents(view: FleetView, device: Device) -> list[dict[str, object]]:
    from edge_agent.fleet.errors import UnusableDocumentError
    from edge_agent.fleet.target import Target

    found: list[dict[str, object]] = []
    for layer in (Target("fleet"), *(Target("group", group) for group in device.groups), Target("device", device.id)):
        try:
            document = view.document(layer)
        except UnusableDocumentError as error:
            found.append({"layer": str(layer), "error": error.reason})
            continue
        if document.revision:
            found.append({"layer": str(layer), "revision": document.revision, "patch": document.patch})
    return found


def _say_what_is_missing(view: FleetView, *, is_complete: bool) -> None:
    registry = view.registry
    if registry.strange:
        click.echo(
            f"! {registry.strange} messages under topics of no device, such as {registry.strange_example}", err=True
        )
    if registry.beyond:
        click.echo(f"! {registry.beyond} messages of devices beyond the first {len(registry)} were left out", err=True)
    if not is_complete:
        click.echo("! not all was received in time; give a longer --timeout", err=True)
    sys.stderr.flush()
