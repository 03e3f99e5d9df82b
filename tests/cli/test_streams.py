"""Standard streams that are closed or full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import CommandLine, assert_one_complaint, isolated


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_crash(tmp_path: Path, closed: str) -> None:
    """Some supervisors close standard input; the answer is given all the same."""
    command = f'"{sys.executable}" -m edge_agent ask "what time is it" {closed}'
    done = subprocess.run(["bash", "-c", command], env=isolated(tmp_path), check=False, timeout=60, capture_output=True)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path) -> None:
    """No traceback, status 1."""
    command = f'"{sys.executable}" -m edge_agent ask "what time is it" > /dev/full'
    done = subprocess.run(
        ["bash", "-c", command], env=isolated(tmp_path), check=False, timeout=60, capture_output=True, text=True
    )
    assert_one_complaint(done, "No space left", status=1)


def test_nothing_to_say_or_ask_is_bad_usage(command_line: CommandLine) -> None:
    """Empty texts are refused, and leave no file."""
    assert_one_complaint(command_line.run("ask", "  "), "is empty")
    out = command_line.home / "said.wav"
    assert_one_complaint(command_line.run("say", "...", "--out", out), "nothing that can be spoken")
    assert not out.exists()
