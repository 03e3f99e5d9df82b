"""The gate for quiet rooms: nothing is lost or reordered, and sound goes at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.devices.quiet import QuietGate


def block(peak: int) -> bytes:
    """20 ms at 16 kHz that reach `peak`."""
    return np.full(320, peak, "<i2").tobytes()


def test_awake_every_block_goes_at_once() -> None:
    """Loud or not."""
    gate = QuietGate()
    assert [gate.opens(block(peak)) for peak in (0, 9000, 3)] == [True, True, True]


def test_at_rest_quiet_blocks_wait_for_the_fifth() -> None:
    """A hundred milliseconds of quiet are handed over together."""
    gate = QuietGate()
    gate.resting = True
    assert [gate.opens(block(20)) for _ in range(10)] == [False, False, False, False, True] * 2


@pytest.mark.parametrize("sign", [1, -1])
def test_at_rest_a_loud_block_takes_the_waiting_ones_along(sign: int) -> None:
    """Speech is on its way with its first block."""
    gate = QuietGate()
    gate.resting = True
    assert [gate.opens(block(peak)) for peak in (20, 20, 3000 * sign, 20)] == [False, False, True, False]


def test_steady_noise_is_quiet_and_speech_in_it_is_not() -> None:
    """The floor follows a fan within seconds; what is three times louder goes at once."""
    gate = QuietGate()
    gate.resting = True
    chance = np.random.default_rng(1)
    opened = [gate.opens(chance.normal(0, 400, 320).astype("<i2").tobytes()) for _ in range(1000)]
    assert sum(opened[500:]) <= 110
    assert gate.opens(block(9000))


def test_woken_up_nothing_is_held_any_longer() -> None:
    """The next block takes along what waits."""
    gate = QuietGate()
    gate.resting = True
    assert not gate.opens(block(0))
    gate.resting = False
    assert gate.opens(block(0))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.integers(-32768, 32767)), max_size=60))
def test_never_more_than_four_wait(steps: list[tuple[bool, int]]) -> None:
    """Whatever is heard, and whoever rests when."""
    gate, waiting = QuietGate(), 0
    for resting, peak in steps:
        gate.resting = resting
        waiting = 0 if gate.opens(block(peak)) else waiting + 1
        assert waiting <= 4


def test_a_room_is_calm_after_quiet_blocks_in_a_row() -> None:
    """A tenth of a second each; a loud block, or somebody who is heard, ends it."""
    gate = QuietGate()
    gate.resting = True
    for _ in range(15):
        gate.opens(block(20))
    assert gate.calm_runs == 3
    gate.opens(block(9000))
    assert gate.calm_runs == 0
    for _ in range(10):
        gate.opens(block(20))
    assert gate.calm_runs == 2
    gate.resting = False
    gate.opens(block(20))
    assert gate.calm_runs == 0
