"""The service in a soak: `edge-agent run` as a child that is watched the way a service manager watches it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.bench.soak_looks import Counted, Look, look_at
from edge_agent.errors import EngineError, ServiceError
from edge_agent.gateway.client import ask_service
from edge_agent.gateway.places import socket_to_serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from edge_agent.bench.soak_notify import Told

WATCHDOG_S = 30.0
"""As in systemd/edge-agent.service."""
READY_S = 300.0
END_S = 10.0
"""TimeoutStopSec there."""
_START_LOOK_S = 0.25
_ASK_S = 5.0
_LINES_KEPT = 20
_PHRASES_MIB = 1.0
_LONGEST_LINE_BYTES = 1 << 20
_MANAGERS_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID")
UNITS_VARIABLES = {"MALLOC_ARENA_MAX": "2"}
"""As in systemd/edge-agent.service."""
_MODELS, _CACHE, _STATE = "models", "cache", "state"


@dataclass(slots=True)
class Service:
    """A service that runs. Times are of the monotonic clock.

    Attributes:
        began_s: When it was started.
        ready_s: How long it took until a microphone was open.
        turns: Each turn that it printed, with the time at which it came.
        log: The last lines of its log.
        looks: At the process tree.
        stopped_s: How long it took from SIGTERM to its end; None where it ended by itself.
    """

    process: asyncio.subprocess.Process
    socket: Path
    directories: tuple[Path, ...]
    began_s: float
    ready_s: float = 0.0
    turns: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    looks: list[Look] = field(default_factory=list)
    stopped_s: float | None = None

    async def runs_for(self, seconds: float) -> bool:
        """Wait so long; return at once, and False, where the service ends."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.process.wait()
        except TimeoutError:
            return True
        return False

    async def look(self, *, ask: bool = True) -> Look | None:
        """Look at it once, and remember that; None where it has ended."""
        counted = await asyncio.to_thread(self._ask) if ask else None
        try:
            seen = await asyncio.to_thread(look_at, self.process.pid, self.directories, counted)
        except ProcessLookupError:
            return None
        self.looks.append(seen)
        return seen

    def why(self) -> str:
        """Return how it ended, with the last it said."""
        said = next((line for line in reversed(self.log) if line), "it said nothing")
        return f"ended with status {self.process.returncode}; the last line of its log: {said}"

    def _ask(self) -> Counted | None:
        try:
            status = ask_service(self.socket, {"get": "status"}, timeout_s=_ASK_S)
        except ServiceError:
            return None
        return Counted.of(status) if status["audio"]["microphone"] else None


@asynccontextmanager
async def service(env: Mapping[str, str], directory: Path, told: Told, notify: Path) -> AsyncIterator[Service]:
    """Run it with directories of its own below `directory`; leaving ends it. Entering waits until it listens.

    Raises:
        EngineError: It ended, or did not listen in time.
    """
    clean = {name: value for name, value in env.items() if not name.startswith("EDGE_AGENT_")}
    for name in _MANAGERS_VARIABLES:
        clean.pop(name, None)
    clean |= {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)), **UNITS_VARIABLES}
    config = await asyncio.to_thread(_write_config, directory)
    place = await asyncio.to_thread(socket_to_serve, clean)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "edge_agent",
        "run",
        "--json",
        "--config",
        str(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean,
        limit=_LONGEST_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is for the benchmark, which then ends it
    )
    watched = (directory / _CACHE, directory / _STATE)
    running = Service(process, place.path, watched, time.monotonic())
    readers = [
        asyncio.create_task(_read_turns(running), name="bench.soak.turns"),
        asyncio.create_task(_read_log(running), name="bench.soak.log"),
    ]
    try:
        await _wait_until_ready(running, told)
        yield running
    finally:
        await _end(running)
        # What it left in the pipes is read to the end, unless a grandchild keeps them open.
        await asyncio.wait(readers, timeout=1.0)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _wait_until_ready(running: Service, told: Told) -> None:
    """Wait until it has a microphone and, where it tells its manager, until it has said that it is ready."""
    until_s = running.began_s + READY_S
    while time.monotonic() < until_s:
        seen = await running.look()
        if seen is not None and seen.counted is not None and (told.ready_at_s is not None or not told.status):
            running.ready_s = (told.ready_at_s or time.monotonic()) - running.began_s
            return
        if not await running.runs_for(_START_LOOK_S):
            raise EngineError("edge-agent run", running.why())
    raise EngineError("edge-agent run", f"does not listen within {READY_S:.0f} s: {(running.log or ['no log'])[-1]}")


async def _end(running: Service) -> None:
    process = running.process
    if process.returncode is not None:
        return
    began_s = time.monotonic()
    with suppress(ProcessLookupError):
        process.terminate()
    if await running.runs_for(END_S):
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    running.stopped_s = time.monotonic() - began_s


async def _read_turns(running: Service) -> None:
    assert running.process.stdout is not None  # noqa: S101 - a pipe; tells mypy
    while line := await running.process.stdout.readline():
        with suppress(ValueError):  # half a line, where it was killed
            running.turns.append((time.monotonic(), json.loads(line)))


async def _read_log(running: Service) -> None:
    assert running.process.stderr is not None  # noqa: S101 - a pipe; tells mypy
    while line := await running.process.stderr.readline():
        running.log.append(line.decode(errors="replace").strip())


def _write_config(directory: Path) -> Path:
    import tomli_w

    config = {
        "directories": {name: str(directory / name) for name in (_MODELS, _CACHE, _STATE)},
        "gpio": {"driver": "simulated", "outputs": {"lamp": {"pin": 17}}},
        # "It's twenty past six" is a new sentence every minute: a small cache is full when growth begins to count.
        "phrases": {"memory_mib": _PHRASES_MIB},
    }
    path = directory / "config.toml"
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
    return path
