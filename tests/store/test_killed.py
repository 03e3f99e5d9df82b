"""A process that is killed while it writes loses nothing that it has acknowledged."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database
from edge_agent.store.history import HistoryStore
from edge_agent.store.outbox import OutboxStore

_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database
from edge_agent.store.history import HistoryStore, StoredTurn
from edge_agent.store.outbox import OutboxMessage, OutboxStore

async def main():
    pool = Pool("file_io", most_workers=2)
    first = int(sys.argv[2])
    async with Database(Path(sys.argv[1]), pool) as database:
        outbox, history = OutboxStore(database), HistoryStore(database)
        for number in range(first, first + 1_000_000, 2):
            now = datetime.now(UTC)
            await outbox.append(
                [OutboxMessage(str(n), "t", b"x" * (n % 700), now) for n in (number, number + 1)]
            )
            await history.append([StoredTurn(number, now, "heard", "reply", "llm", "en")])
            print(number + 1, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_every_acknowledged_message_is_there_after_a_kill(tmp_path: Path, pool: Pool) -> None:
    """Killed at a random moment, several times over the same file: order kept, batches whole, no loss.

    A kill keeps the kernel's caches, so this shows what SQLite recovers, not what the disk has synced; that commits are
    synced is shown by the test of `PRAGMA synchronous`.
    """
    path = tmp_path / "state.db"
    random_moments = random.Random(20260301)
    first = 0
    for _ in range(5):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(path), str(first), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        acknowledged = int(await writer.stdout.readline())
        await asyncio.sleep(random_moments.uniform(0.0, 0.15))
        writer.kill()
        rest = (await writer.stdout.read()).split()
        await writer.wait()
        acknowledged = int(rest[-1]) if rest else acknowledged
        async with Database(path, pool) as database:
            assert database.statistics().set_aside is None
            ids = [int(message.id) for message in await OutboxStore(database).peek(1_000_000)]
            turns = await HistoryStore(database).recent(1_000_000)
        assert ids == list(range(len(ids)))
        assert len(ids) % 2 == 0
        assert acknowledged < len(ids) <= acknowledged + 3
        assert set(range(first, acknowledged, 2)) <= {turn.turn for turn in turns}
        first = len(ids)
