"""Runs links to a broker in tests, and waits for what they come to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiomqtt

from edge_agent.config.mqtt import MqttConfig
from edge_agent.mqtt.link import BrokerLink, LinkState, Patience

QUICK = Patience(connect_s=3.0, first_retry_s=0.02, longest_retry_s=0.05, taken_over_s=60.0, lasting_s=3600.0)
"""For brokers on the same machine."""
WAIT_S = 15.0


def config_for(port: int, **settings: object) -> MqttConfig:
    """Return the configuration of a broker on this machine."""
    return MqttConfig.model_validate({"host": "127.0.0.1", "port": port, **settings})


@asynccontextmanager
async def running(*links: BrokerLink) -> AsyncIterator[None]:
    """Run links for as long as the block takes."""
    tasks = [asyncio.create_task(link.run_loop(), name="test.link") for link in links]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled() or task.exception() is None, task


async def until(link: BrokerLink, is_reached: Callable[[LinkState], bool], within_s: float = WAIT_S) -> LinkState:
    """Wait until the link's state is as wanted, and return it."""
    changed = asyncio.Event()
    link.watch(lambda _: changed.set())
    try:
        async with asyncio.timeout(within_s):
            while not is_reached(link.state):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        raise AssertionError(f"not reached: {link.state}") from None
    return link.state


async def eventually(condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Wait until something has come about that tells nobody."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def connected(link: BrokerLink) -> LinkState:
    """Wait until it is connected."""
    return await until(link, lambda state: state.is_connected)


async def failed(link: BrokerLink) -> str:
    """Wait until it was tried in vain, and return why."""
    state = await until(link, lambda state: not state.is_connected and state.reason != "is not asked yet")
    return state.reason


@asynccontextmanager
async def observer(port: int, *filters: str, identifier: str | None = None) -> AsyncIterator[aiomqtt.Client]:
    """Connect a client that has nothing to do with ours, and subscribe."""
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, identifier=identifier) as client:
        for topic_filter in filters:
            await client.subscribe(topic_filter, qos=1)
        yield client


async def next_payload(client: aiomqtt.Client) -> bytes:
    """Return the payload of the next message."""
    async with asyncio.timeout(WAIT_S):
        message = await anext(client.messages)
    assert isinstance(message.payload, bytes)
    return message.payload


@asynccontextmanager
async def serving(answer: bytes, *more: bytes, after_s: float = 0.0) -> AsyncIterator[int]:
    """Listen, and send each client the first answer when it has said something, the others after a time each."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1)
            writer.write(answer)
            for part in more:
                await asyncio.sleep(after_s)
                writer.write(part)
            while await reader.read(1000):
                pass
        writer.close()

    clients: set[asyncio.Task[None]] = set()

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        if clients:
            await asyncio.wait(clients, timeout=1.0)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
