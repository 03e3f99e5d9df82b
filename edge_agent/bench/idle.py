"""`edge-agent bench idle`: what listening to quiet costs, against PortAudio and a voice activity detector alone."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.bench.listeners import agent, bare_listener
from edge_agent.bench.null_microphone import null_microphone
from edge_agent.bench.process_tree import taken_by
from edge_agent.bench.result import Findings, Reference, at_most
from edge_agent.errors import DeviceError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.bench.listeners import Listener
    from edge_agent.bench.process_tree import Taken
    from edge_agent.bench.result import Progress

SETTLE_S = 20.0
"""After it is ready the agent renders its fixed phrases and looks after its files; that is not listening."""
_LOOK_S = 5.0
_MIB = 2**20


@dataclass(slots=True)
class _Watched:
    """A process tree over some time: the first and the last look, and all memory between."""

    first: Taken
    last: Taken
    took_s: float
    rss_bytes: list[int] = field(default_factory=list)
    pss_bytes: list[int] = field(default_factory=list)

    @property
    def cpu_share(self) -> float:
        """Processor seconds a second."""
        return (self.last.cpu_s - self.first.cpu_s) / self.took_s


async def measure(
    progress: Progress, *, seconds: float, device: str = "", no_microphone: bool = False, settle_s: float = SETTLE_S
) -> Findings:
    """Return `listening.*` and `start.*` of the embedded default, in directories of its own.

    Agent and reference listen to the same microphone during the same time, or one after the other where it can't be
    opened twice.

    Args:
        progress: Is told what is going on.
        seconds: How long both listen.
        device: Microphone; empty for the default one.
        no_microphone: Listen to a null sink.
        settle_s: How long the agent has after its start.

    Raises:
        DeviceError: There is no microphone.
        EngineError: The agent ended, or `psutil` is not installed.
    """
    findings = Findings()
    async with AsyncExitStack() as stack:
        env: Mapping[str, str] = os.environ
        if no_microphone:
            sound = null_microphone()
            env = await asyncio.to_thread(sound.__enter__)
            stack.push_async_callback(asyncio.to_thread, sound.__exit__, None, None, None)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-idle-")))
        config_file = _write_config(directory, device)
        child_env = {name: value for name, value in env.items() if not name.startswith("EDGE_AGENT_")}
        progress("first start, with nothing cached")
        async with agent(child_env, config_file) as listener:
            cold_s = listener.ready_s
        progress("second start")
        ours, bare, counts, ready_s = await _listen(progress, child_env, config_file, device, seconds, settle_s)
    _report(findings, ours, bare, counts)
    findings.add("start.ready_s", ready_s, "s")
    findings.add("start.first_ready_s", cold_s, "s")
    return findings


async def _listen(  # noqa: PLR0917 - one step of `measure`
    progress: Progress, env: Mapping[str, str], config_file: Path, device: str, seconds: float, settle_s: float
) -> tuple[_Watched, _Watched, dict[str, int], float]:
    async with agent(env, config_file) as ours:
        await asyncio.sleep(settle_s)
        try:
            async with bare_listener(env, device) as bare:
                watched = await _watch((ours, bare), seconds, progress, "agent and reference listen")
            return watched[0], watched[1], bare.counts, ours.ready_s
        except DeviceError:
            progress("the microphone can't be opened twice: one after the other")
            (alone,) = await _watch((ours,), seconds, progress, "agent listens")
    async with bare_listener(env, device) as bare:
        (reference,) = await _watch((bare,), seconds, progress, "reference listens")
    return alone, reference, bare.counts, ours.ready_s


async def _watch(listeners: Sequence[Listener], seconds: float, progress: Progress, what: str) -> list[_Watched]:
    began_s = time.monotonic()
    first = [taken_by(listener.pid) for listener in listeners]
    watched = [_Watched(taken, taken, 0.0) for taken in first]
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        progress(f"{what}: {seconds - left_s:.0f} of {seconds:.0f} s")
        await asyncio.sleep(min(_LOOK_S, left_s))
        for listener, seen in zip(listeners, watched, strict=True):
            if not listener.is_alive:
                raise EngineError("bench", f"a listening process ended with status {listener.process.returncode}")
            seen.last = await asyncio.to_thread(taken_by, listener.pid)
            seen.took_s = time.monotonic() - began_s
            seen.rss_bytes.append(seen.last.rss_bytes)
            if seen.last.pss_bytes is not None:
                seen.pss_bytes.append(seen.last.pss_bytes)
    return watched


def _report(findings: Findings, ours: _Watched, bare: _Watched, counts: Mapping[str, int]) -> None:
    findings.add(
        "listening.cpu_vs_bare_loop",
        ours.cpu_share / bare.cpu_share if bare.cpu_share else None,
        "ratio",
        goal=at_most(1.5),
        reference=Reference("PortAudio and webrtcvad alone", bare.cpu_share * 100, "% of a core"),
        samples=len(ours.rss_bytes),
    )
    findings.add("listening.cpu_percent", ours.cpu_share * 100, "% of a core", samples=len(ours.rss_bytes))
    findings.add(
        "listening.rss_mib",
        max(ours.rss_bytes) / _MIB,
        "MiB",
        goal=at_most(200),
        reference=Reference("PortAudio and webrtcvad alone", max(bare.rss_bytes) / _MIB, "MiB"),
        samples=len(ours.rss_bytes),
    )
    pss = max(ours.pss_bytes) / _MIB if ours.pss_bytes else None
    findings.add("listening.pss_mib", pss, "MiB", samples=len(ours.pss_bytes))
    findings.add("listening.processes", ours.last.processes, "processes")
    frames = counts.get("frames", 0)
    share = counts.get("speech", 0) / frames if frames else None
    findings.add("listening.speech_share", share, "ratio", samples=frames)


def _write_config(directory: Path, device: str) -> Path:
    import tomli_w

    config: dict[str, object] = {"directories": {name: str(directory / name) for name in ("models", "cache", "state")}}
    if device:
        config["audio"] = {"input_device": device}
    path = directory / "config.toml"
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
    return path
