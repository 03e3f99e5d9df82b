"""A sound system that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from edge_agent.devices import stream_thread
from edge_agent.devices.stream_thread import StreamThread
from edge_agent.errors import DeviceError


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that a call hangs on until it is set; nobody waits long for it."""
    monkeypatch.setattr(stream_thread, "_ANSWER_S", 0.05)
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith("edge-test"):
            thread.join(timeout=10)
            assert not thread.is_alive()


async def test_a_call_returns_its_result_and_raises_its_error() -> None:
    """What the call does is what `run` does."""
    thread = StreamThread("test")
    assert await thread.run(lambda: 7, "card") == 7
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0, "card")
    closed: list[bool] = []
    await thread.close(lambda: closed.append(True), "card")
    assert closed == [True]


async def test_a_hanging_call_is_left_behind(hanging: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """Waiting is bounded for the call and for closing, which still happens, last, when the call returns."""
    thread = StreamThread("test")
    done: list[str] = []
    closed = threading.Event()

    def hang() -> None:
        hanging.wait(timeout=30)
        done.append("opened")

    def close() -> None:
        done.append("closed")
        closed.set()

    with pytest.raises(DeviceError, match="card: the sound system does not answer"):
        await thread.run(hang, "card")
    with caplog.at_level(logging.WARNING, "edge_agent"):
        await thread.close(close, "card")
    assert "left as it is" in caplog.text
    assert done == []
    hanging.set()
    assert await asyncio.to_thread(closed.wait, 10)
    assert done == ["opened", "closed"]


async def test_cancelling_does_not_stop_the_call_that_is_undone_later() -> None:
    """A cancelled opening is finished and closed: the two stay in order."""
    thread = StreamThread("test")
    begun, goes_on = threading.Event(), threading.Event()
    done: list[str] = []

    def open_it() -> None:
        begun.set()
        goes_on.wait(timeout=30)
        done.append("opened")

    opening = asyncio.create_task(thread.run(open_it, "card"))
    assert await asyncio.to_thread(begun.wait, 10)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    goes_on.set()
    await thread.close(lambda: done.append("closed"), "card")
    assert done == ["opened", "closed"]
