"""`edge-agent status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.options import WholeNumber, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TURNS = 10
_MOST_TURNS = 100
_BETWEEN_S = 0.05
"""Between two requests for audio: a service answers 20 a second to one user."""


@click.command()
@click.option(
    "--turns",
    type=WholeNumber(1, _MOST_TURNS),
    is_flag=False,
    flag_value=_TURNS,
    metavar="[N]",
    help=f"Show the last N turns, {_TURNS} unless told, with the time and the reason of each stage.",
)
@click.option(
    "--audio",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="With --turns: save what was heard in them there, as far as recorder.audio_turns has it kept.",
)
@click.option("--socket", "socket_file", type=click.Path(path_type=Path), metavar="PATH", help="The service's socket.")
@json_option
def status(turns: int | None, audio: Path | None, socket_file: Path | None, *, as_json: bool) -> int:
    """Show how the running service is doing, and what limits it."""
    if audio is not None and turns is None:
        raise click.UsageError("--audio needs --turns")
    from edge_agent.gateway.client import ask_service
    from edge_agent.gateway.places import sockets_to_ask

    places = socket_file or sockets_to_ask()

    def ask(request: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever JSON holds
        return ask_service(places, request)

    found = ask({"get": "status"} if turns is None else {"get": "turns", "last": turns})
    saved = [] if audio is None else _save_audio(found, audio, ask)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif turns is None:
        from edge_agent.cli.status_view import print_status

        print_status(found)
    else:
        from edge_agent.cli.turns_view import print_turns

        print_turns(found)
    for path in saved:
        click.echo(f"saved {path}", err=True)
    return 0


def _save_audio(
    turns: Sequence[Mapping[str, Any]], directory: Path, ask: Callable[[Mapping[str, object]], Any]
) -> list[Path]:
    """Write a WAV file for each turn whose audio is kept; return their paths.

    Raises:
        AudioFileError: A file can't be written.
        ServiceError: No audio is kept.
    """
    from edge_agent.cli.turn_audio import write_turn

    kept = [turn for turn in turns if turn.get("audio_s")]
    if turns and not kept:
        ask({"get": "audio", "turn": turns[-1]["turn"]})  # which is refused, with the remedy
    paths = []
    for number, turn in enumerate(kept):
        if number:
            time.sleep(_BETWEEN_S)
        paths.append(write_turn(directory, turn, ask({"get": "audio", "turn": turn["turn"]})))
    return paths
