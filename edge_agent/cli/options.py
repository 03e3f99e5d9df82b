"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def listed(given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names that `--only` was given, by commas or one after the other; none given: none.

    Raises:
        BadParameter: A name is not known, or none was named.
    """
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    wanted = tuple(dict.fromkeys(name.replace("-", "_").replace(" ", "_") for name in names))
    if given and not wanted:
        raise click.BadParameter(f"names none of {', '.join(known)}", param_hint="--only")
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--only")
    return wanted


class Number(click.FloatRange):
    """A number between limits, refused in plain words."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """Return the number."""
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number", param, ctx)
        if _is_outside(found, self.min, self.max):
            self.fail(f"must be {_limits(self.min, self.max)}, not {value}", param, ctx)
        return found


class WholeNumber(click.IntRange):
    """A whole number between limits, refused in plain words."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's
        """Return the number."""
        try:
            found = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is no whole number", param, ctx)
        if _is_outside(found, self.min, self.max):
            self.fail(f"must be {_limits(self.min, self.max)}, not {value}", param, ctx)
        return found


def _is_outside(number: float, least: float | None, most: float | None) -> bool:
    return (least is not None and number < least) or (most is not None and number > most)


def _limits(least: float | None, most: float | None) -> str:
    if most is None:
        return f"{least:g} or more"
    return f"{most:g} or less" if least is None else f"from {least:g} to {most:g}"


def load(config_file: Path | None) -> Config:
    """Load the configuration that a command was given."""
    from edge_agent.config.load import load_config

    return load_config(config_file)
