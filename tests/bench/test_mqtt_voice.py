"""The comparison of turns beside brokers in trouble, with turns that take no time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edge_agent.bench import mqtt_voice
from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.result import Findings
from edge_agent.config.mqtt import MqttConfig


@pytest.mark.skipif(not Mosquitto.is_installed(), reason="mosquitto is not installed")
async def test_each_condition_is_compared_with_none() -> None:
    """Turns are held with and without a broker that listens, and the slower are found out."""
    listens: list[bool | None] = []

    async def turns(config: MqttConfig) -> Sequence[float]:
        if not config.host:
            listens.append(None)
            return [100.0] * 4
        try:
            _, writer = await asyncio.open_connection(config.host, config.port)
        except ConnectionRefusedError:
            listens.append(False)
            return [200.0] * 4
        writer.close()
        await writer.wait_closed()
        listens.append(True)
        return [101.0] * 4

    findings = Findings()
    await mqtt_voice.measure(findings, turns, lambda _text: None, rounds=1)
    assert listens == [None, True, False, True, True]
    met = {result.name: result.met for result in findings.results if result.goal is not None}
    assert met == {
        "voice.well_p95_ms": True,
        "voice.absent_p95_ms": False,
        "voice.flapping_p95_ms": True,
        "voice.frozen_p95_ms": True,
    }
