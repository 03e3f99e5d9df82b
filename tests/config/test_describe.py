"""The documentation of the configuration is the configuration."""

from __future__ import annotations

from pathlib import Path

from edge_agent.config.describe import as_markdown

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_documentation_lists_every_key_as_it_is() -> None:
    """Paste the output of `edge-agent config schema --markdown` into the document where this fails."""
    assert as_markdown() in DOCUMENT.read_text(encoding="utf-8")
