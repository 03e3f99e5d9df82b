"""The agent and the bare listener as processes that are started, watched and ended."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.errors import DeviceError, EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_READY_LINE = "listening to "
_READY_S = 120.0
_END_S = 10.0
_LINES_KEPT = 20


@dataclass(slots=True)
class Listener:
    """A process that listens.

    Attributes:
        ready_s: From its start to when it listened.
        counts: What it says at its end that it heard.
    """

    process: asyncio.subprocess.Process
    ready_s: float
    counts: dict[str, Any]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.returncode is None


@asynccontextmanager
async def agent(env: Mapping[str, str], config_file: Path) -> AsyncIterator[Listener]:
    """Run `edge-agent run` until left; entering waits until its microphone is open.

    Raises:
        EngineError: It ended, or did not listen in time.
    """
    began_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "edge_agent",
        "run",
        "--config",
        str(config_file),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
    )
    reading: asyncio.Task[None] | None = None
    try:
        ready_s = await _wait_for_line(process, began_s)
        # Its log is read to its end: a full pipe would stop it.
        reading = asyncio.create_task(_drain(process), name="bench.agent.log")
        yield Listener(process, ready_s, {})
    finally:
        if process.returncode is None:
            process.terminate()
        await _ended(process)
        if reading is not None:
            await reading


@asynccontextmanager
async def bare_listener(env: Mapping[str, str], device: str) -> AsyncIterator[Listener]:
    """Run the bare listener until left; then its `counts` are there.

    Raises:
        DeviceError: It can't open the microphone.
    """
    began_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "edge_agent.bench.bare_listener",
        device,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
    )
    assert process.stdin is not None  # noqa: S101 - pipes; tells mypy
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(_READY_S):
            if not await process.stdout.readline():
                lines = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
                raise DeviceError(device or "microphone", lines[-1] if lines else "can't be opened a second time")
        listener = Listener(process, time.monotonic() - began_s, {})
        yield listener
        process.stdin.close()
        async with asyncio.timeout(_END_S):
            if line := await process.stdout.readline():
                listener.counts.update(json.loads(line))
    finally:
        process.stdin.close()
        await _ended(process)


async def _wait_for_line(process: asyncio.subprocess.Process, began_s: float) -> float:
    assert process.stderr is not None  # noqa: S101 - a pipe; tells mypy
    lines: list[str] = []
    try:
        async with asyncio.timeout(_READY_S):
            while line := await process.stderr.readline():
                text = line.decode(errors="replace").strip()
                if _READY_LINE in text:
                    return time.monotonic() - began_s
                lines = [*lines, text][-_LINES_KEPT:]
    except TimeoutError as error:
        raise EngineError("edge-agent run", f"does not listen within {_READY_S:.0f} s: {_last(lines)}") from error
    raise EngineError("edge-agent run", f"ended: {_last(lines)}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None  # noqa: S101 - a pipe; tells mypy
    while await process.stderr.readline():
        pass


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last(lines: list[str]) -> str:
    return lines[-1] if lines else "it said nothing"
