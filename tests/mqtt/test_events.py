"""The outbox of events, against a scripted broker and disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from event_doubles import BROKER, MemoryStore, ScriptedLink
from virtual_time import in_virtual_time

from edge_agent.mqtt.events import DROPPED, EventOutbox
from edge_agent.mqtt.failures import BrokerError
from edge_agent.mqtt.topics import Topics

TOPICS = Topics("kitchen")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outbox_of(link: ScriptedLink, store: MemoryStore | None, **settings: object) -> EventOutbox:
    """Return an outbox whose clock says noon."""
    return EventOutbox(link, TOPICS, store, **{"now": lambda: NOW, **settings})  # type: ignore[arg-type]


@asynccontextmanager
async def running(outbox: EventOutbox) -> AsyncIterator[None]:
    """Run it for as long as the block takes."""
    task = asyncio.create_task(outbox.run_loop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it; virtual time is patient."""
    async with asyncio.timeout(3600):
        while not condition():  # noqa: ASYNC110 - the outbox tells nobody
            await asyncio.sleep(0.01)


def numbers(payloads: list[bytes]) -> list[int]:
    """Return which events these are."""
    return [json.loads(payload)["slots"]["n"] for payload in payloads if b"slots" in payload]


@in_virtual_time
async def test_an_event_says_what_when_and_which() -> None:
    """Custom intents' slots under `slots`, other data beside the id."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)
    async with running(outbox):
        outbox.publish("order", {"size": "small"})
        outbox.record("turn", {"intent": "TurnOn", "text": "\ud800é", "id": "mine"})
        await outbox.sent()
    order, turn = (json.loads(payload) for payload in link.sent)
    assert order == {"id": order["id"], "at": "2026-03-01T12:00:00.000Z", "slots": {"size": "small"}}
    assert turn == {"id": turn["id"], "at": order["at"], "intent": "TurnOn", "text": "?é"}
    assert len({order["id"], turn["id"], "mine"}) == 3
    assert store.events == []


@in_virtual_time
async def test_many_go_at_once_and_in_order() -> None:
    """A window of them is on its way; they reach the disk in batches."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)
    for number in range(900):
        outbox.publish("count", {"n": number})
    async with running(outbox):
        await outbox.sent()
    assert numbers(link.sent) == list(range(900))
    assert link.most_at_once == 20
    assert store.appends < 10
    assert (outbox.counts.waiting, outbox.counts.sent, outbox.counts.dropped) == (0, 900, {})


@in_virtual_time
async def test_a_lost_connection_loses_and_reorders_nothing() -> None:
    """From the first that was not acknowledged on all are sent again, with the same ids."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)
    for number in range(300):
        outbox.publish("count", {"n": number})
    losses = iter([7, 8, 100, 299])
    next_loss = next(losses)

    def answer(payload: bytes) -> str | None:
        nonlocal next_loss
        if numbers([payload]) == [next_loss]:
            next_loss = next(losses, -1)
            asyncio.get_running_loop().call_later(5, link.connect)
            return "lose"
        return None

    link.answers = answer
    async with running(outbox):
        await outbox.sent()
    arrivals = list(dict.fromkeys(link.sent))
    assert numbers(arrivals) == list(range(300))
    assert len(arrivals) == 300
    assert len(link.sent) > 304


@in_virtual_time
async def test_events_wait_on_disk_for_a_broker_that_is_away() -> None:
    """And are sent by the next process."""
    store = MemoryStore()
    outbox = outbox_of(ScriptedLink(is_connected=False), store)
    async with running(outbox):
        for number in range(5):
            outbox.publish("count", {"n": number})
        await until(lambda: len(store.events) == 5)
        assert outbox.counts.waiting == 5
    link = ScriptedLink()
    second = outbox_of(link, store)
    async with running(second):
        await until(lambda: len(link.sent) == 5)
    assert numbers(link.sent) == [0, 1, 2, 3, 4]


@in_virtual_time
async def test_stopping_puts_the_last_events_on_disk() -> None:
    """Those that came in the same instant."""
    store = MemoryStore()
    outbox = outbox_of(ScriptedLink(is_connected=False), store)
    async with running(outbox):
        await asyncio.sleep(1)
        outbox.publish("count", {"n": 1})
    assert len(store.events) == 1


@in_virtual_time
async def test_a_broken_disk_is_told_and_costs_no_event() -> None:
    """They are sent from memory meanwhile, and stored again as soon as that works."""
    link, store, told = ScriptedLink(), MemoryStore(), list[str]()
    outbox = outbox_of(link, store, tell=told.append)
    store.is_broken = True
    async with running(outbox):
        outbox.publish("count", {"n": 1})
        await until(lambda: numbers(link.sent) == [1])
        outbox.publish("count", {"n": 2})
        await until(lambda: numbers(link.sent) == [1, 2])
        assert not outbox.counts.is_stored
        store.is_broken = False
        await asyncio.sleep(60)
        outbox.publish("count", {"n": 3})
        await outbox.sent()
        assert outbox.counts.is_stored
    assert numbers(link.sent) == [1, 2, 3]
    assert store.appends >= 1
    assert len(told) == 1
    assert "the disk is full" in told[0]


@in_virtual_time
async def test_without_a_disk_and_a_broker_the_oldest_go() -> None:
    """Memory is bounded, and what was lost is said when there is room again."""
    link = ScriptedLink(is_connected=False)
    outbox = outbox_of(link, None)
    for number in range(1005):
        outbox.publish("count", {"n": number})
    assert (outbox.counts.waiting, outbox.counts.dropped) == (1000, {"memory": 5})
    async with running(outbox):
        link.connect()
        await outbox.sent()
        await until(lambda: len(link.sent) == 1001)
    assert numbers(link.sent) == list(range(5, 1005))
    said = next(json.loads(payload) for payload in link.sent if b'"dropped"' in payload)
    assert said["dropped"] == {"memory": 5}


@in_virtual_time
async def test_what_the_disk_had_no_room_for_is_said() -> None:
    """Once there is room, in an event of its own."""
    link, store = ScriptedLink(is_connected=False), MemoryStore(most=10)
    outbox = outbox_of(link, store)
    async with running(outbox):
        for number in range(25):
            outbox.publish("count", {"n": number})
        await until(lambda: outbox.counts.dropped == {"full": 15})
        link.connect()
        await outbox.sent()
        await until(lambda: len(link.sent) == 11)
    assert numbers(link.sent) == list(range(15, 25))
    assert json.loads(link.sent[-1])["dropped"] == {"full": 15}
    assert DROPPED == "outbox_dropped"


@in_virtual_time
async def test_old_events_are_dropped_while_the_clock_is_right() -> None:
    """One that was made while the clock was not set is never too old; with such a clock nothing is."""
    store, now = MemoryStore(), datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    link = ScriptedLink(is_connected=False)
    outbox = outbox_of(link, store, now=lambda: now, oldest=timedelta(days=30))
    async with running(outbox):
        outbox.publish("count", {"n": 1})
        await asyncio.sleep(5)
        now = NOW
        outbox.publish("count", {"n": 2})
        await asyncio.sleep(2 * 3600)
        assert len(store.events) == 2
        now = NOW + timedelta(days=31)
        await asyncio.sleep(2 * 3600)
        assert outbox.counts.dropped == {"old": 1}
        link.connect()
        await outbox.sent()
    assert numbers(link.sent) == [1]
    assert json.loads(link.sent[0])["at"] is None


@in_virtual_time
async def test_an_event_that_the_broker_never_takes_does_not_hold_up_the_others() -> None:
    """It is given up after three tries, and counted."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)

    def answer(payload: bytes) -> BrokerError | None:
        return BrokerError(BROKER, "too large", 0x95) if numbers([payload]) == [3] else None

    link.answers = answer
    for number in range(8):
        outbox.publish("count", {"n": number})
    async with running(outbox):
        await outbox.sent()
        assert outbox.counts.dropped == {"refused": 1}
    assert numbers(list(dict.fromkeys(link.sent))) == list(range(8))
    assert numbers(link.sent).count(3) == 3


@in_virtual_time
async def test_an_event_over_which_the_broker_breaks_off_is_found() -> None:
    """One of a window is to blame, nobody knows which: they go one by one, and only that one is given up."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)

    def answer(payload: bytes) -> str | None:
        if numbers([payload]) == [13]:
            asyncio.get_running_loop().call_soon(link.lose, 0x95)
            asyncio.get_running_loop().call_later(1, link.connect)
            return "wait"
        return None

    link.answers = answer
    for number in range(30):
        outbox.publish("count", {"n": number})
    async with running(outbox):
        await outbox.sent()
        assert outbox.counts.dropped == {"refused": 1}
    assert numbers(list(dict.fromkeys(link.sent))) == list(range(30))


@in_virtual_time
async def test_a_broker_that_refuses_for_now_is_asked_again() -> None:
    """Later and later; nothing is lost, and it is logged once."""
    link, store = ScriptedLink(), MemoryStore()
    outbox = outbox_of(link, store)
    link.answers = lambda payload: BrokerError(BROKER, "no room", 0x97)
    outbox.publish("count", {"n": 1})
    async with running(outbox):
        await asyncio.sleep(3600)
        assert 30 < len(link.sent) < 90
        link.answers = lambda payload: None
        await outbox.sent()
    assert outbox.counts.dropped == {}


@in_virtual_time
async def test_a_huge_event_is_refused_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """It would not fit through everything on its way."""
    outbox = outbox_of(ScriptedLink(), MemoryStore())
    outbox.record("turn", {"text": "x" * 70_000})
    assert (outbox.counts.waiting, outbox.counts.dropped) == (0, {"large": 1})
    assert "event 'turn' is dropped" in caplog.text
