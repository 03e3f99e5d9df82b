"""Whether the sweep is found where it is, as loud as it is, and not where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.app.doctor.chirp import LENGTH_S, find_echo, sweep

RATE_HZ = 16_000


def room(
    delay_s: float, gain: float, *, noise: float = 0.0, length_s: float = 2.5, seed: int = 1
) -> NDArray[np.float64]:
    """Return what a microphone hears of the sweep in a room."""
    heard = np.random.default_rng(seed).standard_normal(round(length_s * RATE_HZ)) * noise
    given, start = sweep(RATE_HZ) * gain, round(delay_s * RATE_HZ)
    heard[start : start + len(given)] += given
    return heard


@pytest.mark.parametrize("delay_s", [0.1, 0.2375, 1.5])
@pytest.mark.parametrize("coupling_db", [0.0, -20.0, -40.0])
def test_delay_and_coupling_are_what_they_are(delay_s: float, coupling_db: float) -> None:
    """In a quiet room: to the sample, and to half a decibel."""
    heard = find_echo(room(delay_s, 10 ** (coupling_db / 20), noise=1e-4), RATE_HZ)
    assert heard is not None
    assert heard.delay_s == pytest.approx(delay_s, abs=1.5 / RATE_HZ)
    assert heard.coupling_db == pytest.approx(coupling_db, abs=0.5)


def test_it_is_found_below_the_noise() -> None:
    """Noise of 5 dB more power than the echo: the delay is right all the same."""
    echo_power = float(np.mean((sweep(RATE_HZ) * 0.05) ** 2))
    heard = find_echo(room(0.4, 0.05, noise=float(np.sqrt(echo_power * 10**0.5))), RATE_HZ)
    assert heard is not None
    assert heard.delay_s == pytest.approx(0.4, abs=0.001)
    assert heard.coupling_db == pytest.approx(20 * np.log10(0.05), abs=1.5)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["white", "rumble", "hum"])
def test_noise_is_no_echo(seed: int, kind: str) -> None:
    """White, low, or a hum of the mains."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(round(2.5 * RATE_HZ)) * 0.1
    if kind == "rumble":
        noise = np.cumsum(noise) * 0.02
        noise -= np.convolve(noise, np.ones(800) / 800, "same")
    if kind == "hum":
        times = np.arange(len(noise)) / RATE_HZ
        noise = noise * 0.01 + 0.2 * np.sin(2 * np.pi * 50 * times) + 0.1 * np.sin(2 * np.pi * 400 * times)
    assert find_echo(noise, RATE_HZ) is None


def test_silence_and_too_little_are_no_echo() -> None:
    """Zeros, and a recording shorter than the sweep."""
    assert find_echo(np.zeros(40_000), RATE_HZ) is None
    assert find_echo(sweep(RATE_HZ)[: round(LENGTH_S * RATE_HZ / 2)], RATE_HZ) is None


def test_a_room_that_reverberates() -> None:
    """The first arrival counts as the delay, and all that comes back as its loudness."""
    random = np.random.default_rng(3)
    dry = room(0.3, 0.1, length_s=2.5)
    times = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    tail = random.standard_normal(len(times)) * np.exp(-times / 0.06) * 0.03
    tail[0] = 1.0
    heard = find_echo(np.convolve(dry, tail)[: len(dry)], RATE_HZ)
    assert heard is not None
    assert heard.delay_s == pytest.approx(0.3, abs=0.001)
    assert -21 < heard.coupling_db < -16


def test_the_volume_it_was_given_out_at_is_taken_into_account() -> None:
    """Coupling is against what was given to the device."""
    heard = find_echo(room(0.2, 0.64 * 0.1), RATE_HZ, gain=0.64)
    assert heard is not None
    assert heard.coupling_db == pytest.approx(-20, abs=0.2)


def test_the_sweep_is_loud_enough_and_does_not_click() -> None:
    """It begins and ends in silence, and leaves room above."""
    sound = sweep(48_000)
    assert len(sound) == round(LENGTH_S * 48_000)
    assert abs(sound[0]) < 1e-6
    assert abs(sound[-1]) < 1e-3
    assert 0.3 < np.abs(sound).max() < 0.5
