"""`edge-agent bench soak`: the service for hours at real time, with a command every few seconds."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench.extras import need
from edge_agent.bench.null_microphone import null_sound
from edge_agent.bench.result import Findings
from edge_agent.bench.soak_commands import Asked, assign, prepare
from edge_agent.bench.soak_notify import notify_socket
from edge_agent.bench.soak_report import Soak, report
from edge_agent.bench.soak_service import WATCHDOG_S, service
from edge_agent.config.schema import Config
from edge_agent.errors import DeviceError

if TYPE_CHECKING:
    from edge_agent.bench.null_microphone import NullSound
    from edge_agent.bench.result import Progress
    from edge_agent.bench.soak_commands import Command
    from edge_agent.bench.soak_service import Service

MINUTES, QUICK_MINUTES = 30.0, 3.0
EVERY_S = 20.0
LEAST_EVERY_S = 10.0
"""The longest recording and the longest answer of the rotation fit in."""
_LOOK_S = 5.0
_SETTLE_S = 5.0
"""After it is ready, until the first command."""
_PLAYED_S = 10.0


@dataclass(frozen=True, slots=True)
class _Schedule:
    """When there is a command, by the monotonic clock."""

    began_s: float
    until_s: float
    every_s: float


async def measure(progress: Progress, *, minutes: float, every_s: float, speech: Path | None = None) -> Findings:
    """Return `soak_service.*` of the embedded default, in directories of its own, on a sound system of its own.

    Args:
        progress: Is told what is going on.
        minutes: How long, after it is ready.
        every_s: Between two commands.
        speech: Directory of recorded commands; what is missing there is rendered by Flite.

    Raises:
        DeviceError: PulseAudio is not installed or does not start.
        EngineError: The service does not start, or `psutil` is not installed.
        SynthesisError: There is no voice to make commands with.
    """
    need("psutil")
    async with AsyncExitStack() as stack:
        sound_system = null_sound()
        sound = await asyncio.to_thread(sound_system.__enter__)
        stack.push_async_callback(asyncio.to_thread, sound_system.__exit__, None, None, None)
        own_directory = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="bench-soak-")
        stack.push_async_callback(asyncio.to_thread, own_directory.cleanup)
        directory = Path(own_directory.name)
        progress("preparing the commands")
        commands = await asyncio.to_thread(prepare, Config(), speech, directory)
        told = await stack.enter_async_context(notify_socket(directory / "notify"))
        progress("starting the service")
        async with service(sound.env, directory, told, directory / "notify") as running:
            began_s = time.monotonic() + _SETTLE_S
            asked: list[Asked] = []
            schedule = _Schedule(began_s, began_s + minutes * 60, every_s)
            await _soak(running, sound, commands, asked, schedule, progress)
            ended_s = time.monotonic()
            death = "" if running.process.returncode is None else running.why()
    soak = Soak(
        began_s=began_s,
        ended_s=ended_s,
        looks=running.looks,
        asked=asked,
        unasked=assign(asked, running.turns),
        told=told,
        watchdog_s=WATCHDOG_S,
        ready_s=running.ready_s,
        stopped_s=running.stopped_s,
        exit_status=running.process.returncode,
        death=death,
    )
    findings = Findings()
    report(findings, soak)
    return findings


async def _soak(  # noqa: PLR0917 - one step of `measure`
    running: Service,
    sound: NullSound,
    commands: list[tuple[Command, Path]],
    asked: list[Asked],
    schedule: _Schedule,
    progress: Progress,
) -> None:
    """Speak and look until the end, or until the service ends."""
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_look_loop(running, schedule, progress), name="bench.soak.looks")
        for number, (command, recording) in enumerate(cycle(commands)):
            at_s = schedule.began_s + number * schedule.every_s
            if at_s + schedule.every_s > schedule.until_s or not await running.runs_for(at_s - time.monotonic()):
                break
            asked.append(Asked(command, time.monotonic()))
            await _play(sound, recording)
        await running.runs_for(schedule.until_s - time.monotonic())
        looking.cancel()


async def _look_loop(running: Service, schedule: _Schedule, progress: Progress) -> None:
    minutes = (schedule.until_s - schedule.began_s) / 60
    while await running.look() is not None:
        progress(f"soak: {max(0.0, time.monotonic() - schedule.began_s) / 60:.1f} of {minutes:.1f} min")
        await asyncio.sleep(_LOOK_S)


async def _play(sound: NullSound, recording: Path) -> None:
    player = await asyncio.create_subprocess_exec(
        *sound.playing(recording),
        env=dict(sound.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PLAYED_S):
            status = await player.wait()
    except TimeoutError:
        status = None
    finally:
        if player.returncode is None:
            player.kill()
            await player.wait()
    if status != 0:
        raise DeviceError("null microphone", f"{recording.name} could not be played: `paplay` status {status}")
