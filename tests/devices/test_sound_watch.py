"""What a microphone's sound is judged to be: from blocks as they come to a state, by arithmetic alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.audio import FRAME_S
from edge_agent.devices.sound_tally import LOOK_EVERY, SoundTally
from edge_agent.devices.sound_watch import HARDWARE_SILENT_S, SERVER_SILENT_S, SoundWatch
from edge_agent.events import DeviceState

RATE_HZ = 16_000
BLOCK = round(RATE_HZ * FRAME_S)
LOOK_S = 2.0


def noise(seconds: float, level: float, seed: int = 1) -> NDArray[np.float64]:
    """A room: noise of so many steps."""
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE_HZ))


def voice(seconds: float, gain: float) -> NDArray[np.float64]:
    """Something as uneven as a voice, in bursts, amplified; at gain 1 its peaks are half of full scale."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    envelope = np.maximum(0, np.sin(2 * np.pi * 0.7 * times)) ** 2
    return 16_000 * gain * envelope * np.sin(2 * np.pi * 180 * times) + noise(seconds, 30)


class Rig:
    """A microphone that is looked at every two seconds of its sound."""

    def __init__(self, silent_after_s: float = SERVER_SILENT_S) -> None:
        self.watch = SoundWatch(silent_after_s)
        self.reopen()

    def reopen(self) -> None:
        """Open it anew."""
        self.tally = SoundTally()
        self.watch.reopened()
        self.lost = 0
        self._samples = 0

    def hear(self, samples: NDArray[np.float64], *, lost_a_look: int = 0) -> list[DeviceState]:
        """Let it hear this; return the state at each look."""
        pcm = np.clip(samples, -32_768, 32_767).astype("<i2")
        states = []
        for start in range(0, len(pcm) - BLOCK + 1, BLOCK):
            self.tally.take(pcm[start : start + BLOCK].tobytes())
            self._samples += BLOCK
            if self._samples % round(LOOK_S * RATE_HZ) == 0:
                self.lost += lost_a_look
                states.append(self.watch.look(self.tally, self.lost))
        return states


def test_a_quiet_room_and_a_voice_are_sound() -> None:
    """Also the quietest converter's noise, and a voice that just does not clip."""
    rig = Rig(HARDWARE_SILENT_S)
    assert set(rig.hear(noise(60, 0.6))) == {DeviceState.FLOWING}
    assert set(rig.hear(voice(60, 1.9))) == {DeviceState.FLOWING}
    assert (rig.watch.silent_s, rig.watch.lost_frames) == (0.0, 0)
    assert rig.watch.clipped_share < 0.001
    assert not rig.watch.has_offset


@pytest.mark.parametrize("after_s", [HARDWARE_SILENT_S, SERVER_SILENT_S])
def test_zeros_are_silence_after_their_time(after_s: float) -> None:
    """Not sooner; the first sound ends it."""
    rig = Rig(after_s)
    rig.hear(noise(10, 50))
    states = rig.hear(np.zeros(round((after_s + 20) * RATE_HZ)))
    looks = round(after_s / LOOK_S)
    assert states[: looks - 1] == [DeviceState.FLOWING] * (looks - 1)
    assert states[looks:] == [DeviceState.SILENT] * 10
    assert rig.watch.silent_s == pytest.approx(after_s + 20, abs=0.2)
    assert rig.hear(noise(LOOK_S, 50)) == [DeviceState.FLOWING]
    assert rig.watch.silent_s == 0.0


def test_zeros_go_on_over_an_opening() -> None:
    """A microphone that is opened again and still gives zeros has been silent all the time."""
    rig = Rig(HARDWARE_SILENT_S)
    rig.hear(np.zeros(6 * RATE_HZ))
    rig.reopen()
    assert rig.hear(np.zeros(4 * RATE_HZ)) == [DeviceState.FLOWING, DeviceState.SILENT]
    rig.reopen()
    assert rig.hear(noise(2, 50)) == [DeviceState.FLOWING]
    rig.reopen()
    assert rig.hear(np.zeros(8 * RATE_HZ)) == [DeviceState.FLOWING] * 4


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sample_that_is_not_zero_is_sound(channels: int) -> None:
    """The smallest there is, in any channel, where it is looked."""
    tally = SoundTally()
    block = np.zeros((BLOCK, channels), "<i2")
    for _ in range(3 * LOOK_EVERY):
        tally.take(block.tobytes())
    assert tally.silent_s == pytest.approx(3 * LOOK_EVERY * FRAME_S)
    assert not tally.has_sounded
    block[BLOCK - 1, channels - 1] = -1
    for _ in range(LOOK_EVERY):
        tally.take(block.tobytes())
    assert tally.has_sounded
    assert tally.silent_s == 0.0


def test_a_gain_that_is_too_high_clips() -> None:
    """It is told within half a minute, and until half a minute after it was lowered."""
    rig = Rig()
    states = rig.hear(voice(60, 4))
    assert states[-1] is DeviceState.CLIPPING
    assert DeviceState.CLIPPING in states[:10]
    assert rig.watch.clipped_share > 0.01
    after = rig.hear(voice(60, 1))
    assert after[0] is DeviceState.CLIPPING
    assert after[-1] is DeviceState.FLOWING


def test_a_door_that_slams_is_no_clipping() -> None:
    """20 ms at full scale in a minute."""
    rig = Rig()
    rig.hear(noise(30, 30))
    sound = noise(30, 30)
    sound[5 * RATE_HZ : 5 * RATE_HZ + BLOCK] = 40_000
    assert set(rig.hear(sound)) == {DeviceState.FLOWING}


def test_both_ends_of_the_scale_clip() -> None:
    """Samples within 0.07 dB of it are counted, others not."""
    tally = SoundTally()
    block = np.tile(np.array([32_767, -32_768, 32_512, -32_513, 32_511, -32_512, 0, 5], "<i2"), BLOCK // 8)
    for _ in range(LOOK_EVERY):
        tally.take(block.tobytes())
    assert tally.clipped / tally.looked_at == pytest.approx(0.5)


def test_lost_frames_are_told_where_there_are_many() -> None:
    """One now and then is not; 5 in two seconds are."""
    rig = Rig()
    assert set(rig.hear(noise(60, 50), lost_a_look=1)) == {DeviceState.FLOWING}
    assert rig.hear(noise(30, 50), lost_a_look=5)[-1] is DeviceState.OVERFLOWING
    assert rig.hear(noise(40, 50))[-1] is DeviceState.FLOWING
    rig.reopen()
    assert rig.hear(noise(2, 50)) == [DeviceState.FLOWING]
    assert rig.watch.lost_frames == 0


@pytest.mark.parametrize("share", [-0.2, 0.0, 0.2])
def test_a_constant_offset_is_noticed(share: float) -> None:
    """A converter whose zero is elsewhere; a voice is none, though it is never zero."""
    rig = Rig()
    rig.hear(voice(60, 1) + share * 32_768)
    assert rig.watch.has_offset is bool(share)
    assert rig.watch.offset == pytest.approx(share, abs=0.02)


def test_nothing_heard_yet_is_no_offset() -> None:
    """No division by nothing."""
    watch, tally = SoundWatch(10), SoundTally()
    assert (watch.clipped_share, watch.offset, tally.offset) == (0.0, 0.0, 0.0)
    assert watch.look(tally, 0) is DeviceState.FLOWING
