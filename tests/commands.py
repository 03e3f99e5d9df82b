"""Runs the real command line in a child process, away from the person's own files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 170


def isolated(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without the person's configuration, models and caches."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGE_AGENT_", "XDG_"))}
    return {**kept, "HOME": str(home), **(extra or {})}


class CommandLine:
    """`edge-agent` in a home directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end and return what was printed."""
        return subprocess.run(
            [sys.executable, "-m", "edge_agent", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=isolated(self.home, env),
            cwd=self.home,
        )

    def turns(self, *arguments: object, env: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Run `converse … --json` and return the turns; every line of standard output must be one."""
        done = self.run("converse", *arguments, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def write(self, name: str, text: str) -> Path:
        """Write a file into the home directory."""
        path = self.home / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """The command line in a fresh home."""
    return CommandLine(tmp_path)


def assert_one_complaint(done: subprocess.CompletedProcess[str], *parts: str, status: int = 2) -> None:
    """Assert that the command refused with one clear line that holds all `parts`, and no traceback."""
    lines = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("edge-agent: ")
    for part in parts:
        assert part in lines[0]
