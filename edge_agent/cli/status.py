"""`edge-agent status`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_agent.cli.options import json_option


@click.command()
@click.option("--socket", "socket_file", type=click.Path(path_type=Path), metavar="PATH", help="The service's socket.")
@json_option
def status(socket_file: Path | None, *, as_json: bool) -> int:
    """Show how the running service is doing, and what limits it."""
    from edge_agent.gateway.client import ask_service
    from edge_agent.gateway.places import sockets_to_ask

    found = ask_service(socket_file or sockets_to_ask(), {"get": "status"})
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return 0
    from edge_agent.cli.status_view import print_status

    print_status(found)
    return 0
