"""`edge-agent say`, `transcribe` and `devices`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edge_agent.cli.options import config_option, json_option, load


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.wav", help="Speak into a file.")
@config_option
def say(text: tuple[str, ...], out: Path | None, config_file: Path | None) -> int:
    """Speak TEXT aloud, or into a WAV file, replacing it."""
    if not any(character.isalnum() for part in text for character in part):
        raise click.BadParameter("holds nothing that can be spoken", param_hint="TEXT")
    from edge_agent.app.spoken import say_text
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to

    config = load(config_file)
    with logging_to(sys.stderr, "warning"):
        loop.run(say_text(config, " ".join(text), out))
    return 0


@click.command()
@click.argument("recording", type=click.Path(path_type=Path), metavar="FILE.wav")
@click.option("--free", is_flag=True, help="Free dictation: leave the intents' sentences out of it.")
@config_option
@json_option
def transcribe(recording: Path, config_file: Path | None, *, free: bool, as_json: bool) -> int:
    """Write down what a recording says, an utterance a line."""
    from edge_agent.app.written import transcribe_recording
    from edge_agent.runtime import loop
    from edge_agent.runtime.logs import logging_to

    config = load(config_file)

    def show(utterance: dict[str, object]) -> None:
        click.echo(json.dumps(utterance, ensure_ascii=False) if as_json else str(utterance["text"]))

    with logging_to(sys.stderr, "warning"):
        loop.run(transcribe_recording(config, recording, show, free=free))
    return 0


@click.command()
@config_option
@json_option
def devices(config_file: Path | None, *, as_json: bool) -> int:
    """List microphones, speakers and GPIO."""
    from edge_agent.app.hardware import describe

    config = load(config_file)
    found = describe(config)
    if as_json:
        click.echo(json.dumps(found))
        return 0
    from edge_agent.cli.tables import print_devices

    print_devices(found)
    return 0
