"""The soak with the real service, for half a minute."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.bench import soak

if TYPE_CHECKING:
    from edge_agent.bench.result import Findings

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _parts() -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    missing = [name for name in ("flite", "pulseaudio", "pactl", "pacat", "paplay") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (apt install flite pulseaudio pulseaudio-utils)")


def children() -> set[int]:
    """All processes below this one."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


async def run(seconds: float) -> Findings:
    """Run it with a command every ten seconds."""
    return await soak.measure(lambda _: None, minutes=seconds / 60, every_s=10.0)


async def test_the_service_answers_and_is_watched() -> None:
    """Commands come in by the microphone, answers are right, the watchdog is fed; nothing is left behind."""
    before = children()
    findings = await run(31.0)
    assert findings.value("soak_service.commands") == 3
    assert findings.value("soak_service.commands_right") == 1.0, findings.notes
    assert findings.value("soak_service.commands_unanswered") == 0
    assert findings.value("soak_service.ended_by_itself") == 0
    assert findings.value("soak_service.exit_status") == 0
    assert findings.value("soak_service.watchdog_misses") == 0
    assert findings.value("soak_service.lost_frames") == 0
    peak_mib = findings.value("soak_service.peak_pss_mib")
    assert peak_mib is not None
    assert 30 < peak_mib < 400
    assert children() == before


async def test_a_service_that_is_killed_is_told() -> None:
    """The soak ends at once, with what there is."""
    before = children()
    listens = asyncio.Event()

    def progress(text: str) -> None:
        if text.startswith("soak:"):
            listens.set()

    soaking = asyncio.create_task(soak.measure(progress, minutes=5.0, every_s=10.0))
    async with asyncio.timeout(60):
        await listens.wait()
    (service,) = [pid for pid in children() - before if {"edge_agent", "run"} <= set(psutil.Process(pid).cmdline())]
    os.kill(service, signal.SIGKILL)
    async with asyncio.timeout(30):
        findings = await soaking
    assert findings.value("soak_service.ended_by_itself") == 1
    assert any("ended with status -9" in note for note in findings.notes)
    assert children() == before
