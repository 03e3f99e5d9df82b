"""Batches: size, age, order, retries, losses, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import in_virtual_time

from edge_agent.errors import FaultError, JobTimeoutError
from edge_agent.runtime.batch import Batcher


class Store:
    """Takes batches, and fails when told to."""

    def __init__(self, takes_s: float = 0.0, errors: Sequence[BaseException | None] = ()) -> None:
        self.takes_s = takes_s
        self.errors = list(errors)
        self.batches: list[tuple[float, tuple[int, ...]]] = []
        self.tries: list[float] = []
        self.lost: list[tuple[list[int], BaseException]] = []

    async def flush(self, items: Sequence[int]) -> None:
        """Take a batch."""
        now = asyncio.get_running_loop().time
        self.tries.append(now())
        await asyncio.sleep(self.takes_s)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.batches.append((now(), tuple(items)))

    def on_lost(self, items: Sequence[int], error: BaseException) -> None:
        """Note a loss."""
        self.lost.append((list(items), error))

    @property
    def items(self) -> list[int]:
        """All items that were taken, in order."""
        return [item for _, batch in self.batches for item in batch]


@in_virtual_time
async def test_a_batch_goes_when_it_is_full_or_old_enough() -> None:
    """Three at once go at once; two wait until the older one is due; the rest goes at the end."""
    store = Store()
    async with Batcher(store.flush, most=3, within_s=10.0, limit=100) as batcher:
        assert [batcher.add(number) for number in range(3)] == [True] * 3
        await asyncio.sleep(5)
        batcher.add(3)
        await asyncio.sleep(5)
        batcher.add(4)
        await asyncio.sleep(10)
        batcher.add(5)
    assert store.batches == [(0.0, (0, 1, 2)), (15.0, (3, 4)), (20.0, (5,))]
    assert not batcher.add(6)
    statistics = batcher.statistics()
    assert (statistics.flushed, statistics.flushes, statistics.peak, statistics.waiting) == (6, 3, 3, 0)


@pytest.mark.parametrize(("policy", "kept"), [("refuse", [0, 1, 2, 3]), ("drop_oldest", [0, 1, 4, 5])])
def test_a_full_batcher_refuses_or_drops_the_oldest_and_counts(policy: str, kept: list[int]) -> None:
    """What is being flushed is not dropped any more, and counts as held."""

    @in_virtual_time
    async def run() -> None:
        store = Store(takes_s=1.0)
        async with Batcher(store.flush, most=2, within_s=10.0, limit=4, on_full=policy) as batcher:  # type: ignore[arg-type]
            batcher.add(0)
            batcher.add(1)
            await asyncio.sleep(0.5)
            for number in range(2, 6):
                batcher.add(number)
                assert len(batcher) <= 4
        assert store.items == kept
        assert batcher.statistics().dropped == 2

    run()


@in_virtual_time
async def test_where_all_is_being_flushed_even_the_dropping_batcher_refuses() -> None:
    """There is nothing older to drop."""
    store = Store(takes_s=1.0)
    async with Batcher(store.flush, most=2, within_s=10.0, limit=2, on_full="drop_oldest") as batcher:
        batcher.add(0)
        batcher.add(1)
        await asyncio.sleep(0.5)
        assert not batcher.add(2)
    assert store.items == [0, 1]


@in_virtual_time
async def test_a_failed_flush_is_tried_again_with_the_same_items_before_any_other() -> None:
    """The pause doubles up to its bound, and nothing is lost or out of order."""
    store = Store(errors=[FaultError("locked"), OSError("disk"), FaultError("locked"), None])
    async with Batcher(store.flush, most=2, within_s=1.0, limit=10, retry_s=1.0, most_retry_s=2.0) as batcher:
        for number in range(4):
            batcher.add(number)
        await asyncio.sleep(20)
        assert store.tries[:4] == [0.0, 1.0, 3.0, 5.0]
    assert [batch for _, batch in store.batches] == [(0, 1), (2, 3)]
    assert batcher.statistics().failures == 3


@in_virtual_time
async def test_after_so_many_attempts_items_are_lost_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The next batch goes on."""
    error = FaultError("no such table")
    store = Store(errors=[error, error])
    async with Batcher(store.flush, 1, 1.0, 10, attempts=2, on_lost=store.on_lost, name="turns") as batcher:
        batcher.add(1)
        batcher.add(2)
        await asyncio.sleep(10)
    assert store.lost == [([1], error)]
    assert store.items == [2]
    assert batcher.statistics().lost == 1
    assert "turns: 1 items are lost: no such table" in caplog.text


@in_virtual_time
async def test_a_bug_in_the_flush_loses_its_batch_and_not_the_batcher(caplog: pytest.LogCaptureFixture) -> None:
    """It would come again, so it is not tried again; its traceback is in the log."""
    bug = ZeroDivisionError("bug")
    store = Store(errors=[bug])
    async with Batcher(store.flush, 1, 1.0, 10, on_lost=store.on_lost) as batcher:
        batcher.add(0)
        batcher.add(1)
        await asyncio.sleep(10)
        assert store.items == [1]
    assert store.lost == [([0], bug)]
    assert caplog.records[0].exc_info


@in_virtual_time
async def test_a_flush_that_was_cancelled_from_within_is_tried_again() -> None:
    """For example because the pool that it ran on went away; the batcher itself was not cancelled."""
    store = Store(errors=[asyncio.CancelledError()])
    async with Batcher(store.flush, 1, 1.0, 10, retry_s=1.0) as batcher:
        batcher.add(0)
        await asyncio.sleep(10)
    assert store.batches == [(1.0, (0,))]


@in_virtual_time
async def test_closing_tries_once_more_and_then_reports_the_rest() -> None:
    """A pause between two attempts is cut short; who closes waits for no further one."""
    store = Store(errors=[FaultError("locked")] * 5)
    async with Batcher(store.flush, 2, 1.0, 10, retry_s=100.0, on_lost=store.on_lost) as batcher:
        for number in range(3):
            batcher.add(number)
        await asyncio.sleep(10)
    assert store.tries == [0.0, 10.0, 10.0]
    assert [items for items, _ in store.lost] == [[0, 1], [2]]
    assert asyncio.get_running_loop().time() == 10.0


@in_virtual_time
async def test_closing_has_a_bound() -> None:
    """A flush that takes too long is cancelled, and its items are reported with all others."""
    store = Store(takes_s=50.0)
    async with Batcher(store.flush, 2, 1.0, 10, close_s=3.0, on_lost=store.on_lost) as batcher:
        for number in range(3):
            batcher.add(number)
    assert asyncio.get_running_loop().time() == 3.0
    ((items, error),) = store.lost
    assert items == [0, 1, 2]
    assert isinstance(error, JobTimeoutError)


@in_virtual_time
async def test_cancelling_who_closes_leaves_nothing_behind_and_is_not_lost() -> None:
    """The last flush is cut off; the cancellation goes on."""
    store = Store(takes_s=50.0)

    async def serve() -> None:
        async with Batcher(store.flush, 2, 1.0, 10, close_s=30.0, on_lost=store.on_lost) as batcher:
            batcher.add(1)

    task = asyncio.create_task(serve())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [items for items, _ in store.lost] == [[1]]


@in_virtual_time
async def test_a_flush_that_ends_while_it_is_cut_off_is_no_loss() -> None:
    """Its items were handed on, so they are not reported as lost."""
    taken: list[int] = []

    async def flush(items: Sequence[int]) -> None:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            taken.extend(items)

    async with Batcher(flush, 2, 1.0, 10, close_s=3.0) as batcher:
        batcher.add(1)
    assert taken == [1]
    assert (batcher.statistics().flushed, batcher.statistics().lost) == (1, 0)


def test_senseless_sizes_are_refused() -> None:
    """A batch that the buffer can't hold would never be full."""

    async def flush(items: Sequence[int]) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="'metrics'"):
        Batcher(flush, most=5, within_s=1.0, limit=4, name="metrics")


@given(
    st.lists(st.floats(0, 3), max_size=40),
    st.lists(st.sampled_from((None, None, FaultError("locked"))), max_size=20),
    st.floats(0, 2),
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_nothing_is_lost_doubled_or_late(
    pauses: list[float], errors: list[BaseException | None], takes_s: float
) -> None:
    """All that was accepted is handed on once, in order, in batches within the bound."""
    accepted: list[int] = []

    @in_virtual_time
    async def run() -> None:
        store = Store(takes_s, errors)
        async with Batcher(store.flush, 3, 2.0, 7, retry_s=0.25, close_s=1e6) as batcher:
            for number, pause_s in enumerate(pauses):
                await asyncio.sleep(pause_s)
                if batcher.add(number):
                    accepted.append(number)
            await asyncio.sleep(1000)
            assert len(batcher) == 0
        assert store.items == accepted
        assert all(1 <= len(batch) <= 3 for _, batch in store.batches)
        statistics = batcher.statistics()
        assert statistics.flushed + statistics.dropped == len(pauses)
        assert statistics.peak <= 7

    check: Callable[[], None] = run
    check()
