"""The service manager's side of the notifications."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from edge_agent.bench.soak_notify import Told, notify_socket
from edge_agent.runtime.notify import Notifier


def test_gaps_are_counted_from_ready_to_the_end() -> None:
    """What was said before READY=1 does not count; what never came at the end does."""
    told = Told()
    told.take("STATUS=loading\nWATCHDOG=1", 1.0)
    told.take("READY=1\nSTATUS=listening", 4.0)
    told.take("READY=1", 5.0)
    for at_s in (10.0, 20.0):
        told.take("WATCHDOG=1", at_s)
    assert told.ready_at_s == 4.0
    assert told.status == "listening"
    assert told.gaps_s(45.0) == [6.0, 10.0, 25.0]


def test_no_sign_of_life_is_no_gap() -> None:
    """A service that does not know of watchdogs has not missed any."""
    told = Told()
    told.take("READY=1", 1.0)
    assert told.gaps_s(100.0) == []


async def test_what_the_service_sends_arrives() -> None:
    """Through a real socket, from the service's own notifier."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        path = Path(name) / "notify"
        async with notify_socket(path) as told:
            notifier = Notifier(str(path), 30.0)
            notifier.ready("listening to a microphone")
            notifier.feed()
            notifier.close()
            async with asyncio.timeout(10):
                while not told.fed_at_s:  # noqa: ASYNC110 - nobody tells when it has arrived
                    await asyncio.sleep(0)
    assert told.ready_at_s is not None
    assert told.ready_at_s <= told.fed_at_s[0]
    assert told.status == "listening to a microphone"
