"""The HTTP pool against a server on this machine: bounds, redirects, errors without secrets, closing."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohttp import web
from yarl import URL

from edge_agent import __version__
from edge_agent.errors import BusyError, NetworkError
from edge_agent.net.http import HttpLimits, HttpStatistics, open_http
from edge_agent.net.resolver import PoolResolver
from edge_agent.runtime.pool import Pool

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def _serving(**handlers: _Handler) -> AsyncIterator[str]:
    """Serve each handler under its name, on a free port; give the address, without a slash at the end."""
    application = web.Application()
    for name, handler in handlers.items():
        application.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # the server has cancelled its handlers and does not wait for their end


@contextmanager
def _free_port() -> Iterator[int]:
    """A port that nobody listens on, kept from others."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def _text(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def _to(location: str) -> _Handler:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    return redirect


class _Idle:
    """Never answers, and tells that it was asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked.set()
        await asyncio.Event().wait()
        return web.Response()


async def test_a_body_arrives_and_the_server_hears_who_asks() -> None:
    """The user agent names the version; nothing else is told, and nothing compressed is asked for."""
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(text="hello", headers={"Set-Cookie": "id=1"})

    async with _serving(a=answer) as address, open_http() as pool:
        assert pool.statistics() == HttpStatistics(0, 0, 0, 0, 0)
        for _ in range(2):
            assert await pool.get_bytes(f"{address}/a", 5, headers={"If-None-Match": "x"}) == b"hello"
        assert pool.statistics() == HttpStatistics(active=0, completed=2, failed=0, refused=0, received_bytes=10)
    for headers in seen:
        headers.pop("Host")
        assert headers == {
            "User-Agent": f"edge-agent/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "If-None-Match": "x",
        }


async def test_without_a_request_there_is_no_session() -> None:
    """Devices that never ask anybody anything pay nothing."""
    async with open_http() as pool:
        assert pool._session is None


async def test_connections_to_one_host_stay_within_their_limit() -> None:
    """Ten requests at once share two connections, and all are answered."""
    now = most = 0
    both_there = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 2:
            both_there.set()
        await both_there.wait()
        await asyncio.sleep(0.002)
        now -= 1
        return web.Response(text="hello")

    async with _serving(a=answer) as address, open_http(HttpLimits(connections_per_host=2)) as pool:
        bodies = await asyncio.gather(*(pool.get_bytes(f"{address}/a", 100) for _ in range(10)))
    assert bodies == [b"hello"] * 10
    assert most == 2


async def test_connections_in_all_stay_within_their_limit_and_waiting_ends() -> None:
    """With one connection in all, taken by a stream, a request to another host gives up after `wait_s`."""
    idle = _Idle()
    async with (
        _serving(a=_text, idle=idle.answer) as one,
        _serving(a=_text) as other,
        open_http(HttpLimits(connections=1, wait_s=0.3)) as pool,
    ):
        hanging = asyncio.create_task(pool.get_bytes(f"{one}/idle", 10))
        await idle.asked.wait()
        with pytest.raises(NetworkError, match=r"no connection within 0\.3 s"):
            await pool.get_bytes(f"{other}/a", 10)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert await pool.get_bytes(f"{other}/a", 10) == b"hello"
        assert pool.statistics().active == 0


async def test_requests_beyond_the_limit_are_refused() -> None:
    """Nothing queues without bound."""
    async with _serving(a=_text) as address, open_http(HttpLimits(requests=1)) as pool:
        async with pool.stream(f"{address}/a"):
            with pytest.raises(BusyError):
                await pool.get_bytes(f"{address}/a", 10)
        assert await pool.get_bytes(f"{address}/a", 10) == b"hello"
        assert pool.statistics().refused == 1


async def test_a_server_that_stalls_is_given_up() -> None:
    """Before the answer, in the middle of it, and altogether."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.Event().wait()
        return response

    async with _serving(idle=_Idle().answer, drip=drip) as address:
        async with open_http(HttpLimits(read_s=0.05)) as pool:
            for name in ("idle", "drip"):
                with pytest.raises(NetworkError, match=r"nothing came for 0\.05 s"):
                    await pool.get_bytes(f"{address}/{name}", 10)
            assert pool.statistics().failed == 2
        async with open_http(HttpLimits(total_s=0.05)) as pool:
            with pytest.raises(NetworkError, match=r"took longer than 0\.05 s"):
                await pool.get_bytes(f"{address}/drip", 10)


async def test_a_body_that_is_too_large_is_not_read() -> None:
    """Whether the server says its length beforehand or not; a body of exactly the limit is fine."""

    async def unknown_length(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100):
            await response.write(bytes(1000))
        return response

    async def known_length(_: web.Request) -> web.Response:
        return web.Response(body=bytes(100_000))

    async with _serving(known=known_length, unknown=unknown_length) as address, open_http() as pool:
        for name in ("known", "unknown"):
            with pytest.raises(NetworkError, match="larger than 99999 bytes"):
                await pool.get_bytes(f"{address}/{name}", 99_999)
            assert len(await pool.get_bytes(f"{address}/{name}", 100_000)) == 100_000
        async with pool.stream(f"{address}/known") as answer:
            assert (answer.status, answer.length_bytes) == (200, 100_000)
            assert answer.headers["content-type"] == "application/octet-stream"
            assert sum([len(chunk) async for chunk in answer]) == 100_000


async def test_a_body_that_breaks_off_is_an_error() -> None:
    """A shorter body than promised is never taken for whole."""

    async def cut_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with _serving(a=cut_off) as address, open_http() as pool:
        with pytest.raises(NetworkError, match=r"broke off|closed the connection"):
            await pool.get_bytes(f"{address}/a", 1000)


async def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    """A small body that unpacks to gigabytes is never unpacked."""

    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    async with _serving(a=packed) as address, open_http() as pool:
        with pytest.raises(NetworkError, match="encoding 'gzip'"):
            await pool.get_bytes(f"{address}/a", 1000)


async def test_another_status_is_an_error_that_holds_it() -> None:
    """The caller can tell 304 and 404 from the rest."""

    async def missing(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async with _serving(a=missing) as address, open_http() as pool:
        with pytest.raises(NetworkError, match="answered 404 Not Found") as caught:
            await pool.get_bytes(f"{address}/a", 1000)
    assert caught.value.status == 404


async def test_redirects_are_followed_so_far_and_no_further() -> None:
    """Also relative ones."""
    async with (
        _serving(a=_to("b"), b=_to("/c"), c=_text, loop=_to("loop")) as address,
        open_http(HttpLimits(redirects=2)) as pool,
    ):
        assert await pool.get_bytes(f"{address}/a", 10) == b"hello"
        with pytest.raises(NetworkError, match="redirected more than 2 times"):
            await pool.get_bytes(f"{address}/loop", 10)
    async with _serving(a=_to("/b"), b=_text) as address, open_http(HttpLimits(redirects=0)) as pool:
        with pytest.raises(NetworkError, match="redirected more than 0 times"):
            await pool.get_bytes(f"{address}/a", 10)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,a", "//["])
async def test_redirects_to_anything_but_http_are_not_followed(location: str) -> None:
    """No server makes the agent read its own files."""
    async with _serving(a=_to(location)) as address, open_http() as pool:
        with pytest.raises(NetworkError, match=r"only http and https|not an address"):
            await pool.get_bytes(f"{address}/a", 10)


async def test_a_redirect_from_https_to_http_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for over a safe connection does not come over another one."""
    # A certificate that is trusted takes more than the standard library: the scheme is all that is looked at.
    async with _serving(a=_to("http://127.0.0.1/b")) as address, open_http() as pool:
        session = pool._opened()
        ask = session.get

        def ask_in_plain(url: URL, **options: object) -> object:
            return ask(url.with_scheme("http").with_port(url.port), **options)  # type: ignore[arg-type]

        monkeypatch.setattr(session, "get", ask_in_plain)
        with pytest.raises(NetworkError, match="from https to http"):
            await pool.get_bytes(address.replace("http:", "https:") + "/a", 10)


async def test_secrets_do_not_follow_a_redirect_to_another_server() -> None:
    """The same server still gets them; what a download needs to go on goes along."""
    seen: list[tuple[str | None, str | None, str | None]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(tuple(request.headers.get(name) for name in ("Authorization", "X-Token", "Range")))  # type: ignore[arg-type]
        return web.Response(text="hello")

    headers = {"Authorization": "Bearer secret", "X-Token": "secret", "Range": "bytes=5-"}
    async with (
        _serving(note=note) as other,
        _serving(near=_to("/note"), far=_to(f"{other}/note"), note=note) as address,
        open_http() as pool,
    ):
        for name in ("near", "far"):
            await pool.get_bytes(f"{address}/{name}", 10, headers=headers)
    assert seen == [("Bearer secret", "secret", "bytes=5-"), (None, None, "bytes=5-")]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:secret@127.0.0.1:{port}/a?token=secret#secret", "can't be reached"),
        ("file:///secret?secret", "only http and https"),
        ("ftp://user:secret@host/a", "only http and https"),
        ("http://[secret", "not an address"),
        ("http://user:secret@/a?secret", "only http and https|not an address"),
        ("words?secret", "only http and https"),
    ],
)
async def test_errors_name_the_address_without_its_secrets(url: str, said: str) -> None:
    """Neither in the message nor in the chain of what is printed with it."""
    with _free_port() as port:
        async with open_http() as pool:
            with pytest.raises(NetworkError, match=said) as caught:
                await pool.get_bytes(url.format(port=port), 10)
            assert pool.statistics().failed == 1
    assert "secret" not in str(caught.value).replace("/secret", "")
    assert "user" not in caught.value.url
    assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted() -> None:
    """A server that can't prove its name gets no request: here it does not even speak TLS."""
    async with _serving(a=_text) as address, open_http() as pool:
        with pytest.raises(NetworkError, match="can't be reached") as caught:
            await pool.get_bytes(address.replace("http:", "https:") + "/a", 10)
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_closing_ends_requests_under_way_and_those_that_wait() -> None:
    """Each raises NetworkError in its own task; later ones too."""
    idle = _Idle()
    async with _serving(idle=idle.answer) as address:
        async with open_http(HttpLimits(connections_per_host=1)) as pool:
            tasks = [asyncio.create_task(pool.get_bytes(f"{address}/idle", 10)) for _ in range(3)]
            await idle.asked.wait()
        for task in tasks:
            with pytest.raises(NetworkError, match="closed"):
                await task
        with pytest.raises(NetworkError, match="closed"):
            await pool.get_bytes(f"{address}/idle", 10)
        assert pool.statistics().active == 0


async def test_cancelling_a_request_cancels_it() -> None:
    """Cancelled in earnest it is no NetworkError, also while the pool closes."""
    idle = _Idle()
    async with _serving(idle=idle.answer) as address:
        async with open_http(HttpLimits(connections_per_host=1)) as pool:
            tasks = [asyncio.create_task(pool.get_bytes(f"{address}/idle", 10)) for _ in range(2)]
            await idle.asked.wait()
            for task in tasks:
                task.cancel()
        for task in tasks:
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_names_are_looked_up_on_the_given_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name and a name server that hangs are NetworkErrors; a hosts file's names work."""
    release = threading.Event()
    threads: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        threads.append(threading.current_thread().name)
        if host == "hangs.local":
            assert release.wait(10)
        if host == "good.local":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        raise socket.gaierror(-2, "Name or service not known")

    names = Pool("general", most_workers=1)
    async with _serving(a=_text) as address:
        port = URL(address).port
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        async with open_http(HttpLimits(connect_s=0.3), resolve_on=names) as pool:
            assert await pool.get_bytes(f"http://good.local:{port}/a", 10) == b"hello"
            for host, said in (("unknown.local", "Name or service not known"), ("hangs.local", "took longer")):
                with pytest.raises(NetworkError, match=f"can't be resolved.*{said}"):
                    await pool.get_bytes(f"http://{host}:{port}/a", 10)
        monkeypatch.undo()
    release.set()
    assert len(threads) == 3
    assert all(name.startswith("edge-general") for name in threads)
    await names.close()


async def test_the_resolver_gives_numeric_addresses() -> None:
    """This machine knows its own name."""
    names = Pool("general", most_workers=1)
    found = await PoolResolver(names, 5.0).resolve("localhost", 80)
    assert {entry["host"] for entry in found} <= {"127.0.0.1", "::1"}
    assert {entry["port"] for entry in found} == {80}
    await names.close()
