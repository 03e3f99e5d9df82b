"""`edge-agent bench`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.options import Number, config_option, json_option, load

if TYPE_CHECKING:
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.config.schema import Config

_IDLE_S, _QUICK_IDLE_S, _QUICK_SETTLE_S = 600.0, 30.0, 8.0
_PARTS = {
    "concurrency": ("dispatch", "scheduler", "ledger", "capture", "stopping", "memory"),
    "conversation": ("llm", "intent", "features", "barge_in", "endpoint", "soak"),
    "mqtt": ("outbox", "fleet", "voice"),
}
"""Said here again because importing them loads engines."""
_PICTURES = (".png", ".svg", ".pdf")
_ALL_PARTS = tuple(part for parts in _PARTS.values() for part in parts)


@click.command()
@click.argument("name", type=click.Choice(["concurrency", "conversation", "idle", "mqtt", "soak"]), metavar="NAME")
@click.option("--quick", is_flag=True, help="A few minutes instead of an hour: enough to see what is badly wrong.")
@click.option(
    "--only",
    type=click.Choice(_ALL_PARTS),
    multiple=True,
    help="concurrency, conversation, mqtt: measure this part; may be repeated.",
)
@click.option("--seconds", type=Number(min=1), help="How long to listen; default: 600, with --quick 20 or 30.")
@click.option("--minutes", type=Number(min=0.5), help="soak: how long; default: 30, with --quick 3.")
@click.option("--every-s", type=Number(10, 120), help="soak: between two commands; default: 20.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png", help="Draw the results.")
@click.option("--device", default="", metavar="NAME", help="idle: microphone, by number or part of its name.")
@click.option(
    "--null-microphone", is_flag=True, help="idle: no microphone; listen to a private PulseAudio's null sink."
)
@click.option(
    "--speech",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="conversation, soak: recordings, in coffee, read, cards and home; without them Flite speaks.",
)
@click.option(
    "--vosk",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="conversation: the Vosk model to hear with.",
)
@click.option(
    "--intents",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    metavar="FILE",
    help="conversation: intents of the recordings in coffee; `endpoint` leaves them out without.",
)
@config_option
@json_option
def bench(
    name: str,
    *,
    only: tuple[str, ...],
    seconds: float | None,
    minutes: float | None,
    every_s: float | None,
    plot: Path | None,
    device: str,
    speech: Path | None,
    vosk: Path | None,
    intents: tuple[Path, ...],
    config_file: Path | None,
    quick: bool,
    null_microphone: bool,
    as_json: bool,
) -> int:
    """Measure this machine: NAME is concurrency, conversation, idle, mqtt or soak.

    Every figure stands beside its reference, measured in the same run. The status is 0 whatever the figures are.
    """
    parts = _PARTS.get(name, ())
    if unknown := [part for part in only if part not in parts]:
        has = f"only {', '.join(parts)}" if parts else "none"
        raise click.BadParameter(f"{name} has no part {unknown[0]}: it has {has}", param_hint="--only")
    _refuse_others(
        name,
        {
            "--speech": (speech, ("conversation", "soak")),
            "--vosk": (vosk, ("conversation",)),
            "--intents": (intents, ("conversation",)),
            "--device": (device, ("idle",)),
            "--null-microphone": (null_microphone, ("idle",)),
            "--minutes": (minutes, ("soak",)),
            "--every-s": (every_s, ("soak",)),
        },
    )
    from edge_agent.cli.bench_view import ProgressLine, print_findings
    from edge_agent.runtime.logs import logging_to

    config = load(config_file)
    if plot is not None:
        from edge_agent.bench.extras import need

        # An hour later would be too late to find out.
        _check_plot(plot)
        need("matplotlib")
    with logging_to(sys.stderr, "warning"), ProgressLine(sys.stderr) as line:
        if name == "concurrency":
            findings = _concurrency(config, line.show, only=only or parts, seconds=seconds, quick=quick)
        elif name == "conversation":
            spoken = {"speech": speech, "vosk": vosk, "orders": intents}
            findings = _conversation(config, line.show, only=only or parts, quick=quick, spoken=spoken)
        elif name == "mqtt":
            findings = _mqtt(line.show, only=only or parts, quick=quick)
        elif name == "soak":
            findings = _soak(line.show, minutes=minutes, every_s=every_s, quick=quick, speech=speech)
        else:
            findings = _idle(line.show, seconds=seconds, quick=quick, device=device, null_microphone=null_microphone)
    if as_json:
        click.echo(json.dumps(findings.document(name)))
    else:
        print_findings(findings, name)
    if plot is not None:
        from edge_agent.bench.plot import draw

        draw(findings, plot, f"edge-agent bench {name}")
    return 0


def _check_plot(plot: Path) -> None:
    directory = plot.absolute().parent
    reason = ""
    if plot.suffix.lower() not in _PICTURES:
        reason = f"must end in {', '.join(_PICTURES)}"
    elif not directory.is_dir():
        reason = f"there is no directory {directory}"
    elif not os.access(plot if plot.exists() else directory, os.W_OK):
        reason = "may not be written by you"
    if reason:
        raise click.BadParameter(f"{plot}: {reason}", param_hint="--plot")


def _refuse_others(name: str, options: dict[str, tuple[object, tuple[str, ...]]]) -> None:
    """Refuse an option that was given and is for other benchmarks."""
    for option, (value, names) in options.items():
        if value and name not in names:
            raise click.BadParameter(f"is for {' and '.join(names)}", param_hint=option)


def _concurrency(
    config: Config, progress: Progress, *, only: tuple[str, ...], seconds: float | None, quick: bool
) -> Findings:
    from edge_agent.bench.concurrency import FULL, QUICK, measure
    from edge_agent.runtime import loop

    size = QUICK if quick else FULL
    if seconds is not None:
        size = dataclasses.replace(size, capture_s=seconds)
    return loop.run(measure(config, size, only, progress))


def _conversation(
    config: Config,
    progress: Progress,
    *,
    only: tuple[str, ...],
    quick: bool,
    spoken: dict[str, Any],
) -> Findings:
    from edge_agent.bench.conversation import FULL, QUICK, measure
    from edge_agent.runtime import loop

    return loop.run(measure(config, QUICK if quick else FULL, only, progress, **spoken))


def _mqtt(progress: Progress, *, only: tuple[str, ...], quick: bool) -> Findings:
    from edge_agent.bench.mqtt import FULL, QUICK, measure
    from edge_agent.runtime import loop

    return loop.run(measure(QUICK if quick else FULL, only, progress))


def _soak(
    progress: Progress, *, minutes: float | None, every_s: float | None, quick: bool, speech: Path | None
) -> Findings:
    from edge_agent.bench.soak import EVERY_S, MINUTES, QUICK_MINUTES, measure
    from edge_agent.runtime import loop

    length = minutes or (QUICK_MINUTES if quick else MINUTES)
    return loop.run(measure(progress, minutes=length, every_s=every_s or EVERY_S, speech=speech))


def _idle(progress: Progress, *, seconds: float | None, quick: bool, device: str, null_microphone: bool) -> Findings:
    from edge_agent.bench.idle import SETTLE_S, measure
    from edge_agent.runtime import loop

    return loop.run(
        measure(
            progress,
            seconds=seconds or (_QUICK_IDLE_S if quick else _IDLE_S),
            device=device,
            no_microphone=null_microphone,
            settle_s=_QUICK_SETTLE_S if quick else SETTLE_S,
        )
    )
