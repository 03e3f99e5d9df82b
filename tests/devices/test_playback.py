"""What the speaker's callback hands to the device, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.devices.playback import PlaybackBuffer, gain_of

RATE_HZ = 48_000
BLOCK = 960


def buffer(*, channels: int = 1, gain: float = 1.0) -> PlaybackBuffer:
    """Return an empty buffer at time 0."""
    return PlaybackBuffer(RATE_HZ, channels, gain, now=0.0)


def filled(playback: PlaybackBuffer, frames: int, now: float = 0.0, latency_s: float = 0.0) -> NDArray[np.int16]:
    """Return one block of output."""
    return np.frombuffer(playback.fill(frames, now, latency_s)[0], "<i2")


@given(
    written=st.lists(st.integers(0, 700), max_size=8),
    taken=st.lists(st.integers(1, 900), min_size=1, max_size=12),
)
def test_every_sample_comes_out_once_and_in_order(written: list[int], taken: list[int]) -> None:
    """However the sizes of writes and blocks are, the output is the input, then a fade, then silence."""
    sound = np.arange(1, sum(written) + 1, dtype=np.int16)
    playback = buffer()
    for part in np.split(sound, np.cumsum(written)[:-1]) if written else []:
        playback.append(part)

    played = np.concatenate([filled(playback, frames) for frames in taken])

    there = min(len(sound), len(played))
    assert len(played) == sum(taken)
    assert np.array_equal(played[:there], sound[:there])
    fade = played[there:].astype(np.int32)
    assert (np.diff(fade) <= 0).all()
    if len(fade) > 0.005 * RATE_HZ + BLOCK:
        assert fade[-1] == 0


@given(st.lists(st.tuples(st.sampled_from(["write", "play", "clear"]), st.integers(1, 2000)), max_size=30))
def test_what_was_written_is_played_pending_or_cleared(steps: list[tuple[str, int]]) -> None:
    """The account is complete at every moment, and what was played stays played."""
    playback = buffer()
    now, written_s, cleared_s, before_s = 0.0, 0.0, 0.0, 0.0
    for step, frames in steps:
        match step:
            case "write":
                playback.append(np.ones(frames, np.int16))
                written_s += frames / RATE_HZ
            case "play":
                playback.fill(frames, now, latency_s=0.05)
                now += frames / RATE_HZ
            case _:
                cleared_s += playback.queued_s
                playback.clear()
        played_s = playback.played_s(now)
        assert played_s + playback.pending_s(now) == pytest.approx(written_s - cleared_s, abs=1e-9)
        assert played_s >= before_s - 1e-9
        before_s = played_s
    assert playback.played_s(now + 10) + playback.queued_s == pytest.approx(written_s - cleared_s, abs=1e-9)


def test_sound_is_over_when_the_device_says_so() -> None:
    """The end is the latency that the driver told for the last block, plus that block."""
    playback = buffer()
    playback.append(np.ones(BLOCK, np.int16))
    playback.fill(BLOCK // 2, now=1.0, latency_s=0.5)
    playback.fill(BLOCK, now=1.01, latency_s=0.1)
    assert playback.ends_at == pytest.approx(1.01 + 0.1 + 0.01)
    assert playback.pending_s(1.02) == pytest.approx(0.02)
    assert playback.pending_s(1.2) == 0


def test_no_driver_makes_the_end_infinite() -> None:
    """A nonsensical latency is bounded."""
    playback = buffer()
    playback.append(np.ones(BLOCK, np.int16))
    playback.fill(BLOCK, now=0.0, latency_s=1e9)
    assert playback.ends_at < 5


def test_nothing_that_was_cleared_is_played() -> None:
    """After a clear only a short fade of the last sample remains: none of the samples that were queued."""
    playback = buffer()
    playback.append(np.full(BLOCK, 10_000, np.int16))
    playback.append(np.full(BLOCK, -10_000, np.int16))
    assert (filled(playback, BLOCK) == 10_000).all()
    playback.clear()
    rest = filled(playback, BLOCK)
    assert (rest >= 0).all()
    assert (rest[round(0.005 * RATE_HZ) :] == 0).all()
    assert not filled(playback, BLOCK).any()


@pytest.mark.parametrize("channels", [2, 6])
def test_all_channels_get_the_same(channels: int) -> None:
    """Mono is repeated in every channel of a frame."""
    playback = buffer(channels=channels)
    sound = np.arange(1, BLOCK + 1, dtype=np.int16)
    playback.append(sound)
    frames = filled(playback, BLOCK).reshape(BLOCK, channels)
    assert all(np.array_equal(frames[:, channel], sound) for channel in range(channels))


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.0), (0.0, 1.0), (0.25, 0.5), (1.0, 0.64)])
def test_volume_changes_without_a_click(before: float, after: float) -> None:
    """From one sample to the next the amplitude moves by no more than a 20 ms ramp's step, and it arrives."""
    playback = buffer(gain=before)
    level = 20_000
    playback.append(np.full(4 * BLOCK, level, np.int16))
    first = filled(playback, BLOCK)
    playback.set_gain(after)
    ramp = np.concatenate([first, filled(playback, 100), filled(playback, BLOCK), filled(playback, BLOCK)])
    steps = np.abs(np.diff(ramp.astype(np.int32)))
    assert steps.max() <= level / (0.02 * RATE_HZ) + 1
    assert first[-1] == int(level * before)
    assert ramp[-1] == pytest.approx(level * after, abs=1)


def test_volume_is_a_square() -> None:
    """Half the volume is a quarter of the amplitude; muted and 0 are silence; 100 leaves the samples alone."""
    assert gain_of(100, muted=False) == 1
    assert gain_of(50, muted=False) == 0.25
    assert gain_of(0, muted=False) == 0
    assert gain_of(100, muted=True) == 0


def test_volume_set_in_a_pause_holds_from_the_first_sample() -> None:
    """There is nothing to ramp: what is muted in a pause is not heard at all."""
    playback = buffer()
    playback.append(np.full(BLOCK, 10_000, np.int16))
    filled(playback, BLOCK)
    filled(playback, BLOCK)
    playback.set_gain(0.0)
    playback.append(np.full(BLOCK, 10_000, np.int16))
    assert not filled(playback, BLOCK).any()
