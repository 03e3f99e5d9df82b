"""Streams change their rate chunk by chunk as if they were resampled in one piece."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.devices.resampling import StreamResampler, to_samples


@settings(max_examples=40, deadline=None)
@given(
    rates_hz=st.tuples(*[st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000])] * 2),
    cuts=st.lists(st.integers(0, 3_000), max_size=6),
)
def test_chunks_make_no_difference(rates_hz: tuple[int, int], cuts: list[int]) -> None:
    """However a tone is cut up, the same samples come out (but for soxr's dither), as many as its length asks for."""
    from_hz, to_hz = rates_hz
    samples = (10_000 * np.sin(2 * math.pi * 400 * np.arange(3_000) / from_hz)).astype(np.int16)
    whole = StreamResampler(from_hz, to_hz).feed(samples, last=True)

    resampler = StreamResampler(from_hz, to_hz)
    pieces = [resampler.feed(piece) for piece in np.split(samples, sorted(cuts))]
    pieces.append(resampler.feed(to_samples(b""), last=True))

    joined = np.concatenate(pieces)
    assert len(joined) == pytest.approx(3_000 * to_hz / from_hz, abs=1)
    assert np.abs(joined.astype(int) - whole).max() <= 4


def test_what_the_new_rate_can_not_carry_is_left_out() -> None:
    """A tone above half of the new rate does not come back as another one."""
    samples = (20_000 * np.sin(2 * math.pi * 11_000 * np.arange(48_000) / 48_000)).astype(np.int16)
    heard = StreamResampler(48_000, 16_000).feed(samples, last=True)[1_000:-1_000]
    assert np.abs(heard).max() <= 2


def test_same_rate_passes_through() -> None:
    """Nothing is touched where both rates are the same."""
    samples = np.arange(10, dtype=np.int16)
    assert StreamResampler(16_000, 16_000).feed(samples) is samples
