"""The status socket: its answers, its bounds, and that no client hangs it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import EngineError, ServiceError, UnknownRequestError
from edge_agent.gateway import socket as gateway_socket
from edge_agent.gateway.client import ask_service
from edge_agent.gateway.places import SocketPlace
from edge_agent.gateway.socket import _parse, _Refusal, serve_socket
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.rates import RateLimiter


class Serve(Protocol):
    """Serves for as long as the context lasts."""

    def __call__(
        self,
        answer: Callable[[dict[str, Any]], object | Awaitable[object]],
        rates: RateLimiter | None = None,
        **bounds: float,
    ) -> AbstractAsyncContextManager[Path]:
        """Serve with `answer`."""
        ...


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool that is closed afterwards."""
    pool = Pool("general")
    yield pool
    await pool.close()


@pytest.fixture
def serve(tmp_path: Path, pool: Pool) -> Serve:
    """A socket in a directory of its own; nothing of it is left afterwards."""

    @asynccontextmanager
    async def serving(
        answer: Callable[[dict[str, Any]], object | Awaitable[object]],
        rates: RateLimiter | None = None,
        **bounds: float,
    ) -> AsyncIterator[Path]:
        path = tmp_path / "run" / "s"
        async with serve_socket(SocketPlace(path, 0o600, None), answer, pool, rates=rates, **bounds):
            yield path
        assert list(path.parent.iterdir()) == []
        assert serving_tasks() == []

    return serving


def serving_tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks of connections."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("gateway.socket")]


def echo(request: dict[str, Any]) -> object:
    """Answer with the request."""
    return request


class Peer:
    """A client of the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def tell(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        """Receive one answer."""
        async with asyncio.timeout(10):
            line = await self.reader.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def is_let_go(self) -> bool:
        """Tell whether the service closed the connection."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Peer]:
    """Connect to the service."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 22)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_connection_asks_one_thing_after_the_other(serve: Serve) -> None:
    """Each request is a line, and each answer one, whatever is in it."""
    async with serve(echo) as path, connected(path) as peer:
        for request in ({"get": "status"}, {"text": "one\ntwo é ✓"}, {}):
            await peer.tell(json.dumps(request).encode() + b"\n")
            assert await peer.hear() == {"ok": True, "data": request}
        await peer.tell(b'{"a":1}\n{"b":2}\n')
        assert [(await peer.hear())["data"], (await peer.hear())["data"]] == [{"a": 1}, {"b": 2}]


async def test_an_answer_may_take_its_time_and_be_long(serve: Serve) -> None:
    """It may be awaited, and larger than any buffer."""

    async def answer(_request: dict[str, Any]) -> object:
        await asyncio.sleep(0)
        return "x" * 2_000_000

    async with serve(answer) as path, connected(path) as peer:
        await peer.tell(b"{}\n")
        await asyncio.sleep(0.005)
        assert len((await peer.hear())["data"]) == 2_000_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello\n", "one line of JSON"),
        (b"\n", "one line of JSON"),
        (b"\xff\xfe{}\n", "one line of JSON"),
        (b"[" * 4000 + b"\n", "one line of JSON"),
        (b"[1]\n", "a JSON object"),
        (b"null\n", "a JSON object"),
    ],
)
async def test_nonsense_is_refused_and_the_connection_goes_on(serve: Serve, line: bytes, message: str) -> None:
    """Another request may be right."""
    async with serve(echo) as path, connected(path) as peer:
        await peer.tell(line)
        refused = await peer.hear()
        assert (refused["ok"], refused["error"]["code"]) == (False, "bad_request")
        assert message in refused["error"]["message"]
        await peer.tell(b"{}\n")
        assert (await peer.hear())["ok"]


async def test_a_request_without_end_is_cut_off(serve: Serve) -> None:
    """At 4096 bytes; where it would begin again nobody knows."""
    async with serve(echo) as path, connected(path) as peer:
        await peer.tell(b"x" * 20_000)
        assert "4096 bytes" in (await peer.hear())["error"]["message"]
        assert await peer.is_let_go()


async def test_half_a_request_is_told_so(serve: Serve) -> None:
    """The client closed its side before the newline."""
    async with serve(echo) as path, connected(path) as peer:
        await peer.tell(b'{"get": "sta')
        peer.writer.write_eof()
        assert "newline" in (await peer.hear())["error"]["message"]
        assert await peer.is_let_go()


async def test_who_asks_nothing_is_let_go(serve: Serve) -> None:
    """A connection is not for ever."""
    async with serve(echo, read_s=0.01) as path, connected(path) as peer:
        assert (await peer.hear())["error"]["code"] == "timeout"
        assert await peer.is_let_go()


async def test_an_answer_that_does_not_come_is_given_up(serve: Serve) -> None:
    """Its work is cancelled, and the connection goes on."""
    ended: list[str] = []

    async def answer(request: dict[str, Any]) -> object:
        try:
            if not request:
                await asyncio.Event().wait()
            return "here"
        finally:
            ended.append("yes")

    async with serve(answer, answer_s=0.01) as path, connected(path) as peer:
        await peer.tell(b"{}\n")
        assert (await peer.hear())["error"]["code"] == "timeout"
        assert ended == ["yes"]
        await peer.tell(b'{"now": true}\n')
        assert (await peer.hear())["data"] == "here"


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnknownRequestError("ask for something else"), "unknown"), (EngineError("vosk", "it died"), "failed")],
)
async def test_faults_are_answers(serve: Serve, error: Exception, code: str) -> None:
    """The client hears why."""

    def answer(_request: dict[str, Any]) -> object:
        raise error

    async with serve(answer) as path, connected(path) as peer:
        await peer.tell(b"{}\n")
        assert await peer.hear() == {"ok": False, "error": {"code": code, "message": str(error)}}


async def test_a_bug_costs_one_connection(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback; everyone else goes on."""

    def answer(request: dict[str, Any]) -> object:
        return 1 // int(request["by"])

    async with serve(answer) as path, connected(path) as broken, connected(path) as sound:
        with caplog.at_level(logging.ERROR, "edge_agent.gateway.socket"):
            await broken.tell(b'{"by": 0}\n')
            assert await broken.is_let_go()
        await sound.tell(b'{"by": 1}\n')
        assert (await sound.hear())["data"] == 1
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_one_too_many_is_told_so(serve: Serve) -> None:
    """Eight are served; when one leaves there is room again."""
    async with serve(echo) as path, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(path)) for _ in range(8)]
        for peer in peers:
            await peer.tell(b"{}\n")
            assert (await peer.hear())["ok"]
        async with connected(path) as ninth:
            assert (await ninth.hear())["error"]["code"] == "busy"
            assert await ninth.is_let_go()
        with pytest.raises(ServiceError, match="8 connections are open"):
            await asyncio.to_thread(ask_service, path, {})
        peers[0].writer.close()
        await peers[0].writer.wait_closed()
        await asyncio.sleep(0.005)
        async with connected(path) as again:
            await again.tell(b"{}\n")
            assert (await again.hear())["ok"]


async def test_a_crowd_at_once_is_bounded(serve: Serve) -> None:
    """Forty that come in one moment: eight are served, the others are told or sent away."""
    async with serve(echo) as path, AsyncExitStack() as stack:

        async def try_to_ask() -> bool:
            try:
                peer = await stack.enter_async_context(connected(path))
                await peer.tell(b"{}\n")
                return bool((await peer.hear())["ok"])
            except (ConnectionError, BlockingIOError, ValueError):
                return False

        answered = await asyncio.gather(*(try_to_ask() for _ in range(40)))
        assert sum(answered) == 8


async def test_who_does_not_read_is_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not wait in memory for ever."""
    monkeypatch.setattr(gateway_socket, "_WRITE_S", 0.01)
    async with serve(lambda _request: "x" * 8_000_000) as path, connected(path) as eager:
        with socket.socket(socket.AF_UNIX) as lazy:
            lazy.connect(str(path))
            lazy.sendall(b"{}\n")
            lazy.setblocking(False)  # noqa: FBT003 - socket's own signature
            while len(serving_tasks()) < 2:  # noqa: ASYNC110 - nothing tells when it is accepted
                await asyncio.sleep(0)
            await eager.tell(b"nonsense\n")
            assert (await eager.hear())["error"]["code"] == "bad_request"
            while len(serving_tasks()) > 1:  # noqa: ASYNC110 - nothing tells when it has given up
                await asyncio.sleep(0.001)
            received = 0
            while part := await asyncio.get_running_loop().sock_recv(lazy, 1 << 20):
                received += len(part)
            assert 0 < received < 8_000_000


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now_s


async def test_who_asks_too_often_is_told_so(serve: Serve) -> None:
    """The connection stays usable, another one does not help the same user, and time does."""
    clock = Clock()
    rates = RateLimiter("socket", burst=3, per_s=2, clock=clock)
    async with serve(echo, rates) as path, connected(path) as peer, connected(path) as other:
        for _ in range(3):
            await peer.tell(b'{"n": 1}\n')
            assert (await peer.hear())["ok"]
        for one in (peer, other):
            await one.tell(b'{"n": 2}\n')
            assert await one.hear() == {
                "ok": False,
                "error": {
                    "code": "rate_limited",
                    "message": f"socket: 'uid {os.getuid()}' asks too often; again in 0.5 s",
                },
            }
        with pytest.raises(ServiceError, match="asks too often"):
            await asyncio.to_thread(ask_service, path, {"n": 3})
        clock.now_s += 0.5
        await other.tell(b'{"n": 4}\n')
        assert await other.hear() == {"ok": True, "data": {"n": 4}}
        await peer.tell(b'{"n": 5}\n')
        assert (await peer.hear())["error"]["code"] == "rate_limited"
    statistics = rates.statistics()
    assert (statistics.identities, statistics.allowed, statistics.refused) == (1, 4, 4)


async def test_nonsense_is_charged_too(serve: Serve) -> None:
    """Else it would be the cheap way to keep the service busy; over the rate it is not even parsed."""
    rates = RateLimiter("socket", burst=2, per_s=1, clock=lambda: 0.0)
    async with serve(echo, rates) as path, connected(path) as peer:
        await peer.tell(b"nonsense\n" * 3)
        codes = [(await peer.hear())["error"]["code"] for _ in range(3)]
        assert codes == ["bad_request", "bad_request", "rate_limited"]


async def test_each_user_has_a_rate_of_their_own(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who asks too often keeps nobody else out."""
    users = iter(("uid 1000", "uid 1001"))
    monkeypatch.setattr(gateway_socket, "_user_of", lambda _writer: next(users))
    async with (
        serve(echo, RateLimiter("socket", burst=1, per_s=1, clock=lambda: 0.0)) as path,
        AsyncExitStack() as stack,
    ):
        eager = await stack.enter_async_context(connected(path))
        await eager.tell(b"{}\n{}\n")
        assert [(await eager.hear())["ok"], (await eager.hear())["ok"]] == [True, False]
        calm = await stack.enter_async_context(connected(path))
        await calm.tell(b"{}\n")
        assert (await calm.hear())["ok"]


async def test_closing_ends_connections_that_are_open(serve: Serve) -> None:
    """Also one whose answer is being made."""
    async with AsyncExitStack() as stack:

        async def answer(_request: dict[str, Any]) -> object:
            return await asyncio.Event().wait()

        async with serve(answer) as path:
            idle = await stack.enter_async_context(connected(path))
            asking = await stack.enter_async_context(connected(path))
            await asking.tell(b"{}\n")
            await asyncio.sleep(0.002)
        assert await idle.is_let_go()
        assert await asking.is_let_go()


async def test_the_file_has_its_mode_and_is_gone_afterwards(serve: Serve) -> None:
    """Only its owner may use it; its directory is for the owner alone, too."""
    async with serve(echo) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [entry.name for entry in path.parent.iterdir()] == ["s"]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_line_is_an_object_or_refused(line: bytes) -> None:
    """Parsing raises nothing else."""
    with suppress(_Refusal):
        assert isinstance(_parse(line), dict)
