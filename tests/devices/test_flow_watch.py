"""A channel that nothing comes through is closed in time, and what was promised is kept, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import in_virtual_time

from edge_agent.devices.flow_watch import FlowWatch
from edge_agent.errors import DeviceError, StalledDeviceError
from edge_agent.runtime.channel import Channel, ChannelClosedError


class Rig:
    """A channel, its watch, and how often that has looked."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.blocks: Channel[int] = Channel(50, "drop_oldest")
        self.watch = FlowWatch(self.blocks, "mic", 5.0, self._note)

    def _note(self) -> None:
        self.looks.append(asyncio.get_running_loop().time())

    async def take(self) -> None:
        """Take what comes until it is closed."""
        while True:
            await self.blocks.get()
            self.watch.saw(2.0)

    async def give(self, seconds: float) -> None:
        """Let a block come every 20 ms."""
        for number in range(round(seconds / 0.02)):
            self.blocks.offer(number)
            await asyncio.sleep(0.02)


@in_virtual_time
async def test_a_device_that_falls_silent_is_given_up() -> None:
    """5 s after it was opened where nothing came, 2 s after the last block else; not sooner, and it is said why."""
    rig = Rig()
    with pytest.raises(ChannelClosedError):
        await rig.take()
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    assert isinstance(rig.watch.error, StalledDeviceError)

    began_s = asyncio.get_running_loop().time()
    rig = Rig()
    taking = asyncio.create_task(rig.take(), name="take")
    await rig.give(10)
    await asyncio.wait({taking})
    assert isinstance(taking.exception(), ChannelClosedError)
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(12.0, abs=0.1)
    assert str(rig.watch.error) == "mic: delivers no sound for 2 s; is it still connected?"


@in_virtual_time
async def test_it_looks_with_the_first_block_and_then_every_two_seconds() -> None:
    """So often that whoever judges the sound need not count, and rarely enough to cost nothing."""
    rig = Rig()
    taking = asyncio.create_task(rig.take(), name="take")
    await rig.give(20)
    assert rig.looks[0] < 0.1
    assert 9 <= len(rig.looks) <= 12
    rig.watch.end()
    taking.cancel()
    await asyncio.wait({taking})


@in_virtual_time
async def test_what_is_not_taken_is_no_fault_of_the_device() -> None:
    """But nobody promises anything any more: whoever watches the consumer finds out."""
    rig = Rig()
    await rig.give(30)
    assert rig.watch.error is None
    assert rig.watch.next_sign_s < asyncio.get_running_loop().time()
    rig.watch.end()


@in_virtual_time
async def test_promises_are_kept_while_blocks_come() -> None:
    """And broken by nobody: with the last block the next sign is the end."""
    rig = Rig()
    taking = asyncio.create_task(rig.take(), name="take")
    for _ in range(20):
        assert rig.watch.next_sign_s > asyncio.get_running_loop().time()
        await rig.give(0.5)
    promised_s = rig.watch.next_sign_s
    await asyncio.wait({taking})
    assert asyncio.get_running_loop().time() <= promised_s
    assert taking.exception() is not None


@in_virtual_time
async def test_given_up_it_says_why() -> None:
    """What is in the channel is had before; the first reason counts."""
    rig = Rig()
    rig.blocks.offer(1)
    first = DeviceError("mic", "is opened again")
    rig.watch.give_up(first)
    rig.watch.give_up(DeviceError("mic", "something else"))
    assert await rig.blocks.get() == 1
    with pytest.raises(ChannelClosedError):
        await rig.blocks.get()
    assert rig.watch.error is first
    rig.watch.end()
