"""Whether a broker that is away, flaps or hangs costs a turn anything: the same turns beside each of them."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.result import Reference, at_most, percentile
from edge_agent.config.mqtt import MqttConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from edge_agent.bench.result import Findings, Progress

    Turns = Callable[[MqttConfig], Awaitable[Sequence[float]]]
    """Holds some turns with an agent that has this configuration of MQTT; returns each one's delay, from the end of
    speech to the first audio, in milliseconds."""

WITHOUT, ABSENT, FLAPPING, FROZEN, WELL = "without", "absent", "flapping", "frozen", "well"
_CONDITIONS = (WITHOUT, WELL, ABSENT, FLAPPING, FROZEN)
_UP_S, _DOWN_S = 2.0, 2.0
_LEEWAY = 1.1
"""Between two runs of the same the 95th percentile differs by as much."""
_LEEWAY_MS = 5.0


async def measure(findings: Findings, turns: Turns, progress: Progress, *, rounds: int = 3) -> None:
    """Add `voice.*`: the delay of turns without MQTT, and beside brokers in each condition.

    Conditions take turns, so that what the machine does meanwhile meets all alike.
    """
    delays_ms: dict[str, list[float]] = {condition: [] for condition in _CONDITIONS}
    for number in range(rounds):
        for condition in _CONDITIONS:
            progress(f"voice: {condition}, round {number + 1} of {rounds}")
            async with _broker(condition) as config:
                delays_ms[condition] += await turns(config)
    without = percentile(delays_ms[WITHOUT], 95)
    reference = Reference("the same turns without MQTT, 95th percentile", without, "ms")
    for condition in _CONDITIONS[1:]:
        findings.add_percentiles(
            f"voice.{condition}",
            delays_ms[condition],
            "ms",
            shares=(50, 95),
            goals={95: at_most(round(without * _LEEWAY + _LEEWAY_MS, 1))},
            reference=reference,
        )
    findings.distributions["voice: delay of a turn"] = dict(delays_ms)


@asynccontextmanager
async def _broker(condition: str) -> AsyncIterator[MqttConfig]:
    """Have a broker in this condition, and return how it is reached."""
    if condition == WITHOUT:
        yield MqttConfig()
        return
    async with AsyncExitStack() as stack:
        directory = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="broker-")
        stack.push_async_callback(asyncio.to_thread, directory.cleanup)
        broker = await asyncio.to_thread(Mosquitto, Path(directory.name))
        stack.push_async_callback(asyncio.to_thread, broker.stop)
        if condition != ABSENT:
            await asyncio.to_thread(broker.start)
        if condition in {FLAPPING, FROZEN}:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            loop = _flap_loop(broker) if condition == FLAPPING else _freeze_loop(broker)
            stack.callback(tasks.create_task(loop, name=f"bench.{condition}").cancel)
        yield MqttConfig(host="127.0.0.1", port=broker.port, keep_alive_s=5)


async def _flap_loop(broker: Mosquitto) -> None:
    while True:
        await asyncio.sleep(_UP_S)
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(_DOWN_S)
        await asyncio.to_thread(broker.start)


async def _freeze_loop(broker: Mosquitto) -> None:
    try:
        while True:
            await asyncio.sleep(_UP_S)
            broker.freeze()
            await asyncio.sleep(_DOWN_S)
            broker.thaw()
    finally:
        broker.thaw()
