"""`edge-agent config`: show, check, schema, reset-remote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, json_option, load

if TYPE_CHECKING:
    from edge_agent.app.remote_layers import InForce
    from edge_agent.config.load import OwnConfig
    from edge_agent.config.schema import Config
    from edge_agent.store.revisions import RevisionStore


@click.group()
def config() -> None:
    """Show, check or describe the configuration."""


@config.command()
@click.option("--sources", "with_sources", is_flag=True, help="Print what is not a default, and what set it, instead.")
@click.option("--local", is_flag=True, help="Without remote documents: defaults, file and environment alone.")
@config_option
@json_option
def show(config_file: Path | None, *, with_sources: bool, local: bool, as_json: bool) -> None:
    """Print the effective configuration: defaults, file, environment, remote documents that the device accepted."""
    from edge_agent.config.load import read_own

    own = read_own(config_file)
    standing = _in_force(own, local=local)
    if with_sources:
        _show_sources(own, standing, as_json=as_json)
    elif as_json:
        click.echo(standing.config.model_dump_json(indent=2))
    else:
        from edge_agent.config.show import as_toml

        click.echo(as_toml(standing.config), nl=False)
        for layer in standing.layers.values():
            click.echo(f"# remote: {layer}")


def _in_force(own: OwnConfig, *, local: bool) -> InForce:
    from edge_agent.app.remote_layers import in_force
    from edge_agent.mqtt.identity import default_device_id
    from edge_agent.store.revisions import RemoteState

    config = own.under()
    device_id = config.device_id or default_device_id()
    if local:
        return in_force(own, RemoteState(), device_id)
    loaded = _revisions(config).load()
    standing = in_force(own, loaded.state, device_id)
    left_out = [
        f"{name} is left out: {error.message}" for name, errors in standing.left_out.items() for error in errors
    ]
    for note in (*loaded.faults, *left_out):
        click.echo(f"edge-agent: {note}", err=True)
    return standing


def _revisions(config: Config) -> RevisionStore:
    from edge_agent.app.places import find_places
    from edge_agent.store.revisions import FILE_NAME, RevisionStore

    return RevisionStore(find_places(config.directories).state / FILE_NAME)


def _show_sources(own: OwnConfig, standing: InForce, *, as_json: bool) -> None:
    from edge_agent.config.effective import sources

    found = sources(own, list(standing.layers.values()))
    tree = standing.config.model_dump(mode="json")
    if as_json:
        revisions = {name: layer.revision for name, layer in standing.layers.items()}
        shown = {"config": tree, "sources": found, "remote": revisions, "hash": standing.hash}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for key, source in found.items():
        click.echo(f"{key} = {json.dumps(_value(tree, key), ensure_ascii=False)}  # {source}")


def _value(tree: object, key: str) -> object:
    """Return what stands at a dotted key; a part of it, such as the name of an output, may hold dots, too."""
    if not key or not isinstance(tree, dict):
        return tree
    name = max((name for name in tree if key == name or key.startswith(f"{name}.")), key=len, default=None)
    return None if name is None else _value(tree[name], key[len(name) + 1 :])


@config.command(name="reset-remote")
@click.option("--forget", is_flag=True, help="Forget their revisions, too: what the broker retains is taken again.")
@config_option
def reset_remote(config_file: Path | None, *, forget: bool) -> None:
    """Throw away every remote change that this device accepted; the service must not run.

    What the broker still retains is not taken again, a higher revision is. To take nothing at all, set
    remote.configuration = false in the file.
    """
    from datetime import UTC, datetime

    from edge_agent.app.remote_report import written
    from edge_agent.app.remote_verdicts import thrown_away
    from edge_agent.errors import BadInputError
    from edge_agent.store.revisions import RemoteState

    if _service_runs():
        raise BadInputError("the service runs and would write them back: stop it first (systemctl stop edge-agent)")
    store = _revisions(load(config_file))
    loaded = store.load()
    for fault in loaded.faults:
        click.echo(f"edge-agent: {fault}", err=True)
    known = {name: record.accepted for name, record in loaded.state.layers.items() if record.accepted is not None}
    if loaded.state == RemoteState() and not loaded.faults:
        click.echo("nothing was accepted, and nothing is thrown away")
        return
    store.save(RemoteState() if forget else thrown_away(loaded.state, written(datetime.now(UTC))))
    for name, document in known.items():
        click.echo(f"{name} revision {document.revision}: thrown away")
    click.echo("all revisions are forgotten" if forget else f"{len(known)} thrown away; start the service again")


def _service_runs() -> bool:
    from edge_agent.errors import ServiceError
    from edge_agent.gateway.client import ask_service
    from edge_agent.gateway.places import sockets_to_ask

    try:
        ask_service(sockets_to_ask(), {"get": "status"})
    except ServiceError:
        return False
    return True


@config.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@config_option
def check(file: Path | None, config_file: Path | None) -> None:
    """Check FILE, the environment, and the files they name; print every problem, one line a key."""
    from edge_agent.app.check import check_files
    from edge_agent.config.load import default_file

    path = file or config_file or default_file()
    loaded = load(path)
    check_files(loaded, str(path or "defaults"))
    click.echo(f"{path or 'no configuration file: defaults'}: ok")


@config.command()
@click.option("--markdown", is_flag=True, help="A table for people instead.")
def schema(*, markdown: bool) -> None:
    """Print the configuration's JSON schema."""
    if markdown:
        from edge_agent.config.describe import as_markdown

        click.echo(as_markdown(), nl=False)
        return
    from edge_agent.config.schema import Config

    click.echo(json.dumps(Config.model_json_schema(), indent=2))
