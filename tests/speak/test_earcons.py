"""Short tones."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edge_agent.speak.earcons import Earcon, earcon

NAMES: tuple[Earcon, ...] = get_args(Earcon)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("name", NAMES)
def test_tones_are_short_soft_and_begin_and_end_in_silence(name: Earcon, rate_hz: int) -> None:
    """Length, peak and the step between two samples are bounded; no offset, nothing that clicks."""
    tone = earcon(name, rate_hz)
    samples = np.frombuffer(tone.pcm, "<i2").astype(float)
    assert tone.rate_hz == rate_hz
    assert 0.05 <= tone.duration_s <= (1.2 if name == "alert" else 0.25)
    assert np.abs(samples).max() == pytest.approx(32_767 * 10 ** (-12 / 20), abs=1)
    assert samples[0] == 0
    assert abs(samples[-1]) <= 10
    assert abs(samples.mean()) < 20
    # The highest note, 1046.5 Hz, is as steep with its overtones as a sine of 1820 Hz; a note may end beneath it.
    assert np.abs(np.diff(samples)).max() < 8_230 * 2 * np.pi * 2_000 / rate_hz


def test_the_same_samples_each_time_and_made_once() -> None:
    """They are cached, and made again they are the same."""
    first = earcon("listening")
    assert earcon("listening") is first
    earcon.cache_clear()
    assert earcon("listening") == first


def test_no_two_sound_alike() -> None:
    """Each is a tone of its own."""
    assert len({earcon(name).pcm for name in NAMES}) == len(NAMES)


def test_a_rate_without_room_for_overtones_has_none() -> None:
    """Nothing is folded back at a low rate: where overtones above 2 kHz would come to lie there is next to nothing."""
    tone = earcon("alert", 4_000)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(tone.pcm, "<i2").astype(float)))
    bands = np.fft.rfftfreq(tone.samples, 1 / 4_000)
    for overtone_hz in (2 * 1046.50, 3 * 1046.50, 3 * 783.99):
        folded = np.abs(bands - (4_000 - overtone_hz)) < 5
        assert spectrum[folded].max() < spectrum.max() / 40
