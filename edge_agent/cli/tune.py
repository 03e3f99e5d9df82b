"""`edge-agent tune`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, json_option, load

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--quick", is_flag=True, help="A minute instead of several: rougher figures.")
@click.option("--dry-run", is_flag=True, help="Store nothing.")
@config_option
@json_option
def tune(config_file: Path | None, *, quick: bool, dry_run: bool, as_json: bool) -> int:
    """Measure this board: how many threads serve language model and voice best, alone and together.

    What is found is stored, and the service shares its cores by it from its next start on. Status 1 where the board was
    slowed down or busy meanwhile: the figures are then not to be trusted, and not used.
    """
    from edge_agent.app.tune.tuning import FULL, QUICK, check_is_quiet, check_may_tune, keep
    from edge_agent.app.tune.tuning import tune as measure
    from edge_agent.cli.bench_view import ProgressLine
    from edge_agent.cli.tune_view import print_tuned
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to
    from edge_agent.runtime.sensors import Sensors

    config = load(config_file)
    before = Sensors(cores=os.cpu_count() or 1).read()
    state = None
    if dry_run:
        check_is_quiet()
    else:
        state = check_may_tune(config)
    with logging_to(sys.stderr, "warning"), ProgressLine(sys.stderr) as line:
        tuned = loop.run(measure(config, QUICK if quick else FULL, line.show, before))
    if as_json:
        click.echo(tuned.model_dump_json())
    else:
        print_tuned(tuned)
    if state is not None:
        path, refusal = keep(state, tuned)
        advice = "it counts from the service's next start on"
        click.echo(f"! {refusal}: {path}" if refusal else f"stored in {path}: {advice}", err=True)
    return int(bool(tuned.tainted))
