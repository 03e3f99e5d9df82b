"""Channels: order, bounds, counting, closing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import in_virtual_time

from edge_agent.runtime.channel import Channel, ChannelClosedError, ChannelStatistics


async def test_items_come_out_in_order_until_closed_and_empty() -> None:
    """Closing lets readers finish what is queued, then ends the iteration."""
    channel: Channel[int] = Channel(3)
    for number in range(3):
        assert channel.offer(number)
    channel.close()
    assert [item async for item in channel] == [0, 1, 2]
    with pytest.raises(ChannelClosedError):
        await channel.get()
    with pytest.raises(ChannelClosedError):
        await channel.put(1)


async def test_a_full_channel_drops_the_oldest_or_refuses_and_counts() -> None:
    """Both policies stay within the limit and say what was lost."""
    dropping: Channel[int] = Channel(2, on_full="drop_oldest")
    refusing: Channel[int] = Channel(2)
    assert [dropping.offer(number) for number in range(4)] == [True] * 4
    assert [refusing.offer(number) for number in range(4)] == [True, True, False, False]
    assert (dropping.take(9), dropping.dropped, dropping.peak) == ([2, 3], 2, 2)
    assert (refusing.take(9), refusing.dropped) == ([0, 1], 2)


async def test_put_waits_for_room() -> None:
    """Back-pressure: the writer goes on when the reader has taken one."""
    channel: Channel[int] = Channel(1)
    await channel.put(1)
    writer = asyncio.create_task(channel.put(2))
    await asyncio.sleep(0)
    assert not writer.done()
    assert await channel.get() == 1
    await writer
    assert await channel.get() == 2


async def test_closing_wakes_writers_and_readers() -> None:
    """Nobody waits for ever on a closed channel."""
    full: Channel[int] = Channel(1)
    full.offer(1)
    writer = asyncio.create_task(full.put(2))
    empty: Channel[int] = Channel(1)
    reader = asyncio.create_task(empty.get())
    await asyncio.sleep(0)
    full.close()
    empty.close()
    for task in (writer, reader):
        with pytest.raises(ChannelClosedError):
            await task


async def test_many_writers_and_readers_lose_nothing() -> None:
    """Every item put is got exactly once, whoever waits."""
    channel: Channel[int] = Channel(3)
    got: list[int] = []

    async def read() -> None:
        got.extend([item async for item in channel])

    async def write(start: int) -> None:
        for number in range(start, start + 50):
            await channel.put(number)

    async with asyncio.TaskGroup() as readers:
        for _ in range(4):
            readers.create_task(read())
        async with asyncio.TaskGroup() as writers:
            for start in range(0, 200, 50):
                writers.create_task(write(start))
        channel.close()
    assert sorted(got) == list(range(200))
    assert channel.peak <= 3


async def test_a_busy_writer_or_reader_starves_nobody() -> None:
    """Whoever waits longest is served first, even beside one who asks again at once."""
    channel: Channel[str] = Channel(1)
    counts: dict[str, int] = {}

    async def write(name: str) -> None:
        for _ in range(10):
            await channel.put(name)

    async def read(name: str) -> None:
        async for _ in channel:
            counts[name] = counts.get(name, 0) + 1

    order: list[str] = []
    async with asyncio.TaskGroup() as writers:
        for name in "ab":
            writers.create_task(write(name))
        await asyncio.sleep(0)
        for _ in range(20):
            order.append(await channel.get())
            await asyncio.sleep(0)
    assert "".join(order) == "a" + "ab" * 9 + "b"
    async with asyncio.TaskGroup() as readers:
        for name in "ab":
            readers.create_task(read(name))
        await asyncio.sleep(0)
        await write("c")
        channel.close()
    assert counts == {"a": 5, "b": 5}


async def test_nobody_takes_an_item_that_was_promised() -> None:
    """One who asks after the item came, but before its reader ran, gets the next one."""
    channel: Channel[int] = Channel(2)
    reader = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.offer(1)
    asyncio.get_running_loop().call_soon(channel.offer, 2)
    assert await channel.get() == 2
    assert await reader == 1


async def test_what_was_promised_to_a_cancelled_reader_or_writer_goes_to_the_next_one() -> None:
    """The item stays first in line, and so does the place; the cancelled put has queued nothing."""
    channel: Channel[int] = Channel(1)
    first, second = asyncio.create_task(channel.get()), asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.offer(1)
    first.cancel()
    assert await second == 1
    channel.offer(2)
    third, fourth = asyncio.create_task(channel.put(3)), asyncio.create_task(channel.put(4))
    await asyncio.sleep(0)
    assert await channel.get() == 2
    assert not channel.offer(5), "the place is promised"
    third.cancel()
    await asyncio.wait((first, third, fourth))
    assert (first.cancelled(), third.cancelled(), channel.take(9)) == (True, True, [4])


async def test_closing_while_the_last_item_is_promised_keeps_it_for_whoever_is_left() -> None:
    """A reader who comes late waits to see whether the promised one takes it."""
    channel: Channel[int] = Channel(2)
    promised = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.offer(1)
    channel.close()
    promised.cancel()
    assert await channel.get() == 1, "begins to wait before the promised one hears of its cancellation"
    with pytest.raises(asyncio.CancelledError):
        await promised
    with pytest.raises(ChannelClosedError):
        await channel.get()


async def test_clearing_takes_promised_items_too() -> None:
    """The reader goes on waiting, and writers have room."""
    channel: Channel[int] = Channel(1)
    reader = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.offer(1)
    writer = asyncio.create_task(channel.put(2))
    assert channel.take(1) == []
    assert channel.clear() == 1
    await writer
    assert await reader == 2


async def test_a_dropping_channel_refuses_where_its_only_place_is_promised() -> None:
    """There is no older item to drop, and the bound holds."""
    channel: Channel[int] = Channel(1, on_full="drop_oldest")
    await channel.put(1)
    writer = asyncio.create_task(channel.put(2))
    await asyncio.sleep(0)
    assert await channel.get() == 1
    assert not channel.offer(3)
    await writer
    assert (channel.take(2), channel.dropped) == ([2], 1)


async def test_statistics_tell_what_is_queued_and_who_waits() -> None:
    """Everything at one moment, by the channel's name."""
    channel: Channel[int] = Channel(1, name="sentences")
    channel.offer(1)
    channel.offer(2)
    writers = [asyncio.create_task(channel.put(number)) for number in range(2)]
    await asyncio.sleep(0)
    assert channel.statistics() == ChannelStatistics("sentences", 1, 1, 1, 1, closed=False, readers=0, writers=2)
    channel.close()
    await asyncio.wait(writers)
    assert all(isinstance(writer.exception(), ChannelClosedError) for writer in writers)
    assert channel.statistics() == ChannelStatistics("sentences", 1, 1, 1, 1, closed=True, readers=0, writers=0)


Moment = tuple[int, int]
"""A second, and so many rounds of the loop after it began."""

moments = st.tuples(st.integers(0, 4), st.integers(0, 3))


async def until(moment: Moment) -> None:
    """Wait for a moment."""
    seconds, rounds = moment
    await asyncio.sleep(max(0.0, seconds - asyncio.get_running_loop().time()))
    for _ in range(rounds):
        await asyncio.sleep(0)


class Crowd:
    """Readers and writers of one channel, and an account of what they did."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.channel: Channel[tuple[int, int]] = Channel(limit)
        self.put: list[tuple[int, int]] = []
        self.got: list[tuple[int, int]] = []

    async def write(self, writer: int, times: list[Moment]) -> None:
        """Put one item at each of the times, or later."""
        for number, moment in enumerate(sorted(times)):
            await until(moment)
            try:
                await self.channel.put((writer, number))
            except ChannelClosedError:
                assert self.channel.closed
                return
            self.put.append((writer, number))
            assert len(self.channel) <= self.limit

    async def read(self, start: Moment) -> None:
        """Get items until the channel is closed and empty."""
        await until(start)
        while True:
            try:
                self.got.append(await self.channel.get())
            except ChannelClosedError:
                return

    async def cancel(self, task: asyncio.Task[None], moment: Moment) -> None:
        """Cancel somebody."""
        await until(moment)
        task.cancel()

    async def close(self, moment: Moment) -> None:
        """Close the channel."""
        await until(moment)
        self.channel.close()


@given(
    limit=st.integers(1, 3),
    writers=st.lists(st.tuples(st.lists(moments, max_size=6), st.none() | moments), max_size=4),
    readers=st.lists(st.tuples(moments, st.none() | moments), max_size=4),
    closed=moments,
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_closing_loses_and_doubles_nothing_and_wakes_everyone(
    limit: int,
    writers: list[tuple[list[Moment], Moment | None]],
    readers: list[tuple[Moment, Moment | None]],
    closed: Moment,
) -> None:
    """Readers and writers come, wait and are cancelled at any moment; what was put is got once, in order."""

    @in_virtual_time
    async def run() -> None:
        crowd = Crowd(limit)
        works = [(crowd.write(number, times), cancelled) for number, (times, cancelled) in enumerate(writers)]
        works += [(crowd.read(start), cancelled) for start, cancelled in readers]
        tasks = [asyncio.create_task(crowd.close(closed))]
        for work, cancelled in works:
            tasks.append(asyncio.create_task(work))
            if cancelled is not None:
                tasks.append(asyncio.create_task(crowd.cancel(tasks[-1], cancelled)))
        done, waiting = await asyncio.wait(tasks, timeout=100)
        assert not waiting, "somebody waits for ever"
        assert all(task.cancelled() or task.exception() is None for task in done)

        channel, put, got = crowd.channel, crowd.put, crowd.got
        assert channel.statistics().readers == channel.statistics().writers == 0
        assert channel.peak <= limit
        left = channel.take(limit)
        if any(cancelled is None for _, cancelled in readers):
            assert left == []
        got += left
        assert sorted(got) == sorted(put)
        for number in range(len(writers)):
            assert [item for item in got if item[0] == number] == [item for item in put if item[0] == number]

    run()


async def test_peek_shows_what_take_would_take() -> None:
    """The oldest item, and nothing that is promised to a reader."""
    channel: Channel[int] = Channel(4)
    assert channel.peek() is None
    channel.offer(1)
    channel.offer(2)
    assert (channel.peek(), len(channel), channel.take(1), channel.peek()) == (1, 2, [1], 2)
    channel.clear()
    reading = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.offer(3)
    assert channel.peek() is None
    assert await reading == 3
