"""What is seen of a rollout under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from edge_agent.cli.fleet_progress import answers_line
from edge_agent.cli.status_view import span
from edge_agent.fleet.rollout import Stage

if TYPE_CHECKING:
    from edge_agent.fleet.rollout import Rollout

_ROWS = 12


def progress_line(rollout: Rollout, now_s: float) -> Text:
    """Write where a rollout stands."""
    match rollout.stage:
        case Stage.CANARIES:
            applied = sum(answer == "applied" for answer in rollout.canary_answers().values())
            return Text(f"canaries: {applied} of {len(rollout.canaries)} have applied it", "cyan")
        case Stage.SOAK:
            return Text(f"canaries are well; {span(rollout.soak_left_s(now_s))} to go", "cyan")
        case Stage.FLEET if rollout.wide is not None:
            return answers_line(rollout.wide)
        case stage:
            return Text(stage.value, "bold red" if stage is Stage.PAUSED else "cyan")


def progress_table(rollout: Rollout) -> Table:
    """Return a row for each canary, as far as they fit."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for device, answer in list(rollout.canary_answers().items())[:_ROWS]:
        failure = rollout.failures.get(device, "")
        table.add_row(Text(device), Text(answer), Text(failure, "yellow"))
    return table


def rollout_json(rollout: Rollout) -> dict[str, Any]:
    """Return where a rollout stands, for programs."""
    return {"stage": rollout.stage.value, "canaries": rollout.canary_answers(), "failures": dict(rollout.failures)}
