"""What is learned of devices, and what is not."""

from __future__ import annotations

import io
import json
import random
import tracemalloc

import pytest
from rich.console import Console

from edge_agent.cli.fleet_view import device_table
from edge_agent.fleet.answers import Answer, answer_of
from edge_agent.fleet.canaries import Share, choose
from edge_agent.fleet.device import Device, read_report
from edge_agent.fleet.document import Edit
from edge_agent.fleet.errors import CanaryError
from edge_agent.fleet.registry import Registry
from edge_agent.fleet.target import Target


def heard(registry: Registry, topic: str, payload: object, *, is_retained: bool = True) -> object:
    """Have the registry hear a message."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return registry.hear(f"edge-agent/{topic}", body, is_retained=is_retained, at_s=1.0)


def test_whatever_comes_nothing_breaks() -> None:
    """Random, mutated and deeply nested payloads are counted for their device."""
    rng = random.Random(3)
    registry = Registry()
    good = json.dumps({"state": "idle", "revisions": {"fleet": 1}, "outcome": "applied", "errors": [{"key": "a"}]})
    for topic in ("status", "config/reported", "availability", "event/fault", "event/../x", "", "config/desired"):
        for _ in range(300):
            body = bytearray(good.encode())
            for _ in range(rng.randrange(1, 8)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            heard(registry, f"d/{topic}", bytes(body), is_retained=bool(rng.randrange(2)))
        heard(registry, f"d/{topic}", b'{"a":' * 100_000)
        values: tuple[object, ...] = (
            None,
            [],
            5,
            "x",
            {"state": 5, "revisions": [1], "errors": 5, "groups": [{}], "pressure": [1]},
        )
        for value in values:
            heard(registry, f"d/{topic}", value)
    device = registry.get("d")
    assert device is not None
    assert device.unreadable > 300
    assert json.dumps(device.as_json())


def test_strange_topics_are_counted() -> None:
    """They make no device."""
    registry = Registry()
    for topic in ("\x1b[2J/status", "ä/status", "", "a b/status", "x" * 65 + "/status"):
        heard(registry, topic, {})
    assert (len(registry), registry.strange) == (0, 5)


def test_ten_thousand_devices_take_little() -> None:
    """Memory for each is bounded, however much it says."""
    registry = Registry(10_000)
    status = json.dumps({"state": "x" * 3000, "version": "y" * 3000, "groups": ["g"], "junk": "z" * 20_000}).encode()
    errors = [{"key": "k" * 500, "message": "m" * 500}] * 100
    report = json.dumps({"revisions": {"fleet": 1}, "outcome": "rejected", "errors": errors}).encode()
    tracemalloc.start()
    for number in range(2000):
        registry.hear(f"edge-agent/d{number}/status", status, is_retained=True, at_s=0)
        registry.hear(f"edge-agent/d{number}/config/reported", report, is_retained=True, at_s=0)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 2000 < 6000


def test_devices_beyond_the_bound_are_counted() -> None:
    """Whoever invents devices does not fill the operator's memory."""
    registry = Registry(2)
    for number in range(5):
        heard(registry, f"d{number}/availability", b"online")
    assert (len(registry), registry.beyond) == (2, 3)


def test_the_worst_come_first() -> None:
    """Rolled back before hot before offline before well."""
    registry = Registry()
    heard(registry, "a/availability", b"online")
    heard(registry, "b/availability", b"offline")
    heard(registry, "c/status", {"pressure": {"rung": "critical"}})
    heard(registry, "d/config/reported", {"outcome": "rolled_back"})
    assert [device.id for device in registry.worst(9)] == ["d", "c", "b", "a"]


FLEET = Target("fleet")
LOBBY = Target("group", "lobby")


@pytest.mark.parametrize(
    ("target", "reported", "answer"),
    [
        (FLEET, {"revisions": {"fleet": 4}, "outcome": "applied"}, Answer.WAITING),
        (FLEET, {"revisions": {"fleet": 5}, "outcome": "applied"}, Answer.APPLIED),
        (FLEET, {"revisions": {"fleet": 6}, "outcome": "applied"}, Answer.APPLIED),
        (FLEET, {"revisions": {"fleet": 5}, "outcome": "rejected", "refused": {"device": 5}}, Answer.APPLIED),
        (FLEET, {"revisions": {"fleet": 4}, "outcome": "rejected", "refused": {"fleet": 5}}, Answer.REJECTED),
        (
            FLEET,
            {"outcome": "rolled_back", "refused": {"fleet": 5}, "document": {"layer": "fleet", "revision": 5}},
            Answer.ROLLED_BACK,
        ),
        (FLEET, {"outcome": "rolled_back", "document": {"layer": "fleet", "revision": 5}}, Answer.WAITING),
        (FLEET, {"outcome": "rejected", "document": {"layer": "fleet", "revision": 5}}, Answer.REJECTED),
        (FLEET, {"outcome": "rejected", "document": {"layer": "device", "revision": 5}}, Answer.WAITING),
        (FLEET, {"revisions": {"fleet": 4}, "outcome": "rolled_back"}, Answer.ROLLED_BACK),
        (LOBBY, {"revisions": {"group": 9}, "groups": {"lobby": 4, "hall": 9}, "outcome": "applied"}, Answer.WAITING),
        (LOBBY, {"revisions": {"group": 9}, "groups": {"hall": 9}, "outcome": "applied"}, Answer.WAITING),
        (LOBBY, {"revisions": {"group": 9}, "groups": {"lobby": 5, "hall": 9}, "outcome": "applied"}, Answer.APPLIED),
        (LOBBY, {"revisions": {"group": 5}, "outcome": "applied"}, Answer.APPLIED),
        (LOBBY, {"outcome": "rejected", "refused": {"group": {"lobby": 5}}}, Answer.REJECTED),
    ],
)
def test_reports_are_taken_for_what_they_say(target: Target, reported: dict[str, object], answer: Answer) -> None:
    """Only what is about revision 5 of the layer counts."""
    before = read_report({"revisions": {"fleet": 3}, "outcome": "applied"})
    assert answer_of(read_report(reported), before, target, 5) is answer


def devices(count: int) -> list[Device]:
    """Return devices that are online."""
    return [Device(f"d{number:03}", online=True) for number in range(count)]


def test_canaries_are_the_same_for_the_same_change() -> None:
    """And others for another key, so that not always the same suffer."""
    share = Share.parse("10%")
    first = choose(devices(50), share, [], [Edit("a", 1)])
    assert first == choose(list(reversed(devices(50))), share, [], [Edit("a", 2)])
    assert len(first) == 5
    assert first != choose(devices(50), share, [], [Edit("b", 1)])


def test_devices_with_the_key_in_their_own_document_prove_nothing() -> None:
    """They are passed over, and refused by name."""
    free = choose(devices(3), Share.parse("1"), [], [Edit("a", 1)], overriding={"d000", "d002"})
    assert free == ["d001"]
    with pytest.raises(CanaryError, match="d000"):
        choose(devices(3), None, ["d000"], [Edit("a", 1)], overriding={"d000"})
    with pytest.raises(CanaryError, match="2 canaries are wanted, and 1 of 3"):
        choose(devices(3), Share.parse("2"), [], [Edit("a", 1)], overriding={"d000", "d002"})


def test_canaries_of_an_earlier_run_come_first() -> None:
    """A rollout goes on with those it had, offline or not."""
    members = devices(20)
    members[7].online = False
    assert choose(members, Share.parse("1"), [], [Edit("a", 1)], under_way={"d007"}) == ["d007"]


@pytest.mark.parametrize("width", [72, 80, 120])
def test_a_narrow_table_still_names_the_devices(width: int) -> None:
    """What went wrong is cut before the device's name and state are."""
    registry = Registry()
    for name in ("kitchen", "bath"):
        heard(registry, f"{name}/availability", b"online")
        heard(registry, f"{name}/status", {"state": "listening", "versions": {"edge_agent": "0.1.0"}})
        reported = {
            "revisions": {"fleet": 3, "group": 1, "device": 2},
            "groups": {"ground-floor": 1},
            "outcome": "rolled_back",
            "errors": [{"key": "tts.piper.voice", "message": "no such file " + "/very/long/path" * 20}],
        }
        heard(registry, f"{name}/config/reported", reported)
    console = Console(width=width, file=io.StringIO())
    console.print(device_table(registry.worst(5)))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    for name, line in zip(("bath", "kitchen"), lines[2:], strict=True):
        assert line.startswith(name)
        assert "● listening" in line
        assert "rolled back" in line
