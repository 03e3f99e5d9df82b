"""The power is cut at every step of a remote change; the device always starts, and says on which revision."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from remote_rig import DEVICE, FLEET, NOT_STARTING, NOT_WELL, OWN_VOLUME, RemoteDevice, volume
from unreliable_disk import PowerLossError
from virtual_time import VirtualTimeLoop

from edge_agent.config.schema import Config

SEEDS = 12
T = TypeVar("T")
VOLUMES = {None: OWN_VOLUME, 1: 50}

Cut = Callable[[RemoteDevice], None]


def at_operation(number: int, *, after: bool) -> Cut:
    """Cut it at one operation of the disk."""

    def arm(device: RemoteDevice) -> None:
        device.disk.power_for, device.disk.is_cut_after = number, after

    return arm


def while_applying(volume: int) -> Cut:
    """Cut it when the agent is told to take that volume."""

    def arm(device: RemoteDevice) -> None:
        def lose(config: Config) -> None:
            if config.audio.volume == volume:
                device.disk.lose_power()

        device.agent.before_apply = lose

    return arm


def while_proving(proof: int) -> Cut:
    """Cut it at one health check."""

    def arm(device: RemoteDevice) -> None:
        def lose() -> None:
            if device.agent.proofs == proof:
                device.disk.lose_power()

        device.agent.before_prove = lose

    return arm


async def live_until_cut(device: RemoteDevice, documents: list[tuple[str, dict[str, Any]]], arm: Cut) -> bool:
    """Start, get `documents`, and return whether the power was cut."""
    try:
        async with device.running() as change:
            arm(device)
            for topic, document in documents:
                change.offer(topic, json.dumps(document).encode())
            await asyncio.sleep(50)  # within a minute: the start is not counted as a good one yet
            device.disk.power_for = None
    except PowerLossError:
        return True
    device.disk.power_for = None
    return False


async def start_on_something_whole(device: RemoteDevice, volumes: dict[int | None, int]) -> dict[str, Any]:
    """Start, and return the report, which says what is in force."""
    change = await device.boot()
    revision = change.reported["revisions"]["device"]
    assert change.config.audio.volume == device.agent.running.audio.volume == volumes[revision]
    assert device.told == []
    return change.reported


async def in_every_way(new: int, check: Callable[[RemoteDevice], Any]) -> int:
    """Have revision 2 set the volume `new` over revision 1, with the power cut at each step; return the cuts."""
    cuts: list[Cut] = [at_operation(number, after=after) for number in range(16) for after in (False, True)]
    cuts += [while_applying(new), while_applying(50), while_proving(0), while_proving(1)]
    cut = 0
    for arm in cuts:
        for seed in range(SEEDS):
            device = RemoteDevice({"audio": {"volume": OWN_VOLUME}})
            async with device.running():
                await device.deliver(DEVICE, volume(1, 50))
            if await live_until_cut(device, [(DEVICE, volume(2, new))], arm):
                cut += 1
            device.disk.restart(random.Random(seed))
            await check(device)
    return cut


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario)


def test_a_good_change_survives_a_cut_at_every_step() -> None:
    """On the old or the new revision, never another; delivered again, it is in force in the end."""
    seen: set[tuple[int | None, str]] = set()

    async def check(device: RemoteDevice) -> None:
        reported = await start_on_something_whole(device, {1: 50, 2: 60})
        seen.add((reported["revisions"]["device"], reported["outcome"]))
        async with device.running():
            reported = await device.deliver(DEVICE, volume(2, 60))
            assert (reported["outcome"], reported["revisions"]["device"], device.volume) == ("applied", 2, 60)
        reported = await start_on_something_whole(device, {2: 60})
        assert reported["outcome"] == "applied"

    assert run(in_every_way(60, check)) > 15 * SEEDS
    assert seen == {(1, "applied"), (1, "rolled_back"), (2, "applied")}


@pytest.mark.parametrize("broken", [NOT_STARTING, NOT_WELL])
def test_a_change_that_breaks_the_device_is_gone_after_a_cut_at_every_step(broken: int) -> None:
    """It is never what the device starts with, and delivered again it ends as rolled back."""

    async def check(device: RemoteDevice) -> None:
        await start_on_something_whole(device, {1: 50})
        async with device.running():
            reported = await device.deliver(DEVICE, volume(2, broken))
            assert (reported["outcome"], reported["revisions"]["device"], device.volume) == ("rolled_back", 1, 50)
            assert reported["refused"] == {"device": 2}
        assert (await start_on_something_whole(device, {1: 50}))["outcome"] == "rolled_back"

    assert run(in_every_way(broken, check)) > 15 * SEEDS


def test_a_rejected_document_survives_a_cut_at_every_step() -> None:
    """It is never in force, and delivered again it is rejected in the end."""

    async def check(device: RemoteDevice) -> None:
        await start_on_something_whole(device, {1: 50})
        async with device.running():
            reported = await device.deliver(DEVICE, volume(2, 300))
            assert (reported["outcome"], reported["refused"], device.volume) == ("rejected", {"device": 2}, 50)

    assert run(in_every_way(300, check)) > 5 * SEEDS


def test_cuts_while_it_is_tried_twice_are_the_changes_fault() -> None:
    """The first may be chance; after the second the document is not tried again, and a newer one is."""

    async def scenario() -> None:
        for arm in (while_applying(60), while_proving(0)):
            device = RemoteDevice({"audio": {"volume": OWN_VOLUME}})
            for outcome, refused in (("rolled_back", {"device": 2}), ("rolled_back", {"device": 2})):
                assert await live_until_cut(device, [(DEVICE, volume(2, 60))], arm)
                device.disk.restart(random.Random(1))
                reported = await start_on_something_whole(device, VOLUMES)
                assert (reported["outcome"], reported["refused"]) == (outcome, refused)
            assert "2 times" in reported["errors"][0]["message"]
            assert not await live_until_cut(device, [(DEVICE, volume(2, 60))], arm)
            assert device.agent.volumes == []
            assert not await live_until_cut(device, [(DEVICE, volume(3, 61))], lambda _: None)
            assert device.volume == 61

    run(scenario())


def test_two_layers_and_two_cuts_end_with_both() -> None:
    """Fleet and device arrive together; the power is cut, and cut again in the next start; then all is applied."""

    async def scenario() -> None:
        documents: list[tuple[str, dict[str, Any]]] = [
            (FLEET, {"revision": 7, "patch": {"log_level": "debug"}}),
            (DEVICE, volume(3, 70)),
        ]
        choose = random.Random(4)
        for first in range(0, 22, 2):
            for second in range(0, 22, 3):
                device = RemoteDevice({"audio": {"volume": OWN_VOLUME}})
                for number in (first, second):
                    arm = at_operation(number, after=choose.random() < 0.5)
                    await live_until_cut(device, documents, arm)
                    device.disk.restart(choose)
                    change = await device.boot()
                    revisions = change.reported["revisions"]
                    assert change.config.audio.volume == {None: OWN_VOLUME, 3: 70}[revisions["device"]]
                    assert change.config.log_level == {None: "info", 7: "debug"}[revisions["fleet"]]
                await live_until_cut(device, documents, lambda _: None)
                revisions, refused = device.change.reported["revisions"], device.change.reported["refused"]
                for layer, revision in (("fleet", 7), ("device", 3)):
                    # A document that both cuts fell into is refused; that is the rule, see above.
                    assert revisions[layer] == revision or refused[layer] == revision
                if not refused:
                    assert (device.change.reported["outcome"], device.volume) == ("applied", 70)

    run(scenario())
