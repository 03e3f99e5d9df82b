"""The `edge-agent` command: its subcommands by name, and errors as one clear line with a status."""

from __future__ import annotations

import importlib
import os
import sys

import click

from edge_agent import __version__
from edge_agent.errors import EdgeAgentError

_COMMANDS = {
    "run": ("edge_agent.cli.talk", "Hold conversations: the service."),
    "converse": ("edge_agent.cli.talk", "The same with recordings for a microphone."),
    "ask": ("edge_agent.cli.talk", "Answer a typed question."),
    "say": ("edge_agent.cli.sound", "Speak a text."),
    "transcribe": ("edge_agent.cli.sound", "Write down what a recording says."),
    "devices": ("edge_agent.cli.sound", "List microphones, speakers and GPIO."),
    "status": ("edge_agent.cli.status", "Show how the running service is doing."),
    "setup": ("edge_agent.cli.setup", "Ask what this device has to know: sound, language, broker, name."),
    "tune": ("edge_agent.cli.tune", "Measure this board, and share its cores accordingly."),
    "doctor": ("edge_agent.cli.doctor", "Check board, service, sound, pins, broker; say what to do."),
    "models": ("edge_agent.cli.models", "List, pull, verify, remove models; print where one is."),
    "field-test": ("edge_agent.cli.field_test", "Try everything on this device, and write a report."),
    "fleet": ("edge_agent.cli.fleet", "Watch and change many devices over MQTT."),
    "bench": ("edge_agent.cli.bench", "Measure concurrency, conversation, idle, mqtt, soak."),
    "config": ("edge_agent.cli.configuration", "Show, check or describe the configuration."),
}
_INTERRUPTED = 130


class _LazyGroup(click.Group):
    """Imports a subcommand's module when it is called; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-agent")
def cli() -> None:
    """A voice agent that lives on a small board and needs nobody else."""


def run() -> int:
    """Run the command line; return its exit status: 0 done, 1 failed, 2 bad usage or bad input."""
    try:
        result = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        usage = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        # Click spreads the choices of a missing argument over lines of their own.
        message = " ".join(line.strip() for line in error.format_message().splitlines())
        _complain(f"{message}{usage}")
        return 2
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except EdgeAgentError as error:
        _complain(str(error))
        return error.exit_status
    except OSError as error:
        # Ours are all translated where they happen; what is left is standard output itself.
        _silence_stdout()
        if not isinstance(error, BrokenPipeError):
            _complain(f"standard output can't be written: {error.strerror}")
        return 1
    return result if isinstance(result, int) else 0


def _silence_stdout() -> None:
    """Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complain(message: str) -> None:
    from edge_agent.runtime.logs import is_journal

    # The journal takes the priority off again: an error that ends the service is not to pass for information.
    priority = "<3>" if is_journal(sys.stderr) else ""
    for line in message.splitlines():
        click.echo(f"{priority}edge-agent: {line}", err=True)
