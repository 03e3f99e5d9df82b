"""docs/commands.md says what the commands are."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from edge_agent.mqtt.command_args import COMMANDS
from edge_agent.mqtt.command_docs import commands_markdown
from edge_agent.mqtt.controls import ErrorCode

_DOCS = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_document_ends_with_all_commands_as_they_are() -> None:
    """Write the result of `commands_markdown()` there when a command changes."""
    text = _DOCS.read_text(encoding="utf-8")
    assert text.partition("## All commands\n\n")[2] == commands_markdown()
    assert text.count("\n### ") == len(COMMANDS)


def test_every_code_is_explained() -> None:
    """Whoever gets one looks it up there."""
    text = _DOCS.read_text(encoding="utf-8")
    assert [code for code in get_args(ErrorCode) if f"\n| `{code}` |" not in text] == []
