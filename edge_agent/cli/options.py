"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.schema import Config

config_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration; default: $EDGE_AGENT_CONFIG, /etc/edge-agent/config.toml, ~/.config/edge-agent/config.toml.",
)
json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs, and nothing else, on standard output."
)


def load(config_file: Path | None) -> Config:
    """Load the configuration that a command was given."""
    from edge_agent.config.load import load_config

    return load_config(config_file)
