"""The owner's file is read again: in force where it is right and works, else nothing has changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from remote_rig import DEVICE, NOT_STARTING, NOT_WELL, OWN_VOLUME, RemoteDevice, volume
from virtual_time import in_virtual_time

from edge_agent.app.rereading import needing_restart
from edge_agent.config.schema import Config


async def reread(device: RemoteDevice, **own: Any) -> None:  # noqa: ANN401 - as TOML would give it
    """Change the owner's file, and wait until all is settled."""
    device.own = {"groups": ["kitchen"], **own}
    device.change.reread()
    await asyncio.sleep(300)


@in_virtual_time
async def test_a_right_file_is_in_force() -> None:
    """At once, and documents that come later lie over it."""
    device = RemoteDevice()
    async with device.running() as change:
        await reread(device, audio={"volume": 55})
        assert (device.volume, change.config.audio.volume) == (55, 55)
        assert device.told == []
        await device.deliver(DEVICE, volume(1, 70))
        assert device.volume == 70
        await device.deliver(DEVICE, volume(2, None))
        assert device.volume == 55


@in_virtual_time
async def test_documents_in_force_stay_over_it() -> None:
    """The order of layers is the same as at a start."""
    device = RemoteDevice()
    async with device.running() as change:
        await device.deliver(DEVICE, volume(1, 70))
        await reread(device, audio={"volume": 55, "earcons": False})
        assert device.volume == 70
        assert change.config.audio.earcons is False
        assert change.reported["revisions"]["device"] == 1


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"audio": {"volume": 500, "volum": 3}}, "audio.volume"),
        ({"audio": {"volume": NOT_STARTING}}, "the speaker does not start"),
        ({"audio": {"volume": NOT_WELL}}, "no audio flows"),
    ],
    ids=["wrong", "does not start", "not well"],
)
def test_what_is_wrong_changes_nothing(own: dict[str, Any], told: str) -> None:
    """Each key is told, and the configuration before runs on; a later right file is taken all the same."""

    @in_virtual_time
    async def scenario() -> None:
        device = RemoteDevice()
        async with device.running() as change:
            await reread(device, **own)
            assert (device.volume, change.config.audio.volume) == (OWN_VOLUME, OWN_VOLUME)
            assert any(told in line and "the configuration file is not taken" in line for line in device.told)
            await reread(device, audio={"volume": 56})
            assert device.volume == 56

    asyncio.set_event_loop(None)
    scenario()


@in_virtual_time
async def test_the_same_file_again_restarts_nothing() -> None:
    """Whoever reloads to be sure interrupts nobody."""
    device = RemoteDevice()
    async with device.running():
        await reread(device, audio={"volume": OWN_VOLUME})
        assert device.agent.volumes == []


def test_what_takes_effect_later_is_named() -> None:
    """The connection to the broker is made at a start; Home Assistant's discovery follows at once."""
    after = Config.model_validate(
        {"mqtt": {"host": "hub"}, "home_assistant": {"enabled": True}, "audio": {"volume": 12}, "groups": ["attic"]}
    )
    assert set(needing_restart(Config(), after)) == {"mqtt.host", "groups"}
