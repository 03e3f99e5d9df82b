"""What is known of a device, and how often the same is said of it."""

from __future__ import annotations

from itertools import pairwise

from edge_agent.app.device_account import DeviceAccount, Repetition
from edge_agent.events import DeviceState


class Clock:
    """Goes when it is told to."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_a_change_says_what_was_before_and_for_how_long() -> None:
    """The same state again is none, though its reason may be another."""
    clock = Clock()
    account = DeviceAccount("microphone", DeviceState.OPENING, clock)
    clock.now_s += 2
    change = account.enter(DeviceState.FLOWING, "USB")
    assert change is not None
    assert (change.device, change.name, change.before, change.lasted_s) == (
        "microphone",
        "USB",
        DeviceState.OPENING,
        2.0,
    )
    clock.now_s += 5
    assert account.enter(DeviceState.FLOWING, "USB") is None
    assert account.for_s == 5.0
    assert account.reopened == 0
    assert account.enter(DeviceState.ABSENT, "USB", "was lost") is not None
    assert account.enter(DeviceState.ABSENT, "USB", "can't be opened") is None
    assert account.reason == "can't be opened"
    assert account.enter(DeviceState.FLOWING, "USB") is not None
    assert (account.reopened, account.reason) == (1, "")


def test_only_what_can_not_be_used_is_reopened() -> None:
    """Sound that is distorted is sound."""
    account = DeviceAccount("microphone", DeviceState.FLOWING)
    account.enter(DeviceState.CLIPPING, "USB")
    account.enter(DeviceState.FLOWING, "USB")
    assert account.reopened == 0
    assert DeviceState.CLIPPING.is_trouble
    assert not DeviceState.CLIPPING.is_useless
    assert not DeviceState.UNTRIED.is_trouble


def test_the_same_is_said_ever_more_rarely() -> None:
    """At once, after five seconds, a minute, ten, an hour, and then every six."""
    repetition = Repetition()
    said = [second for second in range(0, 3 * 86_400, 5) if repetition.is_due(second)]
    assert said[:5] == [0, 5, 60, 600, 3600]
    assert {after - before for before, after in pairwise(said[4:])} == {6 * 3600}
    repetition.reset()
    assert repetition.is_due(3 * 86_400)


def test_what_is_said_late_does_not_make_up_for_it() -> None:
    """Nothing was asked for hours: once is enough."""
    repetition = Repetition()
    assert repetition.is_due(0)
    assert repetition.is_due(20_000)
    assert not repetition.is_due(20_001)
