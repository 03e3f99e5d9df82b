"""A pool and a database that are closed afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Three threads for files."""
    pool = Pool("file_io", most_workers=3)
    yield pool
    await pool.close()
    assert pool.statistics().workers == 0


@pytest.fixture
async def database(tmp_path: Path, pool: Pool) -> AsyncIterator[Database]:
    """An empty database."""
    async with Database(tmp_path / "state.db", pool) as database:
        yield database
