"""Remote configuration as transactions."""

from __future__ import annotations

import asyncio
import errno
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_rig import (
    DEVICE,
    FLEET,
    KITCHEN,
    NOT_STARTING,
    NOT_WELL,
    OWN_VOLUME,
    STATE,
    FakeAgent,
    RemoteDevice,
    volume,
)
from virtual_time import VirtualTimeLoop, in_virtual_time

from edge_agent.app.reconfiguration import ChangeError, Reconfiguration, RollBackFailedError
from edge_agent.app.remote_verdicts import MOST_STARTS
from edge_agent.config.effective import fingerprint
from edge_agent.config.load import read_own
from edge_agent.config.schema import Config
from edge_agent.errors import ConfigError, ConfigProblem, DeviceError
from edge_agent.mqtt.signing import generate_key_pair, sign
from edge_agent.runtime.pool import Pool
from edge_agent.store.revisions import RevisionStore

KEYS = generate_key_pair()


def signed(
    document: dict[str, Any], scope: str = "pi-1", *, private: str = KEYS.private, days: float = 30
) -> dict[str, Any]:
    """Return a document signed for the test's device."""
    expires_at = datetime(2027, 3, 1, tzinfo=UTC) + timedelta(days=days)
    return sign(document["revision"], document["patch"], scope, expires_at, private)


def locked() -> RemoteDevice:
    """Return a device that takes only signed documents."""
    return RemoteDevice({"remote": {"public_key": KEYS.public}})


@in_virtual_time
async def test_a_device_that_was_never_configured_reports_so() -> None:
    """Nothing is refused, nothing is in force, and the hash is that of its own configuration."""
    device = RemoteDevice()
    change = await device.boot()
    assert change.config.audio.volume == OWN_VOLUME
    assert change.reported == {
        "revisions": {"fleet": None, "group": None, "device": None},
        "groups": {},
        "outcome": "applied",
        "errors": [],
        "document": None,
        "refused": {},
        "hash": fingerprint(change.config),
        "at": None,
    }
    assert change.topics == (FLEET, KITCHEN, DEVICE)
    assert device.disk.operations == []


@in_virtual_time
async def test_device_beats_group_beats_fleet_and_each_shows_through() -> None:
    """Layers lie over each other; null and an empty patch take a layer's override away."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 60))
        await device.deliver(FLEET, volume(4, 40))
        assert device.volume == 60
        await device.deliver(KITCHEN, volume(2, 50))
        reported = await device.deliver(DEVICE, volume(2, None))
        assert device.volume == 50
        assert reported["revisions"] == {"fleet": 4, "group": 2, "device": 2}
        assert reported["groups"] == {"kitchen": 2}
        await device.deliver(KITCHEN, {"revision": 3, "patch": {}})
        assert device.volume == 40
        reported = await device.deliver(FLEET, {"revision": 5, "patch": {"log_level": "debug"}})
        assert device.volume == OWN_VOLUME
        assert reported["outcome"] == "applied"
    assert (await device.boot()).config.log_level == "debug"
    assert device.change.reported["revisions"] == {"fleet": 5, "group": 3, "device": 2}


@in_virtual_time
async def test_the_current_revision_again_is_silent_and_an_older_one_refused() -> None:
    """Nothing is applied twice, nothing written, and a refusal is told once."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(5, 50))
        told, written = len(device.reports), len(device.disk.operations)
        for _ in range(3):
            await device.deliver(DEVICE, volume(5, 50))
        assert (len(device.reports), len(device.disk.operations)) == (told, written)
        for _ in range(3):
            reported = await device.deliver(DEVICE, volume(4, 40))
        assert len(device.reports) == told + 1
        assert reported["outcome"] == "rejected"
        assert reported["errors"] == [
            {"key": "revision", "message": "revision 4 is older than 5, which was here before; use a higher one"}
        ]
        assert reported["revisions"]["device"] == 5
        assert reported["document"] == {"layer": "device", "group": None, "revision": 4}
        reported = await device.deliver(DEVICE, volume(5, 51))
        assert "another content" in reported["errors"][0]["message"]
        assert (device.volume, len(device.disk.operations)) == (50, written)


@in_virtual_time
async def test_every_error_of_a_document_is_reported_and_it_is_not_tried_again() -> None:
    """Unknown keys, protected keys and wrong values in one report, remembered over restarts."""
    device = RemoteDevice()
    bad = {
        "revision": 1,
        "patch": {"audio": {"volum": 3, "volume": 300}, "mqtt": {"host": "evil"}, "recorder": None, "log_levl": None},
    }
    async with device.running():
        reported = await device.deliver(DEVICE, bad)
        errors = {error["key"]: error["message"] for error in reported["errors"]}
        assert set(errors) == {"audio.volum", "audio.volume", "mqtt.host", "recorder.audio_turns", "log_levl"}
        assert 'did you mean "volume"?' in errors["audio.volum"]
        assert "can't be set remotely" in errors["mqtt.host"]
        assert reported["outcome"] == "rejected"
        assert reported["refused"] == {"device": 1}
        assert device.agent.volumes == []
    async with device.running() as change:
        written = len(device.disk.operations)
        assert change.reported == reported
        await device.deliver(DEVICE, bad)
        assert (device.reports, len(device.disk.operations)) == ([], written)
        assert (await device.deliver(DEVICE, volume(2, 20)))["refused"] == {}
        assert device.volume == 20


@pytest.mark.parametrize(("value", "message"), [(NOT_STARTING, "does not start"), (NOT_WELL, "no audio flows")])
def test_a_change_that_breaks_the_device_is_rolled_back(value: int, message: str) -> None:
    """The configuration before runs again, the revision is remembered, and the report comes within the gate."""

    @in_virtual_time
    async def scenario() -> None:
        device = RemoteDevice()
        async with device.running() as change:
            await device.deliver(DEVICE, volume(1, 50))
            began_s = asyncio.get_running_loop().time()
            device.change.offer(DEVICE, json.dumps(volume(2, value)).encode())
            rolled_back = asyncio.Event()
            change.watch(lambda reported: rolled_back.set() if reported["outcome"] == "rolled_back" else None)
            await rolled_back.wait()
            assert asyncio.get_running_loop().time() - began_s < change.config.remote.health_s + 1
            assert device.volume == 50
            assert device.agent.volumes == [50, value, 50]
            (error,) = change.reported["errors"]
            assert message in error["message"]
            assert change.reported["revisions"]["device"] == 1
            assert change.reported["refused"] == {"device": 2}
            await asyncio.sleep(60)
            told = len(device.reports)
            await device.deliver(DEVICE, volume(2, value))
            assert len(device.reports) == told
        async with device.running() as change:
            assert change.reported["outcome"] == "rolled_back"
            await device.deliver(DEVICE, volume(2, value))
            assert device.agent.volumes == []
            assert (await device.deliver(DEVICE, volume(3, 55)))["outcome"] == "applied"

    scenario()


@in_virtual_time
async def test_a_fault_while_applying_is_a_roll_back_too() -> None:
    """Errors of any kind that the agent raises on purpose are the report's message."""
    device = RemoteDevice()
    async with device.running():

        def unplugged(config: Config) -> None:
            if config.audio.volume == 50:
                raise DeviceError("USB speaker", "went away")

        device.agent.before_apply = unplugged
        reported = await device.deliver(DEVICE, volume(1, 50))
        assert reported["outcome"] == "rolled_back"
        assert reported["errors"][0]["message"] == "USB speaker: went away"


@in_virtual_time
async def test_an_agent_that_hangs_is_rolled_back() -> None:
    """Neither applying nor proving may take for ever."""
    device = RemoteDevice()
    async with device.running() as change:
        agent = device.agent

        class Hanging(FakeAgent):
            async def apply(self, config: Config) -> None:
                await agent.apply(config)
                if config.audio.volume == 50:
                    await asyncio.Event().wait()

            async def prove(self, within_s: float) -> list[ConfigProblem]:
                if agent.running.audio.volume == 51:
                    await asyncio.Event().wait()
                return []

    change = await device.boot()
    looping = asyncio.create_task(change.run_loop(Hanging(change.config)))
    for revision, hung in ((1, "did not take effect within"), (2, "did not prove itself")):
        reported = await device.deliver(DEVICE, volume(revision, 49 + revision))
        assert reported["outcome"] == "rolled_back"
        assert hung in reported["errors"][0]["message"]
        assert agent.volumes[-1] == OWN_VOLUME
    looping.cancel()
    await asyncio.wait({looping})


@in_virtual_time
async def test_what_changes_nothing_is_kept_without_a_restart() -> None:
    """The same value as before, or an empty patch, is applied by writing it down."""
    device = RemoteDevice()
    async with device.running():
        reported = await device.deliver(DEVICE, volume(1, OWN_VOLUME))
        assert (reported["outcome"], device.agent.volumes) == ("applied", [])
        assert reported["revisions"]["device"] == 1
    assert (await device.boot()).reported["revisions"]["device"] == 1


@in_virtual_time
async def test_documents_of_all_layers_at_once_are_judged_each_by_itself() -> None:
    """At a connect they arrive together: a broken one of the device does not keep the fleet's out."""
    device = RemoteDevice()
    async with device.running() as change:
        change.offer(DEVICE, json.dumps({"revision": 1, "patch": {"audio": {"volume": "loud"}}}).encode())
        change.offer(KITCHEN, json.dumps(volume(1, 50)).encode())
        change.offer(FLEET, json.dumps({"revision": 1, "patch": {"log_level": "debug"}}).encode())
        await asyncio.sleep(10)
        assert (device.volume, change.config.log_level) == (50, "debug")
        assert change.reported["revisions"] == {"fleet": 1, "group": 1, "device": None}
        assert change.reported["refused"] == {"device": 1}


@in_virtual_time
async def test_a_value_that_a_stronger_layer_hides_is_judged_all_the_same() -> None:
    """It would come to light later, in a change that has no fault."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
        reported = await device.deliver(FLEET, volume(1, 300))
        assert [error["key"] for error in reported["errors"]] == ["audio.volume"]
        assert reported["refused"] == {"fleet": 1}


@in_virtual_time
async def test_a_document_that_makes_the_whole_wrong_is_refused_by_key() -> None:
    """Right by itself, it contradicts another layer; with it, it would be right."""
    device = RemoteDevice()
    async with device.running():
        reported = await device.deliver(FLEET, {"revision": 1, "patch": {"activation": {"mode": "button"}}})
        assert [error["key"] for error in reported["errors"]] == ["activation.mode"]
        await device.deliver(DEVICE, {"revision": 1, "patch": {"gpio": {"button": {"pin": 23}}}})
        reported = await device.deliver(FLEET, {"revision": 2, "patch": {"activation": {"mode": "button"}}})
        assert reported["outcome"] == "applied"
        reported = await device.deliver(DEVICE, {"revision": 2, "patch": {}})
        assert reported["errors"][0]["key"] == "activation.mode"
        assert reported["errors"][0]["message"].endswith("(from fleet revision 2)")


@in_virtual_time
async def test_while_one_is_tried_the_latest_of_each_topic_waits() -> None:
    """What was replaced meanwhile is never tried."""
    device = RemoteDevice()
    async with device.running() as change:
        change.offer(DEVICE, json.dumps(volume(1, 50)).encode())
        await asyncio.sleep(0.305)
        for revision in range(2, 500):
            change.offer(DEVICE, json.dumps(volume(revision, revision % 100)).encode())
        await asyncio.sleep(60)
        assert device.agent.volumes == [50, 99]
        assert change.reported["revisions"]["device"] == 499


@in_virtual_time
async def test_nothing_desired_any_more_changes_nothing() -> None:
    """A retained document that was deleted leaves what is in force; an empty patch is what takes it away."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
        reported = await device.deliver(DEVICE, b"")
        assert (device.volume, reported["revisions"]["device"], reported["outcome"]) == (50, 1, "applied")


@in_virtual_time
async def test_topics_of_others_are_ignored() -> None:
    """Whatever the broker sends."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver("edge-agent/pi-2/config/desired", volume(1, 50))
        assert (device.volume, device.reports) == (OWN_VOLUME, [])


@in_virtual_time
async def test_a_group_that_the_device_left_has_no_say() -> None:
    """Its document goes at once; when the device comes back nothing older than before is taken."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(KITCHEN, volume(5, 50))
    device.own = {"audio": {"volume": OWN_VOLUME}}
    async with device.running() as change:
        assert change.config.audio.volume == OWN_VOLUME
        assert change.reported["groups"] == {}
        await device.deliver(DEVICE, volume(1, 31))
    device.own = {"audio": {"volume": OWN_VOLUME}, "groups": ["kitchen"]}
    async with device.running():
        assert (await device.deliver(KITCHEN, volume(4, 40)))["outcome"] == "rejected"
        assert (await device.deliver(KITCHEN, volume(5, 50)))["revisions"]["group"] == 5


@in_virtual_time
async def test_the_strongest_group_is_the_one_reported() -> None:
    """A later group beats an earlier one."""
    device = RemoteDevice({"groups": ["ground", "kitchen"]})
    async with device.running():
        await device.deliver(KITCHEN, volume(7, 50))
        reported = await device.deliver(KITCHEN.replace("kitchen", "ground"), volume(9, 60))
        assert device.volume == 50
        assert reported["revisions"]["group"] == 7
        assert reported["groups"] == {"ground": 9, "kitchen": 7}


@in_virtual_time
async def test_remote_configuration_that_is_off_is_off() -> None:
    """Nothing is subscribed to, and what was accepted before does not count."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
    device.own = {"remote": {"configuration": False}, "audio": {"volume": OWN_VOLUME}}
    async with device.running() as change:
        assert (change.topics, change.config.audio.volume) == ((), OWN_VOLUME)
        await device.deliver(DEVICE, volume(2, 60))
        assert device.agent.volumes == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_or_read_only_refuses_and_leaves_all_as_it_is(code: int) -> None:
    """Nothing is tried that could not be kept; when the disk takes it again, so does the device."""

    @in_virtual_time
    async def scenario() -> None:
        device = RemoteDevice()
        async with device.running():
            await device.deliver(DEVICE, volume(1, 50))
            device.disk.fails_with = code
            reported = await device.deliver(DEVICE, volume(2, 60))
            assert (reported["outcome"], device.agent.volumes) == ("rejected", [50])
            assert "can't be kept" in reported["errors"][0]["message"]
            device.disk.fails_with = 0
            reported = await device.deliver(DEVICE, volume(2, 60))
            assert (reported["outcome"], device.volume) == ("applied", 60)

    scenario()


@in_virtual_time
async def test_a_disk_that_fills_up_while_a_change_is_tried_rolls_it_back() -> None:
    """What can't be kept does not stay running: a restart would undo it unnoticed."""
    device = RemoteDevice()
    async with device.running():

        def fill() -> None:
            device.disk.fails_with = errno.ENOSPC

        device.agent.before_prove = fill
        reported = await device.deliver(DEVICE, volume(1, 50))
        assert (reported["outcome"], device.agent.volumes) == ("rejected", [50, OWN_VOLUME])
        assert reported["revisions"]["device"] is None


@in_virtual_time
async def test_a_verdict_that_can_not_be_kept_holds_in_this_run() -> None:
    """The document is not tried in a circle, and the disk is reported as a fault."""
    device = RemoteDevice()
    async with device.running():
        device.disk.fails_with = errno.EROFS
        for _ in range(3):
            await device.deliver(DEVICE, {"revision": 1, "patch": {"audio": {"volume": 101}}})
        assert len(device.told) == 1
        assert device.reports[-1]["refused"] == {"device": 1}


@in_virtual_time
async def test_going_back_is_tried_several_times_and_then_raised() -> None:
    """An agent that takes neither the new nor the old configuration is started anew, with the old one."""
    device = RemoteDevice()

    async def live() -> None:
        async with device.running():
            await device.deliver(DEVICE, volume(1, 50))

            def refuse(config: Config) -> None:
                raise ChangeError([ConfigProblem("tts", "the voice is gone", "")])

            device.agent.before_apply = refuse
            await device.deliver(DEVICE, volume(2, 60))

    with pytest.raises(RollBackFailedError, match="restart the service"):
        await live()
    assert any("voice is gone" in fault for fault in device.told)
    async with device.running() as change:
        assert (change.config.audio.volume, change.reported["outcome"]) == (50, "rolled_back")
        await device.deliver(DEVICE, volume(2, 60))
        assert device.agent.volumes == []


@in_virtual_time
async def test_a_defect_while_trying_counts_as_failed() -> None:
    """The loop ends with the defect; begun again it goes back, and does not try that document again."""
    device = RemoteDevice()

    def defect(config: Config) -> None:
        if config.audio.volume == 50:
            raise ZeroDivisionError

    async def live() -> None:
        async with device.running():
            device.agent.before_apply = defect
            await device.deliver(DEVICE, volume(1, 50))

    with pytest.raises(ZeroDivisionError):
        await live()
    looping = asyncio.create_task(device.change.run_loop(device.agent))
    await asyncio.sleep(10)
    assert device.agent.volumes == [OWN_VOLUME]
    assert device.change.reported["outcome"] == "rolled_back"
    assert "unforeseen" in device.change.reported["errors"][0]["message"]
    await device.deliver(DEVICE, volume(1, 50))
    assert device.agent.volumes == [OWN_VOLUME]
    looping.cancel()
    await asyncio.wait({looping})


@in_virtual_time
async def test_an_end_at_any_moment_leaves_something_whole() -> None:
    """Cancelled at every hundredth second of a change, the device starts on the old or the new revision."""
    found = set()
    for hundredths in range(60):
        device = RemoteDevice()
        async with device.running() as change:
            change.offer(DEVICE, json.dumps(volume(1, 50)).encode())
            await asyncio.sleep(hundredths / 100)
        async with device.running() as change:
            revision = change.reported["revisions"]["device"]
            assert change.config.audio.volume == {None: OWN_VOLUME, 1: 50}[revision]
            found.add((revision, change.reported["outcome"]))
            assert (await device.deliver(DEVICE, volume(1, 50)))["revisions"]["device"] == 1
    assert found == {(None, "applied"), (None, "rolled_back"), (1, "applied")}


@in_virtual_time
async def test_a_file_that_changed_under_the_documents_does_not_keep_the_device_from_starting() -> None:
    """A document that no longer fits is left out and told; the others count; mended, all count again."""
    device = RemoteDevice({"gpio": {"button": {"pin": 23}}})
    async with device.running():
        await device.deliver(FLEET, {"revision": 3, "patch": {"activation": {"mode": "button"}}})
        await device.deliver(DEVICE, volume(1, 50))
    device.own = {}
    change = await device.boot()
    assert (change.config.activation.mode, change.config.audio.volume) == ("always", 50)
    assert change.reported["revisions"] == {"fleet": None, "group": None, "device": 1}
    assert change.reported["outcome"] == "rejected"
    assert change.reported["refused"] == {"fleet": 3}
    assert change.reported["errors"][0]["key"] == "activation.mode"
    assert len(device.told) == 1
    device.own = {"gpio": {"button": {"pin": 23}}}
    change = await device.boot()
    assert change.config.activation.mode == "button"
    assert change.reported["outcome"] == "applied"


@in_virtual_time
async def test_damaged_files_are_told_and_documents_are_taken_anew() -> None:
    """Both files gone bad cost the accepted revisions and nothing else."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
    device.disk.put(STATE, b"\x00")
    device.disk.put(Path(f"{STATE}.old"), b"\x00")
    async with device.running():
        assert len(device.told) == 2
        assert device.volume == OWN_VOLUME
        assert (await device.deliver(DEVICE, volume(1, 50)))["revisions"]["device"] == 1


@in_virtual_time
async def test_an_owners_configuration_that_is_wrong_is_their_error() -> None:
    """Remote documents neither hide nor mend it."""
    device = RemoteDevice({"audio": {"volume": 300}})
    with pytest.raises(ConfigError, match=r"config\.toml: audio\.volume"):
        await device.boot()


@in_virtual_time
async def test_a_device_that_does_not_start_with_it_begins_without() -> None:
    """The agent can't be built, for a model was deleted: it starts as its owner set it, and says so."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
    change = await device.boot()
    config = await change.fall_back("the voice /models/x.onnx does not exist")
    assert config.audio.volume == change.config.audio.volume == OWN_VOLUME
    assert change.reported["outcome"] == "rolled_back"
    assert change.reported["revisions"]["device"] is None
    assert "x.onnx" in change.reported["errors"][0]["message"]
    assert (await device.boot()).config.audio.volume == 50


@in_virtual_time
async def test_a_service_that_dies_soon_after_each_start_begins_without() -> None:
    """A change that kills the process later than its gate is survived: one start leaves it out, and says so."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
        await asyncio.sleep(100)
    for _ in range(MOST_STARTS):
        assert (await device.boot()).config.audio.volume == 50  # and dies
    change = await device.boot()
    assert (change.config.audio.volume, change.reported["outcome"]) == (OWN_VOLUME, "rolled_back")
    assert (await device.boot()).config.audio.volume == 50


@in_virtual_time
async def test_starts_that_end_by_order_or_went_well_are_not_counted() -> None:
    """Somebody who tries things out restarts often."""
    device = RemoteDevice()
    async with device.running():
        await device.deliver(DEVICE, volume(1, 50))
    for _ in range(2 * MOST_STARTS):
        async with device.running() as change:
            await asyncio.sleep(1)
            assert change.config.audio.volume == 50
    for _ in range(MOST_STARTS - 1):
        await device.boot()

    async def die_after_a_while() -> None:
        async with device.running():
            await asyncio.sleep(61)
            device.disk.power_for = 0

    await die_after_a_while()
    device.disk.power_for = None
    for _ in range(MOST_STARTS):
        assert (await device.boot()).config.audio.volume == 50


@in_virtual_time
async def test_only_signed_documents_count_where_a_key_is_set() -> None:
    """Unsigned, tampered with, by another key, for another device: refused with the reason, and nothing written."""
    device = locked()
    async with device.running():
        tampered = {**signed(volume(1, 50)), "patch": {"audio": {"volume": 51}}}
        for document, key in [
            (volume(1, 50), "signature"),
            (tampered, "signature"),
            (signed(volume(1, 50), private=generate_key_pair().private), "signature"),
            (signed(volume(1, 50), "pi-2"), "scope"),
            (signed(volume(1, 50), "fleet"), "scope"),
            (signed(volume(1, 50), days=-1), "expires_at"),
        ]:
            told = len(device.reports)
            reported = await device.deliver(DEVICE, document)
            assert [error["key"] for error in reported["errors"]] == [key]
            assert len(device.reports) == told + 1
        assert device.disk.operations == []
        reported = await device.deliver(DEVICE, signed(volume(1, 50)))
        assert (reported["outcome"], device.volume) == ("applied", 50)
        reported = await device.deliver(FLEET, signed(volume(1, 60), "fleet"))
        assert reported["revisions"]["fleet"] == 1


@in_virtual_time
async def test_a_replayed_document_is_older_and_a_forged_one_uses_up_no_revision() -> None:
    """An attacker with the broker's password can neither go back nor block what comes."""
    device = locked()
    first, second = signed(volume(1, 50)), signed(volume(2, 60))
    async with device.running():
        await device.deliver(DEVICE, first)
        await device.deliver(DEVICE, second)
        assert (await device.deliver(DEVICE, first))["errors"][0]["key"] == "revision"
        await device.deliver(DEVICE, volume(2**53, 99))
        assert (await device.deliver(DEVICE, signed(volume(3, 70))))["revisions"]["device"] == 3


@in_virtual_time
async def test_documents_from_before_the_key_was_set_do_not_count() -> None:
    """Nor those of a former key, until they are signed anew, with the same revision or a higher one."""
    device = RemoteDevice({})
    async with device.running():
        await device.deliver(DEVICE, volume(4, 50))
    device.own = {"remote": {"public_key": KEYS.public}}
    async with device.running() as change:
        assert change.reported["revisions"]["device"] is None
        assert change.config.audio.volume == 80
        assert (await device.deliver(DEVICE, signed(volume(4, 50))))["revisions"]["device"] == 4
    async with device.running() as change:
        assert change.config.audio.volume == 50


@in_virtual_time
async def test_an_accepted_document_does_not_expire_and_signed_anew_is_the_same() -> None:
    """Expiry bounds when it may be taken, not how long it holds."""
    device = locked()
    async with device.running():
        await device.deliver(DEVICE, signed(volume(1, 50), days=2))
        device.now += timedelta(days=10)
        told = len(device.reports)
        await device.deliver(DEVICE, signed(volume(1, 50), days=2))
        await device.deliver(DEVICE, signed(volume(1, 50), days=50))
        assert len(device.reports) == told


@in_virtual_time
async def test_a_clock_that_is_not_set_judges_no_expiry() -> None:
    """A board without a battery begins in 1970: the document waits, and is taken when the time is there."""
    device = locked()
    device.now = datetime(1970, 1, 1, tzinfo=UTC)
    async with device.running() as change:
        reported = await device.deliver(DEVICE, signed(volume(1, 50)))
        await device.deliver(DEVICE, signed(volume(1, 50)))
        assert "clock is set" in reported["errors"][0]["message"]
        assert (device.volume, len(device.reports)) == (80, 1)
        device.now = datetime(2027, 3, 1, tzinfo=UTC)
        await asyncio.sleep(15)
        assert (change.reported["outcome"], device.volume) == ("applied", 50)
    device.now = datetime(2026, 6, 1, tzinfo=UTC)  # before the last accepted one: wrong again
    async with device.running():
        assert "clock is set" in (await device.deliver(DEVICE, signed(volume(2, 60))))["errors"][0]["message"]


@in_virtual_time
async def test_a_document_that_is_too_large_is_cut_off_and_refused() -> None:
    """64 MiB are held by nobody."""
    device = RemoteDevice()
    change = await device.boot()
    change.offer(DEVICE, bytes(64 << 20))
    assert len(change._pending[DEVICE]) < 66_000
    async with device.running():
        reported = await device.deliver(DEVICE, b" " * 200_000)
        assert "bytes" in reported["errors"][0]["message"]


@in_virtual_time
async def test_a_report_is_bounded_whatever_the_document_holds() -> None:
    """A thousand wrong keys with long names make a short report that any JSON reader takes."""
    device = RemoteDevice()
    patch = {"k\n" * 200 + str(number): "\x1b[2J" * 50 for number in range(60)}
    async with device.running():
        reported = await device.deliver(DEVICE, {"revision": 1, "patch": patch})
        assert len(reported["errors"]) == 21
        assert reported["errors"][-1]["message"] == "and 40 more"
        text = json.dumps(reported)
        assert len(text) < 20_000
        assert "\\n" not in text
        assert "\\u001b" not in text


LAYER_TOPICS = (FLEET, KITCHEN, DEVICE)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LAYER_TOPICS), st.integers(1, 6), st.floats(0, 2)), min_size=1, max_size=25),
    st.sets(st.integers(0, 25), max_size=4),
)
def test_any_order_of_documents_ends_with_the_highest_of_each_layer(
    arrivals: list[tuple[str, int, float]], restarts: set[int]
) -> None:
    """Duplicates, old ones, restarts in between: revisions never fall, and the end is the highest of each layer."""

    def document(topic: str, revision: int) -> dict[str, Any]:
        return volume(revision, 20 + 10 * LAYER_TOPICS.index(topic) + revision)

    async def scenario() -> None:
        device = RemoteDevice()
        seen = dict.fromkeys(("fleet", "group", "device"), 0)
        chunks: list[list[tuple[str, int, float]]] = [[]]
        for at, arrival in enumerate(arrivals):
            if at in restarts:
                chunks.append([])
            chunks[-1].append(arrival)
        for chunk in chunks:
            async with device.running() as change:
                for topic, revision, pause_s in chunk:
                    change.offer(topic, json.dumps(document(topic, revision)).encode())
                    await asyncio.sleep(pause_s)
                    for layer, number in change.reported["revisions"].items():
                        assert (number or 0) >= seen[layer]
                        seen[layer] = number or 0
            await change.end_well()  # stopped by order: two power cuts while it is tried would refuse it for good
        # A broker retains the last; let it be the highest of each layer.
        async with device.running() as change:
            highest = {
                topic: max(revision for name, revision, _ in arrivals if name == topic) for topic, *_ in arrivals
            }
            for topic, revision in highest.items():
                change.offer(topic, json.dumps(document(topic, revision)).encode())
            await asyncio.sleep(60)
            wanted = {
                layer: highest.get(topic)
                for layer, topic in zip(("fleet", "group", "device"), LAYER_TOPICS, strict=True)
            }
            assert change.reported["revisions"] == wanted
            strongest = next(topic for topic in reversed(LAYER_TOPICS) if topic in highest)
            assert device.agent.running == change.config
            assert change.config.audio.volume == document(strongest, highest[strongest])["patch"]["audio"]["volume"]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())


async def test_on_a_real_disk_and_a_real_pool_nothing_blocks_the_loop(tmp_path: Path, file_pool: Pool) -> None:
    """Files, checks and signatures are the pool's work; what was applied is there after a restart."""
    file = tmp_path / "config.toml"
    file.write_text(f'[remote]\npublic_key = "{KEYS.public}"\n')
    own = await file_pool.run(lambda: read_own(file, {}))
    store = RevisionStore(tmp_path / "state" / "remote.json")
    now = datetime(2027, 3, 1, tzinfo=UTC)

    def make() -> Reconfiguration:
        return Reconfiguration(own, store, file_pool, device_id="pi-1", now=lambda: now, debounce_s=0)

    change = make()
    agent = FakeAgent(await change.boot())
    applied = asyncio.Event()
    change.watch(lambda reported: applied.set() if reported["revisions"]["device"] == 1 else None)
    looping = asyncio.create_task(change.run_loop(agent), name="config.loop")
    change.offer(DEVICE, json.dumps(signed(volume(1, 50))).encode())
    async with asyncio.timeout(20):
        await applied.wait()
    looping.cancel()
    await asyncio.wait({looping})
    again = make()
    assert (await again.boot()).audio.volume == 50
    assert again.reported == change.reported


def mutated(choose: random.Random, payload: bytes) -> bytes:
    """Return a payload with a few bytes changed, cut out, doubled or put in."""
    changed = bytearray(payload)
    for _ in range(choose.randrange(1, 5)):
        at = choose.randrange(len(changed) + 1)
        match choose.randrange(4):
            case 0:
                changed[at:at] = choose.choice([b"{", b"]", b'"', b"\xff", b"null", b"1e999", b"NaN", b"\\ud800", b"-"])
            case 1:
                del changed[at : at + choose.randrange(1, 9)]
            case 2:
                changed[at : at + 1] = bytes([choose.randrange(256)])
            case _:
                changed[at:at] = changed[max(0, at - 12) : at]
    return bytes(changed)


def random_value(choose: random.Random, depth: int = 0) -> object:  # noqa: PLR0911 - one line a kind
    """Return whatever JSON holds."""
    match choose.randrange(9 if depth < 4 else 6):
        case 0:
            return choose.choice([None, True, False])
        case 1:
            return choose.choice([0, -1, 7, 40, 10**18, 10**38])
        case 2:
            return choose.choice([0.5, -1e300, 1e-320])
        case 3:
            return choose.choice(["", "en", "~nobody/x", "\x00", "a\u2028b", "loud", "📢" * 30])
        case 4:
            return [random_value(choose, depth + 1) for _ in range(choose.randrange(3))]
        case 5:
            return {}
        case _:
            names = [
                *Config.model_fields,
                "volume",
                "engine",
                "model",
                "outputs",
                "lamp",
                "pin",
                "sensitivity",
                "paths",
            ]
            return {choose.choice(names): random_value(choose, depth + 1) for _ in range(choose.randrange(4))}


@pytest.mark.slow
def test_a_thousand_hostile_payloads_cost_one_report_each() -> None:
    """No crash, an outcome for each that is new, bounded memory, and a device that still takes a good document."""

    @in_virtual_time
    async def scenario() -> None:
        choose = random.Random(20)
        whole = json.dumps(
            {"revision": 3, "patch": {"audio": {"volume": 40}, "llm": {"seed": 3}, "activation": {"words": ["alexa"]}}}
        ).encode()
        device = RemoteDevice()
        outcomes: dict[str, int] = {}
        async with device.running() as change:
            for number in range(1000):
                payload = (
                    mutated(choose, whole)
                    if number % 2
                    else json.dumps({"revision": number + 1, "patch": random_value(choose)}).encode()
                )
                topic = choose.choice(change.topics)
                told = len(device.reports)
                change.offer(topic, payload)
                await asyncio.sleep(2)
                assert len(device.reports) <= told + 1
                assert json.dumps(change.reported)
                outcome = change.reported["outcome"]
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                assert outcome != "rolled_back"
                del device.reports[:-1]
            assert outcomes["rejected"] > 500
            for topic in change.topics:
                reported = await device.deliver(topic, volume(2**53, 33))
                assert reported["outcome"] == "applied", reported
            assert device.volume == 33
            assert sum(len(noticed) for noticed in change._noticed.values()) <= 3 * 32
            assert len(device.disk.read(STATE, 1 << 20)) < 100_000

    scenario()
