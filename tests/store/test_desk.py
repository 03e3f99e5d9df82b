"""The desk: who waits for a connection gets it in turn, and none is lost when somebody gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.errors import BusyError, StoreError
from edge_agent.store.connection import StoreConnection, connect
from edge_agent.store.desk import Desk, Loan


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[StoreConnection]:
    """A connection to an empty file."""
    path = tmp_path / "state.db"
    path.touch()
    connection = connect(path)
    yield connection
    connection.close()


async def _ask(desk: Desk) -> tuple[Loan, list[asyncio.Task[Loan]]]:
    """Take the only connection and let three more wait for it."""
    loan = await desk.lend()
    waiting = [asyncio.create_task(desk.lend()) for _ in range(3)]
    await asyncio.sleep(0)
    return loan, waiting


async def test_connections_are_lent_in_turn_and_waiting_is_bounded(tmp_path: Path, connection: StoreConnection) -> None:
    """First come, first served."""
    desk = Desk(tmp_path / "state.db", (connection,), depth=3)
    loan, waiting = await _ask(desk)
    assert (desk.lent, desk.waiting) == (1, 3)
    with pytest.raises(BusyError, match=r"state\.db is full \(3 waiting\)"):
        await desk.lend()
    for task in waiting:
        loan.leave()
        loan.leave()  # twice is once
        loan = await task
    loan.leave()
    await desk.home()
    assert (desk.lent, desk.waiting) == (0, 0)


async def test_one_who_gives_up_loses_no_connection(tmp_path: Path, connection: StoreConnection) -> None:
    """Before the connection comes, and at the very moment it does."""
    desk = Desk(tmp_path / "state.db", (connection,), depth=3)
    loan, waiting = await _ask(desk)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert desk.waiting == 2
    loan.leave()  # goes to the second,
    waiting[1].cancel()  # who does not want it any more
    await asyncio.wait(waiting[:2])
    assert [task.cancelled() for task in waiting[:2]] == [True, True]
    (await waiting[2]).leave()
    assert desk.lent == 0


async def test_closing_ends_the_waiting_at_once(tmp_path: Path, connection: StoreConnection) -> None:
    """Nobody waits for a connection that will not come."""
    desk = Desk(tmp_path / "state.db", (connection,), depth=3)
    loan, waiting = await _ask(desk)
    desk.close()
    for task in waiting:
        with pytest.raises(StoreError, match="closed"):
            await task
    with pytest.raises(StoreError, match="closed"):
        await desk.lend()
    loan.leave()
    await desk.home()
    assert desk.abandon() == (connection,)


async def test_a_job_that_was_left_before_it_began_never_runs(tmp_path: Path, connection: StoreConnection) -> None:
    """Its connection may be another's by now."""
    desk = Desk(tmp_path / "state.db", (connection,), depth=3)
    loan = await desk.lend()
    loan.leave()
    with pytest.raises(StoreError, match="stopped"):
        loan.perform("read", lambda _: None)
    loan.stop()
    assert desk.lent == 0
