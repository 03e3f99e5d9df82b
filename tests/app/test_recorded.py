"""`converse`: what depends on whether anybody waits for it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.app import recorded
from edge_agent.app.voice import open_voice
from edge_agent.config.schema import Config
from edge_agent.pipeline.hearing import LONGEST_CALL_S
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime import loop


@pytest.mark.parametrize(("fast", "longest_s"), [(True, 600.0), (False, LONGEST_CALL_S)])
def test_a_recognizer_may_take_longer_where_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fast: bool, longest_s: float
) -> None:
    """An emulated machine hears the same under `--fast`; in real time it hangs after 20 s as it does in the service."""
    seen: list[float] = []

    @asynccontextmanager
    async def watched(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - handed on
        async with open_voice(*arguments, **options) as voice:
            seen.append(voice.runner.stages.longest_hearing_s)
            yield voice

    monkeypatch.setattr(recorded, "open_voice", watched)
    places = {name: str(tmp_path / name) for name in ("models", "cache", "state")}
    config = Config.model_validate({"directories": places, "gpio": {"driver": "simulated"}})
    loop.run(recorded.hold(config, [], SilentObserver(), fast=fast, out=None))
    assert seen == [longest_s]
