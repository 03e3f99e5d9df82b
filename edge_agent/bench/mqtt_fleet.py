"""What a change costs a fleet: hundreds of devices of our own client code on one mosquitto."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench.mosquitto import Mosquitto
from edge_agent.bench.process_tree import taken_by
from edge_agent.bench.result import Reference, at_most, linear_fit, percentile
from edge_agent.config.mqtt import MqttConfig
from edge_agent.errors import EngineError
from edge_agent.fleet.device import read_report
from edge_agent.fleet.document import Document
from edge_agent.fleet.sealing import Sealer
from edge_agent.fleet.session import connect
from edge_agent.fleet.target import Target
from edge_agent.mqtt.payload import read_json
from edge_agent.mqtt.topics import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from edge_agent.bench.result import Findings, Progress
    from edge_agent.fleet.session import FleetSession, Heard

FULL, QUICK = (250, 500, 1000), (25, 50)
_CHILD = "edge_agent.bench.mqtt_fleet_child"
_PROCESSES = 2
_START_S, _CHANGE_S, _END_S = 300.0, 120.0, 30.0
_SETTLE_S = 3.0
"""Statuses follow within a second or two, and memory comes to rest."""
_GOAL_MS = 5000.0
_KIB = 1024


@dataclass(slots=True)
class Sample:
    """One fleet.

    Attributes:
        delays_ms: Of each device's report, from the moment before the document was published.
        settled_ms: The last of them.
        memory_kib: Of one device, above a process without devices.
        broker_kib: The broker's, of one device.
        told: Messages that one device published because of it: its report, and statuses.
        cpu_ms: Processor time of one device for the change.
        broker_cpu_ms: The broker's for it.
    """

    devices: int
    start_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    memory_kib: float = 0.0
    broker_kib: float = 0.0
    told: float = 0.0
    cpu_ms: float = 0.0
    broker_cpu_ms: float = 0.0

    @property
    def settled_ms(self) -> float:
        """When the last device had reported."""
        return max(self.delays_ms)


async def measure(findings: Findings, progress: Progress, *, sizes: Sequence[int] = FULL) -> None:
    """Add `fleet.*`: one change for fleets of each of the `sizes`.

    Raises:
        EngineError: Devices ended, or did not all report in time.
        ServiceError: There is no mosquitto.
        BrokerError: It went away.
    """
    _raise_limit()
    samples = [await _sample(size, progress) for size in sizes]
    largest = samples[-1]
    findings.add(
        "fleet.apply_p95_ms",
        percentile(largest.delays_ms, 95),
        "ms",
        goal=at_most(_GOAL_MS),
        reference=Reference(f"time at {samples[0].devices} devices", percentile(samples[0].delays_ms, 95), "ms"),
        samples=largest.devices,
    )
    findings.add("fleet.rss_per_device_kib", largest.memory_kib, "KiB", samples=largest.devices)
    findings.add("fleet.broker_per_device_kib", largest.broker_kib, "KiB", samples=largest.devices)
    for sample in samples:
        count = sample.devices
        findings.add(f"fleet.apply_{count}_p50_ms", percentile(sample.delays_ms, 50), "ms", samples=count)
        findings.add(f"fleet.apply_{count}_p95_ms", percentile(sample.delays_ms, 95), "ms", samples=count)
        findings.add(f"fleet.settled_{count}_ms", sample.settled_ms, "ms", samples=count)
        findings.add(f"fleet.start_{count}_s", sample.start_s, "s", samples=count)
        findings.add(f"fleet.messages_{count}_per_device", sample.told, "messages", samples=count)
        findings.add(f"fleet.cpu_{count}_ms_per_device", sample.cpu_ms, "ms", samples=count)
        findings.add(f"fleet.broker_cpu_{count}_ms_per_device", sample.broker_cpu_ms, "ms", samples=count)
        findings.add(f"fleet.memory_{count}_kib_per_device", sample.memory_kib, "KiB", samples=count)
        findings.distributions.setdefault("fleet: time to report", {})[f"{count} devices"] = sample.delays_ms
    for name, values in (
        ("cpu", [sample.cpu_ms for sample in samples]),
        ("memory", [sample.memory_kib for sample in samples]),
        ("messages", [sample.told for sample in samples]),
    ):
        # Of what one device costs: 1 is linear growth of the whole.
        findings.add(f"fleet.{name}_linearity", max(values) / min(values) if min(values) > 0 else None, "ratio")
    if len(samples) > 1:
        slope, _ = linear_fit([one.devices for one in samples], [one.settled_ms for one in samples])
        findings.add("fleet.settled_slope_ms_per_device", slope, "ms", samples=len(samples))


async def _sample(count: int, progress: Progress) -> Sample:
    loop = asyncio.get_running_loop()
    sample = Sample(count)
    progress(f"fleet: {count} devices start")
    async with AsyncExitStack() as stack:
        temporary = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="fleet-")
        stack.push_async_callback(asyncio.to_thread, temporary.cleanup)
        directory = Path(temporary.name)
        broker = await asyncio.to_thread(Mosquitto, directory, extra=["max_queued_messages 0"])
        stack.push_async_callback(asyncio.to_thread, broker.stop)
        await asyncio.to_thread(broker.start)
        broker_before = await asyncio.to_thread(taken_by, broker.pid)
        children = []
        for number, share in enumerate(_shares(count)):
            first = sum(_shares(count)[:number])
            children.append(await stack.enter_async_context(_devices(broker.port, first, share, directory)))
        empty = [await asyncio.to_thread(taken_by, child.pid) for child in children]
        began_s = loop.time()
        await asyncio.gather(*(_step(child, "ready", _START_S) for child in children))
        sample.start_s = loop.time() - began_s
        session = await stack.enter_async_context(
            connect(MqttConfig(host="127.0.0.1", port=broker.port), timeout_s=_END_S)
        )
        await asyncio.sleep(_SETTLE_S)
        before = [await asyncio.to_thread(taken_by, child.pid) for child in children]
        broker_idle = await asyncio.to_thread(taken_by, broker.pid)
        # Proportional memory, where the kernel tells: libraries that both processes map are counted once.
        grown = sum(
            (new.pss_bytes or new.rss_bytes) - (old.pss_bytes or old.rss_bytes)
            for new, old in zip(before, empty, strict=True)
        )
        sample.memory_kib = grown / _KIB / count
        sample.broker_kib = (broker_idle.rss_bytes - broker_before.rss_bytes) / _KIB / count
        progress(f"fleet: {count} devices change")
        await _change(sample, session)
        after = [await asyncio.to_thread(taken_by, child.pid) for child in children]
        broker_after = await asyncio.to_thread(taken_by, broker.pid)
        sample.cpu_ms = sum(new.cpu_s - old.cpu_s for new, old in zip(after, before, strict=True)) * 1000 / count
        sample.broker_cpu_ms = (broker_after.cpu_s - broker_idle.cpu_s) * 1000 / count
    return sample


async def _change(sample: Sample, session: FleetSession) -> None:
    """Publish one document for all, and note when each device has reported it."""
    loop = asyncio.get_running_loop()
    target = Target("fleet")
    waiting: set[str] = set()
    told = 0

    def look(heard: Heard) -> None:
        nonlocal told
        told += not heard.is_retained
        if heard.is_retained and heard.topic.endswith("/config/reported"):
            waiting.add(heard.topic)

    await session.read_retained([f"{ROOT}/#"], look, _END_S)
    if len(waiting) != sample.devices:
        raise EngineError("bench", f"{len(waiting)} of {sample.devices} devices have reported before the change")
    told = 0
    document = Sealer().seal(Document(1, {"audio": {"volume": 41}}), target)
    began_s = loop.time()
    await session.publish(target.topic, document)
    while waiting:
        left_s = began_s + _CHANGE_S - loop.time()
        heard = await session.next(left_s) if left_s > 0 else None
        if heard is None:
            raise EngineError("bench", f"{len(waiting)} of {sample.devices} devices did not report the change")
        look(heard)
        if heard.topic in waiting and _has_applied(heard.payload, target):
            waiting.remove(heard.topic)
            sample.delays_ms.append((loop.time() - began_s) * 1000)
    await _until(session, look, _SETTLE_S)
    sample.told = told / sample.devices


def _has_applied(payload: bytes, target: Target) -> bool:
    report = read_report(read_json(payload, most_bytes=len(payload)))
    return report.outcome == "applied" and report.revision(target) == 1


async def _until(session: FleetSession, look: Callable[[Heard], None], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    while (left_s := until_s - loop.time()) > 0:
        heard = await session.next(left_s)
        if heard is not None:
            look(heard)


def _shares(count: int) -> list[int]:
    return [count // _PROCESSES + (number < count % _PROCESSES) for number in range(_PROCESSES)]


@asynccontextmanager
async def _devices(port: int, first: int, count: int, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a process for devices; it has imported everything and waits for the word."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _CHILD, str(port), str(first), str(count), str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await _answer(child, "base", _START_S)
        yield child
        if child.stdin is not None:
            child.stdin.close()
        async with asyncio.timeout(_END_S):
            await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _step(child: asyncio.subprocess.Process, expected: str, within_s: float) -> None:
    if child.stdin is not None:
        child.stdin.write(b"\n")
        await child.stdin.drain()
    await _answer(child, expected, within_s)


async def _answer(child: asyncio.subprocess.Process, expected: str, within_s: float) -> None:
    assert child.stdout is not None  # noqa: S101 - a pipe; tells mypy
    try:
        async with asyncio.timeout(within_s):
            line = await child.stdout.readline()
    except TimeoutError as error:
        raise EngineError(
            "bench", f"the process with simulated devices is not {expected} within {within_s:g} s"
        ) from error
    if line.strip() != expected.encode():
        raise EngineError("bench", f"the process with simulated devices has ended: {json.dumps(line.decode())}")


def _raise_limit() -> None:
    """A broker has a descriptor for each device; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
