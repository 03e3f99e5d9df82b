"""`edge-agent bench mqtt`: what the broker's absence costs, and what a change costs a fleet.

Everything runs on the loopback interface of this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.bench import mqtt_fleet, mqtt_outbox, mqtt_voice
from edge_agent.bench.mqtt_voice_turns import open_turns
from edge_agent.bench.result import Findings

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.bench.result import Progress

PARTS = ("outbox", "fleet", "voice")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        events: Given to the outbox.
        kills: Of the broker, and as many of the device.
        fleets: Devices, one fleet after the other.
        turns: Beside each kind of broker, in each round.
        rounds: Of all kinds of brokers.
    """

    events: int = 10_000
    kills: int = 50
    fleets: tuple[int, ...] = mqtt_fleet.FULL
    turns: int = 8
    rounds: int = 4


FULL = Size()
QUICK = Size(events=500, kills=3, fleets=mqtt_fleet.QUICK, turns=1, rounds=1)


async def measure(size: Size, parts: Collection[str], progress: Progress) -> Findings:
    """Measure `parts` of `PARTS` and return what was found.

    Raises:
        EdgeAgentError: There is no mosquitto, or a device failed.
    """
    findings = Findings()
    if "outbox" in parts:
        await mqtt_outbox.measure(findings, progress, events=size.events, kills=size.kills)
    if "fleet" in parts:
        await mqtt_fleet.measure(findings, progress, sizes=size.fleets)
    if "voice" in parts:
        async with open_turns(size.turns) as turns:
            await mqtt_voice.measure(findings, turns, progress, rounds=size.rounds)
    return findings
