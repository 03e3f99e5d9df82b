"""`edge-agent config`: show, check, schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_agent.cli.options import config_option, json_option, load


@click.group()
def config() -> None:
    """Show, check or describe the configuration."""


@config.command()
@config_option
@json_option
def show(config_file: Path | None, *, as_json: bool) -> None:
    """Print the effective configuration: defaults, file, environment."""
    loaded = load(config_file)
    if as_json:
        click.echo(loaded.model_dump_json(indent=2))
        return
    from edge_agent.config.show import as_toml

    click.echo(as_toml(loaded), nl=False)


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
