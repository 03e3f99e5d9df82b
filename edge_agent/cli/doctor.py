"""`edge-agent doctor`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, json_option, listed, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.app.doctor import CheckResult, NamedCheck
    from edge_agent.config.schema import Config

_WHOLLY_CONFIGURED = frozenset({"broker", "gpio"})
"""Checks that would say of the defaults what nobody wants to know."""
_LEFT = "broker and gpio are left out, and what follows is of the defaults"


@click.command()
@config_option
@json_option
@click.option("--sound/--no-sound", default=True, help="Open microphone and speaker, and play a whistle; default: yes.")
@click.option("--only", multiple=True, metavar="NAME[,NAME…]", help="Make these checks alone, such as broker,clock.")
def doctor(config_file: Path | None, only: tuple[str, ...], *, as_json: bool, sound: bool) -> int:
    """Check board, disk, clock, service, models, pins, broker and sound; status 1 where something is at fault."""
    from edge_agent.app.doctor import Surroundings, examine, make_checks
    from edge_agent.cli.doctor_view import DoctorView
    from edge_agent.devices.hush import hushed
    from edge_agent.runtime.logs import logging_to

    view = DoctorView(is_shown=not as_json)
    around = Surroundings(
        on_level=view.level,
        on_prompt=view.prompt if view.is_live and sys.stdin.isatty() else None,
        listen_s=4.0 if view.is_live else 2.0,
    )
    checks = _chosen(make_checks(around, sound=sound), only)
    config, problem = _load_or_tell(config_file)
    with logging_to(sys.stderr, "error"), hushed(), view:
        if problem is not None:
            checks = [check for check in checks if check.name not in _WHOLLY_CONFIGURED]
        found = [] if problem is None else [problem]
        view.expect([*(result.name for result in found), *(check.name for check in checks)])
        for result in found:
            view.result(result)
        found += examine(config, checks, on_begin=view.begin, on_result=view.result)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found], ensure_ascii=False))
    else:
        view.summary(found)
    status = int(any(result.verdict == "fault" for result in found))
    if any("it took longer than" in result.message for result in found):
        _leave(status)
    return status


def _chosen(checks: Sequence[NamedCheck], only: tuple[str, ...]) -> list[NamedCheck]:
    wanted = listed(only, sorted(check.name for check in checks))
    return [check for check in checks if not wanted or check.name in wanted]


def _load_or_tell(config_file: Path | None) -> tuple[Config, CheckResult | None]:
    """Return the configuration, or the defaults and what is wrong with it.

    Raises:
        ConfigError: The file that was named on the command line has problems.
    """
    from edge_agent.app.doctor import CheckResult
    from edge_agent.config.load import default_file
    from edge_agent.config.schema import Config
    from edge_agent.errors import ConfigError

    try:
        return load(config_file), None
    except ConfigError as error:
        if config_file is not None:
            raise
        path = default_file()
        lines = "; ".join(str(error).splitlines())
        if path is not None and not os.access(path, os.R_OK):
            message = f"you may not read {path}: {_LEFT}"
            return Config(), CheckResult("configuration", "warning", message, "sudo edge-agent doctor")
        message = f"{lines}; {_LEFT}"
        return Config(), CheckResult("configuration", "fault", message, "correct it: edge-agent config check")


def _leave(status: int) -> None:
    """End at once: a check that hangs in a library would be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
