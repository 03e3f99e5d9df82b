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


@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "play", "clear", "hold", "resume"]), st.integers(1, 2000)), max_size=30
    )
)
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
            case "hold":
                playback.hold()
            case "resume":
                playback.resume()
            case _:
                cleared_s += playback.queued_s
                playback.clear()
        played_s = playback.played_s(now)
        assert played_s + playback.pending_s(now) == pytest.approx(written_s - cleared_s, abs=1e-9)
        assert played_s >= before_s - 1e-9
        before_s = played_s
    playback.resume()
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


FADE = round(0.005 * RATE_HZ)


def test_a_hold_fades_out_and_a_resume_goes_on_with_the_next_sample() -> None:
    """Nothing is taken meanwhile, no sample is lost or repeated, and neither end clicks."""
    playback = buffer()
    level = 10_000
    playback.append(np.full(3 * BLOCK, level, np.int16))
    playback.append(np.arange(1, BLOCK + 1, dtype=np.int16))
    filled(playback, BLOCK, now=0.0)
    playback.hold()
    held = [filled(playback, BLOCK, now=0.02 * block) for block in range(1, 6)]
    assert (np.diff(held[0][:FADE].astype(int)) <= 0).all()
    assert np.abs(np.diff(held[0].astype(int))).max() <= level / FADE + 1
    assert not held[0][FADE:].any()
    assert not np.concatenate(held[1:]).any()
    assert playback.queued_s == pytest.approx(3 * BLOCK / RATE_HZ)
    assert playback.played_s(1.0) == pytest.approx(BLOCK / RATE_HZ)
    assert playback.ends_at == pytest.approx(BLOCK / RATE_HZ)

    playback.resume()
    sizes = (100, BLOCK - 100, BLOCK, BLOCK)  # the ramp goes on over the edge of a block
    resumed = np.concatenate([filled(playback, size, now=0.12) for size in sizes])
    assert resumed[0] == 0
    assert np.abs(np.diff(resumed[:BLOCK].astype(int))).max() <= level / FADE + 1
    assert (resumed[FADE : 2 * BLOCK] == level).all()
    assert np.array_equal(resumed[2 * BLOCK :], np.arange(1, BLOCK + 1))


def test_a_hold_that_the_device_did_not_notice_changes_nothing() -> None:
    """Held and resumed between two blocks, the sound goes on without a dip."""
    playback = buffer()
    playback.append(np.full(2 * BLOCK, 10_000, np.int16))
    filled(playback, BLOCK)
    playback.hold()
    playback.resume()
    assert (filled(playback, BLOCK) == 10_000).all()


def test_a_hold_in_silence_keeps_what_is_written_later() -> None:
    """It is heard from its first sample on once resumed, and was not broken off: no ramp."""
    playback = buffer()
    playback.hold()
    assert playback.fill(BLOCK, 0.0, 0.0) == (bytes(2 * BLOCK), False)
    playback.append(np.full(BLOCK, 10_000, np.int16))
    assert playback.fill(BLOCK, 0.0, 0.0) == (bytes(2 * BLOCK), False)
    playback.resume()
    assert (filled(playback, BLOCK) == 10_000).all()


@given(st.lists(st.tuples(st.sampled_from(["fill", "hold", "resume", "clear"]), st.integers(1, 1200)), max_size=40))
def test_no_old_sample_is_played_after_a_clear(steps: list[tuple[str, int]]) -> None:
    """However it was held and resumed before and is after: only the short fade of the last sample remains."""
    playback = buffer()
    new, stale = 10_000, 0
    for step, frames in steps:
        match step:
            case "fill":
                playback.append(np.full(600, new, np.int16))
                stale += int((filled(playback, frames) * np.sign(new) < 0).sum())
                assert stale <= FADE
            case "hold":
                playback.hold()
            case "resume":
                playback.resume()
            case _:
                playback.clear()
                assert playback.queued_s == 0
                new, stale = -new, 0


def test_the_level_is_that_of_what_leaves_the_device_when_it_leaves() -> None:
    """RMS with the volume, by 20 ms, not before its time and no longer than the window; held, it falls to nothing."""
    playback = buffer(gain=0.25)
    playback.append(np.full(BLOCK, 16_384, np.int16))
    playback.append(np.full(BLOCK, 8_192, np.int16))
    playback.fill(BLOCK, now=0.0, latency_s=0.1)
    playback.fill(BLOCK, now=0.02, latency_s=0.1)
    playback.fill(BLOCK, now=0.04, latency_s=0.1)
    assert playback.recent_level(0.09, 0.5) == 0.0
    assert playback.recent_level(0.11, 0.01) == pytest.approx(0.125, rel=1e-3)
    assert playback.recent_level(0.139, 0.01) == pytest.approx(0.0625, rel=1e-3)
    assert playback.recent_level(0.3, 0.25) == pytest.approx(0.125, rel=1e-3)
    assert playback.recent_level(0.3, 0.165) == pytest.approx(0.0625, rel=1e-3)
    assert playback.recent_level(0.3, 0.1) == 0.0  # the fade of the last sample was over, too
    playback.append(np.full(8 * BLOCK, 16_384, np.int16))
    playback.hold()
    for block in range(4):
        playback.fill(BLOCK, now=1.0 + 0.02 * block, latency_s=0.1)
    assert playback.recent_level(1.2, 0.08) == 0.0


def test_a_long_block_is_measured_in_pieces() -> None:
    """A device with blocks of 100 ms: 20 ms of sound in it are as loud as in a short block."""
    playback = buffer()
    playback.append(np.full(BLOCK, 16_384, np.int16))
    playback.fill(5 * BLOCK, now=0.0, latency_s=0.0)
    assert playback.recent_level(0.1, 0.1) == pytest.approx(0.5, rel=1e-3)


def test_a_clear_ends_a_hold() -> None:
    """What is written then is heard at once, from its first sample, and was not broken off: no ramp."""
    playback = buffer()
    playback.append(np.full(2 * BLOCK, -10_000, np.int16))
    filled(playback, BLOCK)
    playback.hold()
    filled(playback, BLOCK)
    playback.clear()
    playback.append(np.full(BLOCK, 10_000, np.int16))
    assert (filled(playback, BLOCK) == 10_000).all()
