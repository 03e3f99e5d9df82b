"""`edge-agent run`, `converse` and `ask`."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option, json_option
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from edge_agent.config.load import OwnConfig
    from edge_agent.pipeline.observer import Observer


@contextmanager
def _traced(own: OwnConfig) -> Iterator[None]:
    """Have a wrong key told with the file or the variable that set it."""
    try:
        yield
    except ConfigError as error:
        raise own.traced(error) from error


def _view(*, as_json: bool) -> AbstractContextManager[Observer]:
    from edge_agent.cli.console import ConsoleView, JsonLines

    return nullcontext(JsonLines()) if as_json else ConsoleView()


def _service_view(*, as_json: bool) -> AbstractContextManager[Observer]:
    """What is said is not for the journal: there the log tells of each turn, by the owner's choice of what."""
    from edge_agent.pipeline.observer import SilentObserver
    from edge_agent.runtime.logs import is_journal

    return nullcontext(SilentObserver()) if is_journal(sys.stdout) else _view(as_json=as_json)


def _log_level(configured: str, *, quiet: bool) -> str:
    """A person at a terminal sees the conversation; the log adds warnings only, unless `debug` is asked for."""
    return "warning" if quiet and configured == "info" else configured


@click.command()
@config_option
@json_option
def run(config_file: Path | None, *, as_json: bool) -> int:
    """Hold conversations through microphone and speaker until SIGTERM or Ctrl-C."""
    # Until the loop has handlers of its own: stopping a service that is still starting is no failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    from edge_agent.app.live import serve
    from edge_agent.config.load import read_own
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to

    # What a process that hangs or crashes was doing goes to standard error: the watchdog's signal is SIGABRT.
    with suppress(RuntimeError, OSError, ValueError):  # there is none
        faulthandler.enable()
    own = read_own(config_file)
    config = own.under()
    quiet = sys.stdout.isatty() and not as_json

    def set_log_level(level: str) -> None:
        logging.getLogger("edge_agent").setLevel(_log_level(level, quiet=quiet).upper())

    level = _log_level(config.log_level, quiet=quiet)
    with logging_to(sys.stderr, level) as logs, _service_view(as_json=as_json) as view, _traced(own):
        loop.run(serve(own, view, logs, set_log_level, lambda: read_own(config_file)))
    return 0


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.wav...")
@click.option("--fast", is_flag=True, help="As fast as the machine can, instead of in real time.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Save replies there.")
@config_option
@json_option
def converse(
    recordings: tuple[Path, ...], config_file: Path | None, out: Path | None, *, fast: bool, as_json: bool
) -> int:
    """Hold the conversation that the recordings, in their order, begin."""
    from edge_agent.app.recorded import hold
    from edge_agent.config.load import read_own
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to

    own = read_own(config_file)
    config = own.under()
    logged = logging_to(sys.stderr, _log_level(config.log_level, quiet=True))
    with logged, _view(as_json=as_json) as view, _traced(own):
        loop.run(hold(config, recordings, view, fast=fast, out=out))
    return 0


@click.command()
@click.argument("text", nargs=-1, required=True)
@config_option
@json_option
def ask(text: tuple[str, ...], config_file: Path | None, *, as_json: bool) -> int:
    """Answer TEXT in writing: local intents first, then the language model."""
    import json

    words = " ".join("".join(part if part.isprintable() else " " for part in " ".join(text)).split())
    if not words:
        raise click.BadParameter("is empty; write a question", param_hint="TEXT")
    from edge_agent.app.typed import answer_text
    from edge_agent.config.load import read_own
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to

    own = read_own(config_file)
    config = own.under()
    with logging_to(sys.stderr, _log_level(config.log_level, quiet=True)), _traced(own):
        report = loop.run(answer_text(config, words))
    if as_json:
        click.echo(json.dumps(report.as_json(), ensure_ascii=False))
    elif report.reply:
        click.echo(report.reply)
    return 0
