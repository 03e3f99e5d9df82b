"""A field test's report: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from edge_agent.app.field.step import Figure, StepResult

SCHEMA = 1
"""Grows when a key changes its meaning or goes; new keys may come at any time."""
EVENT = "field_test"
Verdict = Literal["passed", "incomplete", "failed"]
_SIGNS = {"pass": "✓", "fail": "✗", "skipped": "·"}
_MOST_ROWS = 40


class ReportFileError(BadInputError):
    """The reports can't be written where they were wanted."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"{directory}: the report can't be written: {reason}; name another directory with --out")
        self.directory = directory
        self.reason = reason


def prepare(directory: Path) -> None:
    """Make the directory, and try whether a file can be written there: before minutes of work. Blocking.

    Raises:
        ReportFileError: It can't.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"x")
    except OSError as error:
        raise ReportFileError(directory, error.strerror or str(error)) from error


@dataclass(frozen=True, slots=True)
class FieldReport:
    """What came of a field test.

    Attributes:
        machine: Board, system, Python and the like, as `doctor` tells them.
        is_unattended: Nobody was there.
        is_whole: All steps were asked for.
    """

    device_id: str
    version: str
    machine: Mapping[str, str]
    began_at: datetime
    ended_at: datetime
    is_unattended: bool
    is_whole: bool
    steps: Sequence[StepResult]

    @property
    def verdict(self) -> Verdict:
        """failed: a step has; incomplete: none has, and one was not done; passed: each was done, and is well."""
        outcomes = {step.outcome for step in self.steps}
        if "fail" in outcomes:
            return "failed"
        return "incomplete" if "skipped" in outcomes or not self.is_whole or not self.steps else "passed"

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "device_id": self.device_id,
            "version": self.version,
            "machine": dict(self.machine),
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "unattended": self.is_unattended,
            "steps": [asdict(step) for step in self.steps],
        }

    def summary(self, report: Path) -> dict[str, Any]:
        """Return what the broker is told: no command's words, only figures."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "version": self.version,
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "unattended": self.is_unattended,
            "steps": {step.name: step.outcome for step in self.steps},
            "figures": {step.name: dict(step.figures) for step in self.steps},
            "report": str(report),
        }

    def as_markdown(self) -> str:
        """Return the report for people."""
        who = "unattended" if self.is_unattended else "with somebody beside it"
        lines = [
            f"# Field test of {self.device_id}: {self.verdict}",
            "",
            f"{self.began_at:%Y-%m-%d %H:%M} to {self.ended_at:%H:%M} UTC, edge_agent {self.version}, {who}.",
            "",
            *(f"- {name}: {value}" for name, value in self.machine.items()),
            "",
            "| | step | result |",
            "|---|---|---|",
            *(
                f"| {_SIGNS[step.outcome]} | {_words(step.name)} | "
                f"{'not done: ' if step.outcome == 'skipped' else ''}{_cell(step.message)} |"
                for step in self.steps
            ),
            "",
        ]
        if not self.is_whole:
            lines += ["Only these steps were asked for.", ""]
        for step in self.steps:
            lines += _details(step)
        return "\n".join(lines).rstrip() + "\n"

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write both into `directory`, which is made, and return their paths. Blocking.

        Raises:
            OSError: They can't be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"field-test-{self.began_at:%Y%m%dT%H%M%SZ}"
        data, text = directory / f"{stem}.json", directory / f"{stem}.md"
        data.write_text(json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        text.write_text(self.as_markdown(), encoding="utf-8")
        return data, text


def _details(step: StepResult) -> list[str]:
    figures = {name: value for name, value in step.figures.items() if value is not None}
    if not figures and not step.parts:
        return []
    lines = [f"## {_words(step.name).capitalize()}", ""]
    lines += [f"- {_words(name)}: {_shown(value)}" for name, value in figures.items()]
    if step.parts:
        lines += ["", *_table(step.parts)]
    return [*lines, ""]


def _table(parts: Sequence[Mapping[str, Figure]]) -> list[str]:
    """Return a table of the parts; of many, some at equal distances, and the last."""
    stride = max(1, -(-len(parts) // _MOST_ROWS))
    rows = [*parts[::stride]]
    if rows[-1] is not parts[-1]:
        rows.append(parts[-1])
    names = [name for name in parts[0] if any(row[name] is not None for row in parts)]
    return [
        "| " + " | ".join(map(_words, names)) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(_cell(_shown(row[name])) for name in names) + " |" for row in rows),
    ]


def _shown(value: Figure) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
