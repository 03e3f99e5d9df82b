"""The outbox of events, with broker and device killed at random moments."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.mqtt_outbox import measure_outbox, measure_rate


@pytest.fixture(autouse=True)
def _needs_a_broker() -> None:
    if not Mosquitto.is_installed():
        pytest.skip("mosquitto is not installed")


@pytest.mark.slow
def test_nothing_is_lost_when_broker_and_device_are_killed() -> None:
    """Each event that was on disk arrives, in order, and its duplicates are the same message."""
    trial = asyncio.run(measure_outbox(events=1000, kills=5, seed=20260301))
    assert (trial.lost, trial.reordered, trial.changed) == (0, 0, 0)
    assert trial.stored >= 1000
    assert (trial.broker_kills, trial.device_kills) == (5, 5)


def test_the_rate_has_its_reference_from_the_same_run() -> None:
    """Both send the same number of events."""
    rate = asyncio.run(measure_rate(events=100))
    assert rate.events == 100
    assert rate.events_per_s > 0
    assert rate.plain_per_s > 0
