"""The grammar of all intents, computed on a pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from edge_agent.app.build import build_intents
from edge_agent.app.closed_grammar import make_grammar
from edge_agent.config.schema import Config
from edge_agent.grammar import Grammar
from edge_agent.runtime.pool import Pool


async def test_it_is_made_of_what_the_intents_understand() -> None:
    """And of nothing where dictation is free."""
    config = Config()
    intents = await asyncio.to_thread(build_intents, config)
    pool = Pool("test")
    try:
        grammar = await make_grammar(config, intents, pool)
        free = await make_grammar(Config.model_validate({"asr": {"closed": False}}), intents, pool)
    finally:
        await pool.close()
    assert grammar is not None
    assert "what time is it" in grammar.sentences
    assert free is None


async def test_it_ends_where_nobody_waits_for_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is cancelled holds no thread."""
    has_begun, has_ended = threading.Event(), threading.Event()

    def sample(_intents: object, _language: str, *, is_wanted: Callable[[], bool]) -> Grammar:
        has_begun.set()
        for _ in range(10_000):
            if not is_wanted():
                has_ended.set()
                break
            threading.Event().wait(0.001)
        return Grammar(("what time is it",))

    monkeypatch.setattr("edge_agent.reason.sampling.sample_grammar", sample)
    config = Config()
    intents = await asyncio.to_thread(build_intents, config)
    pool = Pool("test")
    try:
        making = asyncio.create_task(make_grammar(config, intents, pool))
        assert await asyncio.to_thread(has_begun.wait, 10)
        making.cancel()
        await asyncio.wait({making})
        assert making.cancelled()
        assert await asyncio.to_thread(has_ended.wait, 5)
    finally:
        await pool.close()
