"""`edge-agent setup`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.cli.options import config_option

if TYPE_CHECKING:
    from edge_agent.app.setup.answers import Answers
    from edge_agent.app.setup.broker_address import BrokerAddress
    from edge_agent.config.schema import Config

_MOST_PIPED_BYTES = 8192
"""More than the longest password, so that a longer one is noticed."""


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says stays as it is.")
@click.option("--microphone", metavar="NAME", help="Stable name or part of the name; empty: the system's default.")
@click.option("--speaker", metavar="NAME", help="The same for the speaker.")
@click.option("--volume", metavar="PERCENT", help="0 to 100.")
@click.option("--language", metavar="CODE", help="ISO 639 code, such as en, de, zh.")
@click.option("--mode", metavar="MODE", help="always, wake_word or button.")
@click.option("--wake-word", "words", multiple=True, metavar="WORD", help="May be repeated; implies that mode.")
@click.option("--button-pin", metavar="BCM", help="The button's pin; implies that mode.")
@click.option("--broker", metavar="URL", help="mqtts://user@host:8883, mqtt://host, host:port; none.")
@click.option(
    "--password-file",
    metavar="FILE",
    help="The broker's password, one line; `-`: standard input. It is copied to a private file of its own.",
)
@click.option(
    "--ca", "ca_file", metavar="FILE", help="The authority of the broker's certificate; system: the system's."
)
@click.option("--name", metavar="NAME", help="The device's name on MQTT.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="May be repeated; none: no group.")
@click.option("--no-check", is_flag=True, help="Try neither sound devices nor the broker.")
@click.option("--restart", is_flag=True, help="Restart the running service at the end, without a question.")
@config_option
def setup(config_file: Path | None, *, yes: bool, no_check: bool, restart: bool, **flags: object) -> int:
    """Ask what this device has to know, try it out, and write it into the configuration.

    Enter takes what is in brackets: what is configured already. Ctrl-C leaves everything as it was. With --yes and
    options nothing is asked, and the same options give the same file.
    """
    from edge_agent.app.setup.saving import read_target
    from edge_agent.app.setup.surroundings import real_machine
    from edge_agent.app.setup.target import find_target
    from edge_agent.cli.setup_run import Means, attended, unattended
    from edge_agent.runtime.logs import logging_to

    answers, address = _from_flags(flags)
    target = find_target(config_file)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; use --yes, and options for what is to change")
    _, config = read_target(target)
    if yes and answers.mode == "button" and answers.button_pin is None and config.gpio.button is None:
        raise click.UsageError("--mode button needs --button-pin")
    answers = _with_broker(answers, address, config, flags)
    means = Means(target, config, real_machine(), checks=not no_check, restarts=restart)
    with logging_to(sys.stderr, "critical"):  # what fails is said in words of ours
        (unattended if yes else attended)(means, answers)
    return 0


def _from_flags(flags: dict[str, object]) -> tuple[Answers, BrokerAddress | None]:
    """Return what the options answer; their broker stands beside it, for it may say a part only."""
    from edge_agent.app.setup import answers as given
    from edge_agent.app.setup.broker_address import parse_broker
    from edge_agent.app.setup.errors import BadAnswerError

    def parsed(name: str, parse: object, flag: str) -> object:
        text = flags[name]
        if text is None or text == ():
            return None
        text = ",".join(text) if isinstance(text, tuple) else text
        try:
            return parse(text)  # type: ignore[operator]  # one of the functions below
        except BadAnswerError as error:
            raise click.BadParameter(str(error), param_hint=flag) from error

    def mode(text: str) -> object:
        if text.replace("-", "_") not in given.MODES:
            raise BadAnswerError(f"a mode is one of {', '.join(given.MODES)}")
        return text.replace("-", "_")

    values = {
        "volume": parsed("volume", given.parse_volume, "--volume"),
        "language": parsed("language", given.parse_language, "--language"),
        "mode": parsed("mode", mode, "--mode"),
        "words": parsed("words", given.parse_words, "--wake-word"),
        "button_pin": parsed("button_pin", given.parse_pin, "--button-pin"),
        "device_id": parsed("name", given.parse_name, "--name"),
        "groups": parsed("groups", given.parse_groups, "--group"),
    }
    address = parsed("broker", parse_broker, "--broker")
    conflict = given.flag_conflict(
        {**values, "broker": address, "ca_file": flags["ca_file"], "has_password": flags["password_file"] is not None}
    )
    if conflict:
        raise click.UsageError(conflict)
    if values["mode"] is None and (values["words"] or values["button_pin"] is not None):
        values["mode"] = "wake_word" if values["words"] else "button"
    found = given.Answers(microphone=flags["microphone"], speaker=flags["speaker"], **values)  # type: ignore[arg-type]
    return found, address  # type: ignore[return-value]


def _with_broker(answers: Answers, address: BrokerAddress | None, config: Config, flags: dict[str, object]) -> Answers:
    """Add the broker of the options, and the password that goes with it."""
    from edge_agent.app.setup.answers import broker_of
    from edge_agent.app.setup.errors import BadAnswerError
    from edge_agent.app.setup.questions import as_broker, parse_authority

    try:
        ca_file = None if flags["ca_file"] is None else parse_authority(str(flags["ca_file"]))
    except BadAnswerError as error:
        raise click.BadParameter(str(error), param_hint="--ca") from error
    if address is not None:
        answers = replace(answers, broker=as_broker(address, config, ca_file))
    elif ca_file is not None or flags["password_file"] is not None:
        if not config.mqtt.host:
            raise click.UsageError("--password-file and --ca need a broker; add --broker")
        answers = replace(answers, broker=replace(broker_of(config), ca_file=ca_file))
    if flags["password_file"] is not None:
        answers = replace(answers, password=_read_password(str(flags["password_file"])))
    return answers


def _read_password(name: str) -> str:
    from edge_agent.errors import ConfigError
    from edge_agent.mqtt.credentials import parse_password, read_password

    try:
        if name != "-":
            return read_password(Path(name))
        typed = sys.stdin.buffer
        # At a terminal the line is all of it; what is piped in has to end there.
        content = typed.readline(_MOST_PIPED_BYTES) if sys.stdin.isatty() else typed.read(_MOST_PIPED_BYTES)
        return parse_password(Path("standard input"), content)
    except ConfigError as error:
        problem = error.problems[0]
        raise click.BadParameter(f"{problem.source}: {problem.message}", param_hint="--password-file") from error
