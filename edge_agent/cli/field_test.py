"""`edge-agent field-test`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import Number, WholeNumber, config_option, json_option, listed, load

if TYPE_CHECKING:
    from edge_agent.app.field.report import FieldReport
    from edge_agent.app.field.step import Plan
    from edge_agent.cli.field_view import FieldView
    from edge_agent.config.schema import Config

_DEFAULT_MINUTES = 10.0
_MOST_MINUTES = 24 * 60


@click.command(name="field-test")
@click.option(
    "--minutes",
    type=Number(0.05, _MOST_MINUTES),
    default=_DEFAULT_MINUTES,
    show_default=True,
    help="How long the load lasts.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where the reports go; default: here.",
)
@click.option(
    "--only", multiple=True, metavar="STEP[,STEP…]", help="Make these steps alone, such as microphone,commands."
)
@click.option(
    "--unattended", is_flag=True, help="Nobody is here: ask nothing; the device's own voice gives the commands."
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="STEP=yes|no",
    help="Answer a question beforehand: speaker=yes (heard), light=yes (seen).",
)
@click.option(
    "--recordings",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Play these commands: *.wav, each with its words in a .txt; wake words in wake/*.wav.",
)
@click.option("--play-to", metavar="DEVICE", help="Speaker for commands that are played; default: the configured one.")
@click.option("--wake-times", type=WholeNumber(1, 50), default=5, show_default=True, help="Wake words to say.")
@click.option("--patience", type=Number(1, 600), default=20, show_default=True, help="Seconds for each answer.")
@click.option("--mqtt/--no-mqtt", default=True, help="Tell the broker of the result; default: where one is configured.")
@click.option("--strict", is_flag=True, help="Status 1 also where a step was not done.")
@config_option
@json_option
def field_test(  # noqa: PLR0917 - click gives them by name
    minutes: float,
    out: Path,
    only: tuple[str, ...],
    answers: tuple[str, ...],
    recordings: Path | None,
    play_to: str | None,
    wake_times: int,
    patience: float,
    config_file: Path | None,
    *,
    unattended: bool,
    mqtt: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Try everything on this device: sound, pins, commands, speed, minutes of load; write a report.

    Status 1 where a step fails. The service must not run meanwhile.
    """
    from edge_agent.app.field.step import STEPS, Plan
    from edge_agent.cli.field_view import FieldView
    from edge_agent.devices.hush import hushed
    from edge_agent.runtime.logs import logging_to

    plan = Plan(
        minutes=minutes,
        out=out,
        only=listed(only, STEPS),
        recordings=recordings,
        play_to=play_to,
        wake_times=wake_times,
        publishes=mqtt,
        patience_s=patience,
    )
    is_there = not unattended and not as_json and sys.stdin.isatty()
    view = FieldView(is_shown=not as_json, is_there=is_there, answers=_answers(answers))
    config = load(config_file)
    with logging_to(sys.stderr, "error"), hushed(), view:
        report, paths, untold = _make(config, plan, view)
    if as_json:
        told = {"path": str(paths[0]), "published": not untold, "unpublished_because": untold or None}
        click.echo(json.dumps({**report.as_json(), "report": told}, ensure_ascii=False))
    else:
        view.end(report, paths, untold)
    return int(report.verdict == "failed" or (strict and report.verdict != "passed"))


def _make(config: Config, plan: Plan, view: FieldView) -> tuple[FieldReport, tuple[Path, Path], str]:
    from edge_agent.app.doctor import Surroundings
    from edge_agent.app.field.report import ReportFileError, prepare
    from edge_agent.app.field.run import FieldTest
    from edge_agent.app.field.telling import tell_broker
    from edge_agent.devices.portaudio import choose_device
    from edge_agent.errors import DeviceError
    from edge_agent.runtime import loop

    if plan.play_to is not None:
        with suppress(DeviceError):  # no sound at all: the steps tell of that
            choose_device("speaker", plan.play_to)
    prepare(plan.out)
    around = Surroundings()
    test = FieldTest(config, plan, view, around, on_begin=view.begin, on_result=view.result, on_sample=view.sample)
    report = loop.run(test.run())
    try:
        paths = report.write(plan.out)
    except OSError as error:  # the disk has filled up meanwhile, say: what was found is not to be lost with the file
        click.echo(json.dumps(report.as_json(), ensure_ascii=False))
        raise ReportFileError(plan.out, error.strerror or str(error)) from error
    untold = loop.run(tell_broker(config, around, report, paths[0].resolve())) if plan.publishes else "--no-mqtt"
    return report, paths, untold


def _answers(given: tuple[str, ...]) -> dict[str, bool]:
    found = {}
    for answer in given:
        step, _, word = answer.partition("=")
        if step not in {"speaker", "light"} or word not in {"yes", "no"}:
            raise click.BadParameter(
                f"{answer!r} is not speaker=yes, speaker=no, light=yes or light=no", param_hint="--answer"
            )
        found[step] = word == "yes"
    return found
