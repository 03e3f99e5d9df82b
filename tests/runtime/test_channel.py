"""Channels: order, bounds, counting, closing."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.runtime.channel import Channel, ChannelClosedError


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
