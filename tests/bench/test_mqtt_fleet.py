"""The fleet's benchmark, small."""

from __future__ import annotations

import pytest

from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.mqtt import Size, measure


@pytest.mark.slow
@pytest.mark.skipif(not Mosquitto.is_installed(), reason="mosquitto is not installed")
async def test_every_device_applies_and_reports_the_change() -> None:
    """Real client code, two sizes; the figures that others read are there."""
    findings = await measure(Size(fleets=(2, 6)), ["fleet"], lambda _text: None)
    names = {result.name for result in findings.results}
    assert {"fleet.apply_p95_ms", "fleet.rss_per_device_kib"} <= names
    assert len(findings.distributions["fleet: time to report"]["6 devices"]) == 6
    assert findings.value("fleet.messages_6_per_device") is not None
    assert (findings.value("fleet.messages_6_per_device") or 0) >= 1
