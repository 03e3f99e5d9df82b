"""`edge-agent fleet` at a real broker with devices that do as they are told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from certificates import Authority
from fleet.fake_devices import FLEET, fake_fleet
from mosquitto_broker import Broker, BrokerTls, MakeBroker


async def fleet(broker: Broker, *args: str, within_s: float = 60.0) -> tuple[int, list[Any], str]:
    """Run a command with --json; return its status, what it printed, and what it complained of."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AGENT_")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_agent", "fleet", *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environ, "EDGE_AGENT_FLEET_BROKER": f"127.0.0.1:{broker.port}"},
    )
    async with asyncio.timeout(within_s):
        output, complaints = await child.communicate()
    assert child.returncode is not None
    assert b"Traceback" not in complaints, complaints.decode()
    lines = [json.loads(line) for line in output.splitlines()] if "--json" in args else []
    return child.returncode, lines, complaints.decode() if "--json" in args else (output + complaints).decode()


async def retained(broker: Broker, topic: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what is retained there."""
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(topic)
        async with asyncio.timeout(5):
            async for message in client.messages:
                return json.loads(bytes(message.payload))
    return None


async def leave(broker: Broker, topic: str, payload: bytes) -> None:
    """Have the broker retain a message."""
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.publish(topic, payload, qos=1, retain=True)


@pytest.fixture
def running(broker: Broker) -> Broker:
    """A broker that runs."""
    broker.start()
    return broker


async def test_list_tells_each_device(running: Broker) -> None:
    """Each device is a line with what it retained, whatever garbage lies beside it."""
    await leave(running, "edge-agent/evil \u202e/availability", b"\xff")
    await leave(running, "edge-agent/bad/availability", b"online")
    await leave(running, "edge-agent/bad/status", b"[" * 5000)
    async with fake_fleet(running.port, 3):
        status, lines, complaints = await fleet(running, "list", "--json")
    assert status == 0
    found = {line["device"]: line for line in lines}
    assert sorted(found) == ["bad", "d000", "d001", "d002"]
    assert found["d001"]["online"] is True
    assert found["d001"]["config"]["outcome"] == "applied"
    assert found["bad"]["unreadable"] == 1
    assert "\u202e" not in complaints


async def test_a_terminal_is_not_given_orders(running: Broker) -> None:
    """Escape sequences in texts of devices come out as harmless characters."""
    await leave(running, "edge-agent/sly/availability", b"online")
    await leave(running, "edge-agent/sly/status", json.dumps({"state": "\x1b[2Jidle\u202e\x9b1m"}).encode())
    for command in (("list",), ("show", "sly")):
        status, _, output = await fleet(running, *command)
        assert status == 0
        assert "sly" in output
        assert not {"\x1b", "\u202e", "\x9b"} & set(output)


async def test_show_tells_of_the_documents(running: Broker) -> None:
    """What a device was asked for stands beside what it reports."""
    await leave(running, FLEET, b'{"revision": 3, "patch": {"audio": {"volume": 50}}}')
    async with fake_fleet(running.port, 1):
        status, (line,), _ = await fleet(running, "show", "d000", "--json")
    assert status == 0
    assert line["config"]["revisions"]["fleet"] == 3
    assert line["documents"] == [{"layer": "the fleet", "revision": 3, "patch": {"audio": {"volume": 50}}}]


async def test_show_of_nobody_is_bad_input(running: Broker) -> None:
    """A device that the broker does not know is named."""
    status, _, complaints = await fleet(running, "show", "nobody", "--json")
    assert status == 2
    assert "'nobody' is not known" in complaints


async def test_set_merges_into_the_document(running: Broker) -> None:
    """Keys are added to what the layer has, with the next revision, and all members answer."""
    await leave(running, "edge-agent-fleet/group/lobby/config/desired", b'{"revision": 6, "patch": {"language": "en"}}')
    async with fake_fleet(running.port, 4, lambda one: ["lobby"] if one < "d002" else []) as devices:
        status, (line,), _ = await fleet(running, "set", "audio.volume=40", "--group", "lobby", "--yes", "--json")
        assert devices[1].patches["group:lobby"] == {"language": "en", "audio": {"volume": 40}}
    assert status == 0
    assert line["revision"] == 7
    assert line["devices"] == {"d000": "applied", "d001": "applied"}


async def test_set_fails_where_a_device_does(running: Broker) -> None:
    """A device that rolls back is told, and the status is 1."""
    verdict = lambda one, _patch: "rolled_back" if one == "d001" else "applied"  # noqa: E731
    async with fake_fleet(running.port, 2, verdict=verdict):
        status, (line,), _ = await fleet(running, "set", "audio.volume=40", "--fleet", "--yes", "--json")
    assert status == 1
    assert line["devices"] == {"d000": "applied", "d001": "rolled_back"}


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("audio.volum=40", 'audio.volum: unknown key; did you mean "volume"?'),
        ("audio.volume=loud", "audio.volume: "),
        ("mqtt.host=evil", "mqtt.host: can't be set remotely"),
        ("audio.volume", "is no KEY=VALUE"),
    ],
)
async def test_set_refuses_what_no_device_takes(running: Broker, setting: str, complaint: str) -> None:
    """What is wrong by itself is found before anything is published."""
    status, lines, complaints = await fleet(running, "set", setting, "--fleet", "--yes", "--json")
    assert status == 2
    assert not lines
    assert complaint in complaints


async def test_set_asks(running: Broker) -> None:
    """Where nobody can be asked nothing is published without --yes."""
    status, _, complaints = await fleet(running, "set", "audio.volume=40", "--fleet", "--json")
    assert status == 2
    assert "--yes" in complaints


async def test_two_operators_at_once_both_stand(running: Broker) -> None:
    """Whoever writes second adds to what the first wrote."""
    one, other = await asyncio.gather(
        fleet(running, "set", "audio.volume=40", "--fleet", "--yes", "--json"),
        fleet(running, "set", "log_level=debug", "--fleet", "--yes", "--json"),
    )
    assert (one[0], other[0]) == (0, 0), (one[2], other[2])
    document = await retained(running, FLEET)
    assert document["patch"] == {"audio": {"volume": 40}, "log_level": "debug"}


async def test_signed_documents_are_only_added_to_with_the_key(running: Broker, tmp_path: Path) -> None:
    """What is retained must bear the key's own signature, or it would be given it."""
    key = str(tmp_path / "key")
    assert (await fleet(running, "keygen", key))[0] == 0
    assert (await asyncio.to_thread(os.stat, key)).st_mode & 0o777 == 0o600
    await leave(running, FLEET, b'{"revision": 3, "patch": {"audio": {"volume": 100}}}')
    sign = ("--fleet", "--yes", "--json", "--sign-key", key)
    status, _, complaints = await fleet(running, "set", "log_level=debug", *sign)
    assert status == 1
    assert "--replace" in complaints
    status, (line,), _ = await fleet(running, "set", "log_level=debug", "--replace", *sign)
    assert (status, line["revision"]) == (0, 4)
    document = await retained(running, FLEET)
    assert document["patch"] == {"log_level": "debug"}
    assert document["scope"] == "fleet"
    status, _, complaints = await fleet(running, "set", "audio.volume=30", "--fleet", "--yes", "--json")
    assert status == 2
    assert "--sign-key" in complaints


async def test_a_revision_that_devices_have_refused_is_passed_over(running: Broker) -> None:
    """Where the broker has lost the document, the next one is above what was refused, or it would be refused too."""
    own = "edge-agent/d000/config/desired"
    await leave(running, own, b'{"revision": 5, "patch": {"log_level": "debug"}}')
    async with fake_fleet(
        running.port, 1, verdict=lambda _one, patch: "rejected" if "log_level" in patch else "applied"
    ):
        await asyncio.sleep(0.5)
        await leave(running, own, b"")
        status, (line,), _ = await fleet(running, "set", "audio.volume=40", "--device", "d000", "--yes", "--json")
    assert (status, line["revision"], line["devices"]) == (0, 6, {"d000": "applied"})


async def test_a_stranger_cannot_use_up_the_revisions(running: Broker, tmp_path: Path) -> None:
    """A forged document with the highest revision that there is leaves room for the owner's."""
    key, own = str(tmp_path / "key"), "edge-agent/d000/config/desired"
    assert (await fleet(running, "keygen", key))[0] == 0
    async with fake_fleet(running.port, 1, verdict=lambda _one, patch: "applied" if patch else "silent"):
        await leave(running, own, b'{"revision": 9007199254740992, "patch": {}}')
        command = ("set", "audio.volume=40", "--device", "d000", "--replace", "--yes", "--json", "--sign-key", key)
        status, (line,), _ = await fleet(running, *command)
    assert (status, line["revision"]) == (0, 1)


async def test_a_group_that_nobody_is_in_is_told(running: Broker) -> None:
    """A slip in a group's name does not pass in silence."""
    status, _, complaints = await fleet(running, "set", "audio.volume=40", "--group", "loby", "--yes", "--json")
    assert status == 0
    assert "is group loby right?" in complaints


async def test_rollout_goes_from_canaries_to_all(running: Broker) -> None:
    """Canaries try it in their own documents, all get it in the fleet's, and the canaries' own are as before."""
    own = "edge-agent/d001/config/desired"
    await leave(running, own, b'{"revision": 2, "patch": {"log_level": "debug"}}')
    async with fake_fleet(running.port, 5):
        command = ("rollout", "audio.volume=40", "--canary-device", "d001", "--then", "fleet", "--soak", "1s")
        status, lines, complaints = await fleet(running, *command, "--yes", "--json")
    assert status == 0, complaints
    stages = [
        line["stage"] for line in lines[:-1] if line["stage"] not in {"canaries", "fleet"}
    ]  # may be passed at once
    assert stages == ["soak", "widen", "clean", "done"]
    assert lines[-1]["done"] is True
    assert set(lines[-1]["devices"].values()) == {"applied"}
    assert await retained(running, FLEET) == {"revision": 1, "patch": {"audio": {"volume": 40}}}
    assert await retained(running, own) == {"revision": 4, "patch": {"log_level": "debug"}}


async def test_rollout_pauses_and_is_undone(running: Broker) -> None:
    """A canary that rolls back stops it before anybody else gets it; --undo takes it from the canary."""
    async with fake_fleet(running.port, 5, verdict=lambda _one, patch: "rolled_back" if patch else "applied"):
        command = ("rollout", "audio.volume=40", "--then", "fleet", "--yes", "--json")
        status, lines, _ = await fleet(running, *command, "--canary", "20%")
        assert status == 1
        assert lines[-1]["paused_in"] == "canaries"
        (canary,) = lines[-1]["canaries"]
        assert "does not exist" in lines[-1]["failures"][canary]
        status, lines, _ = await fleet(running, *command, "--canary", "20%")
        assert (status, lines[-1]["canaries"]) == (1, [canary])
        status, lines, _ = await fleet(running, *command, "--undo")
        assert (status, lines[-1]["undone"]) == (0, [canary])
    assert await retained(running, f"edge-agent/{canary}/config/desired") == {"revision": 2, "patch": {}}


async def test_rollout_pauses_at_a_fault_in_the_soak(running: Broker) -> None:
    """A fault of a canary counts while it soaks."""
    async with fake_fleet(running.port, 2) as devices:
        command = ("rollout", "audio.volume=40", "--canary-device", "d000", "--then", "fleet", "--soak", "1h")
        running_command = asyncio.create_task(fleet(running, *command, "--yes", "--json"))
        async with asyncio.timeout(30):
            await devices[0].applied.wait()
        await asyncio.sleep(1)
        await devices[1].event("fault", {"message": "of another device"})
        await devices[0].event("fault", {"message": "from its outbox", "at": "2020-01-01T00:00:00+00:00"})
        await devices[0].event("fault", {"message": "the microphone is gone"})
        status, lines, _ = await running_command
    assert status == 1
    assert lines[-1]["failures"] == {"d000": "fault: the microphone is gone"}


async def test_watch_tells_events_as_they_come(running: Broker) -> None:
    """Each change is a line of JSON; what was retained before is none."""
    async with fake_fleet(running.port, 1) as devices:
        watching = asyncio.create_task(fleet(running, "watch", "--timeout", "4s", "--json"))
        await asyncio.sleep(2.5)
        await devices[0].event("fault", {"message": "no sound"})
        await devices[0].offline()
        status, lines, _ = await watching
    assert status == 0
    assert [(line["kind"], line["text"]) for line in lines] == [
        ("event", "fault: no sound"),
        ("availability", "offline"),
    ]


async def test_no_broker_is_one_clear_line(broker: Broker) -> None:
    """Who does not answer is named."""
    status, _, complaints = await fleet(broker, "list", "--json")
    assert status == 1
    assert f"127.0.0.1:{broker.port}: refuses the connection" in complaints
    assert "check --broker (mqtt.host) and --broker HOST:PORT (mqtt.port)" in complaints
    assert len(complaints.splitlines()) == 1


async def test_what_is_wrong_with_tls_is_one_clear_line(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The wrong kind of port is guessed, and the option to correct is named beside the key."""
    for name in ("ours", "other"):
        await asyncio.to_thread((tmp_path / name).mkdir)
    ours = await asyncio.to_thread(Authority, tmp_path / "ours")
    other = await asyncio.to_thread(Authority, tmp_path / "other")
    certificate = await asyncio.to_thread(partial(ours.issue, "broker", address="127.0.0.1"))
    broker = make_broker(tls=BrokerTls(ours.file, *certificate))
    await asyncio.to_thread(broker.start)
    plain, encrypted = f"127.0.0.1:{broker.port}", f"127.0.0.1:{broker.tls_port}"
    for options, words in (
        (("--broker", encrypted), "if that port is for TLS, set --tls (mqtt.tls.enabled)"),
        (
            ("--broker", plain, "--ca", str(ours.file)),
            "instead of speaking TLS; correct --broker HOST:PORT (mqtt.port)",
        ),
        (("--broker", encrypted, "--ca", str(other.file)), "check --ca (mqtt.tls.ca_file)"),
    ):
        status, _, complaints = await fleet(broker, "list", "--json", "--timeout", "3s", *options)
        assert status == 1
        assert words in complaints
        assert len(complaints.splitlines()) == 1
    status, devices, complaints = await fleet(broker, "list", "--json", "--broker", encrypted, "--ca", str(ours.file))
    assert (status, devices, complaints) == (0, [], "")


@pytest.mark.slow
async def test_a_large_fleet_is_read_whole_through_a_broker_that_drops(running: Broker) -> None:
    """Mosquitto as it is installed drops what waits for a client; statuses of 2,500 devices would be 15 MB at once."""
    count, padding = 2500, "x" * 6000
    async with aiomqtt.Client("127.0.0.1", running.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        for number in range(count):
            await client.publish(f"edge-agent/d{number}/availability", b"online", retain=True)
            await client.publish(
                f"edge-agent/d{number}/status", f'{{"state": "idle", "pad": "{padding}"}}', retain=True
            )
        await client.publish("done", b"", qos=1)
    status, lines, complaints = await fleet(running, "list", "--json")
    assert (status, complaints) == (0, "")
    assert sum(line["state"] == "idle" and line["online"] for line in lines) == count
