"""Draws what was measured: turns as waterfalls, values over time, and distributions as lines of cumulative shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.bench.extras import need
from edge_agent.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_agent.bench.result import Bar, Findings, Row

_PANEL_INCHES = (8.0, 3.2)
_ROW_INCHES, _MARGIN_INCHES = 0.22, 1.4
_LABEL_CHARACTERS = 28
_ROW_SHARE = 0.86
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
    courses = {name: lines for name, lines in findings.lines.items() if any(lines.values())}
    goals = [result for result in findings.results if result.goal and result.goal.limit and result.value is not None]
    waterfalls = {name: rows for name, rows in findings.waterfalls.items() if rows}
    width, height = _PANEL_INCHES
    heights = [_MARGIN_INCHES + _ROW_INCHES * len(rows) for rows in waterfalls.values()]
    heights += [height] * (len(courses) + len(groups) + bool(goals))
    if not heights:
        raise BadInputError("there is nothing to plot")
    figure, axes = pyplot.subplots(len(heights), 1, figsize=(width, sum(heights)), squeeze=False, height_ratios=heights)
    flat = list(axes[:, 0])
    for axis, (name, rows) in zip(flat, waterfalls.items(), strict=False):
        _draw_waterfall(axis, name, rows)
    for axis, (name, course) in zip(flat[len(waterfalls) :], courses.items(), strict=False):
        _draw_course(axis, name, course)
    for axis, (name, lines) in zip(flat[len(waterfalls) + len(courses) :], groups.items(), strict=False):
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


def _draw_course(axis: Any, name: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:  # noqa: ANN401
    """Draw each value where it was seen; from 0, so that flat looks flat."""
    for label, points in lines.items():
        axis.plot([at for at, _ in points], [value for _, value in points], linewidth=1, label=label)
    axis.set_ylim(bottom=0)
    axis.set_title(name)
    axis.legend(fontsize="small")


def _draw_waterfall(axis: Any, name: str, rows: Sequence[Row]) -> None:  # noqa: ANN401 - matplotlib is not followed
    """Draw a line for each turn: bars for stages, upright strokes for moments; 0 is the true end of speech.

    Stages that overlap would hide each other: those of one engine share a lane.
    """
    bars = [bar for row in rows for bar in row.bars]
    colours = {stage: f"C{number % 10}" for number, stage in enumerate(dict.fromkeys(bar.stage for bar in bars))}
    lanes = list(dict.fromkeys(_engine(bar) for bar in bars if bar.until_ms > bar.from_ms))
    height = _ROW_SHARE / max(1, len(lanes))
    labelled: set[str] = set()
    for at, row in enumerate(rows):
        for bar in row.bars:
            look = {"color": colours[bar.stage], "label": None if bar.stage in labelled else bar.stage}
            labelled.add(bar.stage)
            if bar.until_ms > bar.from_ms:
                middle = at + height * (lanes.index(_engine(bar)) - (len(lanes) - 1) / 2)
                axis.barh(middle, bar.until_ms - bar.from_ms, left=bar.from_ms, height=height, **look)
            else:
                axis.plot((bar.from_ms,) * 2, (at - _ROW_SHARE / 2, at + _ROW_SHARE / 2), linewidth=2.5, **look)
    axis.axvline(0.0, color="black", linewidth=1)
    axis.set_yticks(range(len(rows)), [row.label[:_LABEL_CHARACTERS] for row in rows], fontsize="x-small")
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("ms from the true end of speech")
    axis.set_title(name)
    axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _engine(bar: Bar) -> str:
    return bar.stage.split(".")[0]
