"""Draws what was measured: one panel for each group of distributions, each line a cumulative share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.bench.extras import need
from edge_agent.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.bench.result import Findings

_PANEL_INCHES = (8.0, 3.2)
_WIDE = 20.0
"""Values that differ by more than this factor are drawn on a logarithmic axis."""


def draw(findings: Findings, path: Path, title: str) -> None:
    """Write a picture of the distributions and of the results that have goals.

    Raises:
        EngineError: matplotlib is not installed.
        BadInputError: The file can't be written.
    """
    need("matplotlib").use("Agg")
    pyplot = need("matplotlib.pyplot")
    groups = {name: lines for name, lines in findings.distributions.items() if any(lines.values())}
    goals = [result for result in findings.results if result.goal and result.goal.limit and result.value is not None]
    panels = len(groups) + bool(goals)
    if not panels:
        raise BadInputError("there is nothing to plot")
    width, height = _PANEL_INCHES
    figure, axes = pyplot.subplots(panels, 1, figsize=(width, height * panels), squeeze=False)
    flat = list(axes[:, 0])
    for axis, (name, lines) in zip(flat, groups.items(), strict=False):
        _draw_shares(axis, name, lines)
    if goals:
        axis = flat[-1]
        names = [result.name for result in goals]
        shares = [(result.value or 0.0) / result.goal.limit for result in goals if result.goal]
        colours = ["tab:green" if result.met else "tab:red" for result in goals]
        axis.barh(names, shares, color=colours)
        axis.axvline(1.0, color="black", linewidth=1)
        axis.invert_yaxis()
        axis.set_title("Value over goal (green: met)")
    flat[0].set_title(f"{title}\n\n{flat[0].get_title()}")
    figure.tight_layout()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: the plot can't be written ({error})") from error
    finally:
        pyplot.close(figure)


def _draw_shares(axis: object, name: str, lines: object) -> None:
    """Draw for each value the share of measurements that do not exceed it."""
    everything: list[float] = []
    for label, values in lines.items():  # type: ignore[attr-defined]
        ordered = sorted(values)
        if ordered:
            everything += ordered[:1] + ordered[-1:]
            shares = [(at + 1) / len(ordered) for at in range(len(ordered))]
            axis.step(ordered, shares, where="post", label=label)  # type: ignore[attr-defined]
    positive = [value for value in everything if value > 0]
    if positive and max(positive) / min(positive) > _WIDE:
        axis.set_xscale("log")  # type: ignore[attr-defined]
    axis.set_title(name)  # type: ignore[attr-defined]
    axis.set_ylabel("share")  # type: ignore[attr-defined]
    axis.legend(fontsize="small")  # type: ignore[attr-defined]
