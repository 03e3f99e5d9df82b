"""The rollout's states, on a clock of the test's own."""

from __future__ import annotations

import pytest

from edge_agent.fleet.answers import Answers
from edge_agent.fleet.device import Device, Report
from edge_agent.fleet.rollout import Rollout, Stage, Terms
from edge_agent.fleet.target import Target

TERMS = Terms(soak_s=600, report_s=60, offline_grace_s=30)


def applied(device: Device, layer: str = "device", revision: int = 1) -> None:
    """Have a device report a revision."""
    device.report = Report({**(device.report.revisions if device.report else {}), layer: revision}, "applied")


def begun(count: int = 2, terms: Terms = TERMS) -> tuple[Rollout, list[Device]]:
    """Return a rollout at second 0 and its canaries, which have not answered."""
    devices = [Device(f"c{number}", online=True) for number in range(count)]
    answers = {one.id: Answers.begin(Target("device", one.id), 1, [one]) for one in devices}
    return Rollout(answers, terms, 0.0), devices


def soaking(terms: Terms = TERMS) -> tuple[Rollout, list[Device]]:
    """Return a rollout whose canaries have applied it at second 10."""
    rollout, devices = begun(terms=terms)
    for device in devices:
        applied(device)
        rollout.hear(device, 10.0)
    assert rollout.step(10.0) is Stage.SOAK
    return rollout, devices


def test_all_goes_well() -> None:
    """Each stage waits for what it has to."""
    rollout, devices = begun()
    applied(devices[0])
    rollout.hear(devices[0], 1.0)
    assert rollout.step(1.0) is Stage.CANARIES
    applied(devices[1])
    rollout.hear(devices[1], 2.0)
    assert rollout.step(2.0) is Stage.SOAK
    assert rollout.step(601.9) is Stage.SOAK
    assert rollout.step(602.0) is Stage.WIDEN
    other = Device("x", online=True)
    rollout.widened(Answers.begin(Target("fleet"), 5, [*devices, other]), 602.0)
    for device in (*devices, other):
        assert rollout.step(603.0) is Stage.FLEET
        applied(device, "fleet", 5)
        rollout.hear(device, 603.0)
    assert rollout.step(603.0) is Stage.CLEAN
    assert rollout.cleanable() == ["c0", "c1"]
    rollout.cleaned()
    assert rollout.step(604.0) is Stage.DONE


@pytest.mark.parametrize("outcome", ["rejected", "rolled_back"])
def test_a_canary_that_does_not_take_it_pauses(outcome: str) -> None:
    """The reason is the device's own."""
    rollout, devices = begun()
    devices[0].report = Report({}, outcome, (("tts.voice", "is absent"),), 1, {"device": 1}, ("device", 1))
    rollout.hear(devices[0], 1.0)
    assert rollout.step(1.0) is Stage.PAUSED
    assert rollout.failures == {"c0": f"{outcome.replace('_', ' ')}: tts.voice: is absent"}


def test_a_silent_canary_pauses() -> None:
    """It has a time for its answer."""
    rollout, devices = begun()
    applied(devices[0])
    rollout.hear(devices[0], 1.0)
    assert rollout.step(59.9) is Stage.CANARIES
    assert rollout.step(60.0) is Stage.PAUSED
    assert list(rollout.failures) == ["c1"]


def test_a_fault_in_the_soak_pauses() -> None:
    """Only a canary's own counts."""
    rollout, _ = soaking()
    rollout.fault("somebody", "fault: x")
    assert rollout.step(20.0) is Stage.SOAK
    rollout.fault("c1", "fault: no sound")
    assert rollout.step(20.0) is Stage.PAUSED
    assert rollout.paused_in is Stage.SOAK


def test_critical_pressure_pauses() -> None:
    """Being merely hot does not."""
    rollout, devices = soaking()
    devices[0].pressure = "hot"
    rollout.hear(devices[0], 20.0)
    assert rollout.step(20.0) is Stage.SOAK
    devices[0].pressure = "critical"
    rollout.hear(devices[0], 21.0)
    assert rollout.step(21.0) is Stage.PAUSED


def test_a_short_absence_is_forgiven() -> None:
    """A radio that flaps is not the change's fault; one that stays away may be."""
    rollout, devices = soaking()
    devices[0].online = False
    rollout.hear(devices[0], 20.0)
    assert rollout.step(49.0) is Stage.SOAK
    devices[0].online = True
    rollout.hear(devices[0], 49.0)
    assert rollout.step(100.0) is Stage.SOAK
    devices[0].online = False
    rollout.hear(devices[0], 100.0)
    assert rollout.step(130.0) is Stage.PAUSED


def test_nobody_is_widened_to_while_a_canary_is_away() -> None:
    """The soak's end waits for it."""
    rollout, devices = soaking()
    devices[0].online = False
    rollout.hear(devices[0], 605.0)
    assert rollout.step(611.0) is Stage.SOAK
    devices[0].online = True
    rollout.hear(devices[0], 612.0)
    assert rollout.step(612.0) is Stage.WIDEN


def test_what_was_not_seen_does_not_count() -> None:
    """After a lost connection the soak begins again."""
    rollout, _ = soaking()
    rollout.gap(500.0)
    assert rollout.step(700.0) is Stage.SOAK
    assert rollout.soak_left_s(700.0) == 400.0
    assert rollout.step(1100.0) is Stage.WIDEN


def test_failures_are_forgiven_up_to_the_number() -> None:
    """But not if no canary is left."""
    rollout, devices = begun(3, Terms(soak_s=10, report_s=60, max_failures=1))
    for device in devices[1:]:
        applied(device)
        rollout.hear(device, 1.0)
    rollout.fault("c0", "fault: x")
    assert rollout.step(1.0) is Stage.SOAK
    rollout.fault("c1", "fault: y")
    assert rollout.step(2.0) is Stage.PAUSED
    alone, _ = begun(1, Terms(max_failures=5))
    alone.fault("c0", "fault: x")
    assert alone.step(1.0) is Stage.PAUSED


def test_too_many_failures_of_the_fleet_pause() -> None:
    """The canaries keep their own documents then."""
    rollout, devices = soaking()
    rollout.step(700.0)
    other = Device("x", online=True)
    rollout.widened(Answers.begin(Target("fleet"), 5, [*devices, other]), 700.0)
    other.report = Report({}, "rolled_back", (), 0, {"fleet": 5}, ("fleet", 5))
    rollout.hear(other, 701.0)
    assert rollout.step(701.0) is Stage.PAUSED
    assert (rollout.paused_in, rollout.failures) == (Stage.FLEET, {"x": "rolled back"})


def test_devices_that_are_offline_are_not_waited_for() -> None:
    """They take it when they come back."""
    rollout, devices = soaking()
    rollout.step(700.0)
    away = Device("x", online=False)
    rollout.widened(Answers.begin(Target("fleet"), 5, [*devices, away]), 700.0)
    for device in devices:
        applied(device, "fleet", 5)
        rollout.hear(device, 701.0)
    assert rollout.step(701.0) is Stage.CLEAN
