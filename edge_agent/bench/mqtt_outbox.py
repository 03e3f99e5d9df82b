"""Measures the outbox of events: what is lost when broker and device are killed, and how fast it is otherwise."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.event_store import DatabaseEventStore
from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.mqtt_observer import EventObserver
from edge_agent.bench.mqtt_outbox_child import DEVICE, EVENT, PATIENCE
from edge_agent.bench.result import Reference, at_least, at_most
from edge_agent.config.mqtt import MqttConfig
from edge_agent.mqtt.events import EventOutbox
from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool
from edge_agent.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_agent.bench.result import Findings, Progress

_READY_S = 30.0
_EMPTY_S = 120.0
_LONGEST_PAUSE_S = 0.15
"""Between work given out and a kill: the work itself takes about as long."""
_RATE_EVENTS = 5000
_FRESH = 500


@dataclass(frozen=True, slots=True)
class OutboxTrial:
    """What became of events while broker and device were killed.

    Attributes:
        stored: Events that the device had on disk, so that they may not be lost.
        lost: Those of them that never arrived.
        duplicates: Arrivals beyond the first.
        reordered: First arrivals that came after a later event's.
        changed: Duplicates with another id or content.
    """

    stored: int
    lost: int
    duplicates: int
    reordered: int
    changed: int
    broker_kills: int
    device_kills: int


@dataclass(frozen=True, slots=True)
class OutboxRate:
    """Events a second from `record` to the broker's acknowledgement, through SQLite, and aiomqtt's own without."""

    events_per_s: float
    plain_per_s: float
    events: int


async def measure(
    findings: Findings, progress: Progress, *, events: int = 10_000, kills: int = 50, seed: int = 20260301
) -> None:
    """Add `outbox.lost` and what belongs to it, and `outbox.events_per_s`.

    Raises:
        ServiceError: There is no mosquitto.
    """
    progress(f"{events} events while broker and device are killed {kills} times each")
    trial = await measure_outbox(events, kills, seed)
    findings.add("outbox.lost", trial.lost, "events", goal=at_most(0), samples=trial.stored)
    findings.add("outbox.reordered", trial.reordered, "events", goal=at_most(0), samples=trial.stored)
    findings.add("outbox.changed_duplicates", trial.changed, "events", goal=at_most(0), samples=trial.duplicates)
    findings.add("outbox.duplicates", trial.duplicates, "events", samples=trial.stored)
    progress("events without kills")
    rate = await measure_rate()
    findings.add(
        "outbox.events_per_s",
        rate.events_per_s,
        "events/s",
        goal=at_least(rate.plain_per_s / 2),
        reference=Reference("aiomqtt alone, QoS 1, one after the other, nothing stored", rate.plain_per_s, "events/s"),
        samples=rate.events,
    )


async def measure_outbox(events: int = 10_000, kills: int = 50, seed: int = 20260301) -> OutboxTrial:
    """Have a device make `events` while it and the broker are each killed `kills` times at random moments.

    The broker is only killed while the observer is connected: it acknowledges a message before that is in its own
    file, so that what it holds for an absent subscriber dies with it, and is not the device's loss.
    """
    rng = random.Random(seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with _broker(directory, is_persistent=True) as broker:
            observer = EventObserver(broker.port)
            watching = asyncio.create_task(observer.watch_loop(), name="bench.observer")
            device = _Device(directory, broker.port)
            try:
                await observer.is_ready.wait()
                await asyncio.to_thread(broker.save)  # the observer's session is known after each restart
                await device.start()
                victims = ["broker", "device"] * kills
                rng.shuffle(victims)
                for victim in victims:
                    await device.make(max(1, min(events // len(victims), events - len(device.stored))))
                    await asyncio.sleep(rng.uniform(0.0, _LONGEST_PAUSE_S))
                    if victim == "device":
                        await device.kill()
                        await device.start()
                    else:
                        await observer.is_ready.wait()
                        await asyncio.to_thread(broker.stop)
                        await asyncio.to_thread(broker.start)
                await device.finish(events - len(device.stored))
                await _settle(observer, device)
            finally:
                await device.kill()
                watching.cancel()
                await asyncio.wait({watching})
    return OutboxTrial(
        stored=len(device.stored),
        lost=len(device.stored - observer.first.keys()),
        duplicates=observer.duplicates,
        reordered=observer.reordered,
        changed=observer.changed,
        broker_kills=kills,
        device_kills=kills,
    )


async def measure_rate(events: int = _RATE_EVENTS) -> OutboxRate:
    """Send `events` through the outbox, and as many by aiomqtt alone."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with _broker(directory) as broker:
            plain_s = await _send_plain(broker.port, events)
            ours_s = await _send_stored(directory, broker.port, events)
    return OutboxRate(events / ours_s, events / plain_s, events)


async def _send_plain(port: int, events: int) -> float:
    import aiomqtt

    payload = b'{"id":"00000000-0000-0000-0000-000000000000","at":"2026-03-01T12:00:00.000Z","life":0,"n":1000}'
    topic = Topics(DEVICE).event(EVENT)
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        began_s = time.perf_counter()
        for _ in range(events):
            await client.publish(topic, payload, qos=1)
        return time.perf_counter() - began_s


async def _send_stored(directory: Path, port: int, events: int) -> float:
    config, topics = MqttConfig(host="127.0.0.1", port=port), Topics(DEVICE)
    pool = Pool("file_io", most_workers=4)
    try:
        async with Database(directory / "rate.db", pool) as database:
            link = BrokerLink(config, topics, pool, patience=PATIENCE)
            outbox = EventOutbox(link, topics, DatabaseEventStore(database, config))
            running = [
                asyncio.create_task(link.run_loop(), name="bench.link"),
                asyncio.create_task(outbox.run_loop(), name="bench.outbox"),
            ]
            try:
                while not link.state.is_connected:  # noqa: ASYNC110 - a few milliseconds
                    await asyncio.sleep(0.01)
                began_s = time.perf_counter()
                for number in range(events):
                    while outbox.counts.fresh >= _FRESH:  # noqa: ASYNC110 - the outbox tells nobody
                        await asyncio.sleep(0.001)
                    outbox.record(EVENT, {"life": 0, "n": number})
                await outbox.sent()
                return time.perf_counter() - began_s
            finally:
                for task in running:
                    task.cancel()
                await asyncio.wait(running)
    finally:
        await pool.close()


async def _settle(observer: EventObserver, device: _Device) -> None:
    """Give what was acknowledged last the time to arrive."""
    until_s = time.monotonic() + _READY_S
    while device.stored - observer.first.keys() and time.monotonic() < until_s:  # noqa: ASYNC110 - once, and short
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _broker(directory: Path, *, is_persistent: bool = False) -> AsyncIterator[Mosquitto]:
    # Without a limit a message goes to the observer's socket at once, before it is acknowledged to the device.
    extra = ("max_inflight_messages 0", "max_queued_messages 0", "queue_qos0_messages true")
    broker = await asyncio.to_thread(lambda: Mosquitto(directory, is_persistent=is_persistent, extra=extra))
    await asyncio.to_thread(broker.start)
    try:
        yield broker
    finally:
        await asyncio.to_thread(broker.stop)


class _Device:
    """A child process, with as many lives as it takes; `stored` holds life and number of each event it had on disk."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        self._life = -1
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._empty = asyncio.Event()
        self.stored: set[tuple[int, int]] = set()

    async def start(self) -> None:
        self._life += 1
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "edge_agent.bench.mqtt_outbox_child",
            str(self._directory),
            str(self._port),
            str(self._life),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read(self._process, self._life), name="bench.device")
        async with asyncio.timeout(_READY_S):
            await self._ready.wait()

    async def make(self, events: int) -> None:
        process = self._running
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(f"{events}\n".encode())
        await process.stdin.drain()

    async def finish(self, events: int) -> None:
        """Have the rest made, and return when everything is acknowledged and the process has ended."""
        if events > 0:
            await self.make(events)
        process = self._running
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.close()
        async with asyncio.timeout(_EMPTY_S):
            await self._empty.wait()
            await process.wait()

    async def kill(self) -> None:
        """Cut its power."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._reading is not None:
            await self._reading
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = self._reading = None

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the device was not started")
        return self._process

    async def _read(self, process: asyncio.subprocess.Process, life: int) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        async for line in process.stdout:
            match line.strip():
                case b"ready":
                    self._ready.set()
                case b"empty":
                    self._empty.set()
                case number if line.endswith(b"\n"):
                    self.stored.add((life, int(number)))
