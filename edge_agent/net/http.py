"""The pool of HTTP connections: bounded in number, time and size, with one kind of error."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.errors import BusyError, NetworkError
from edge_agent.net.failures import network_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from aiohttp import ClientResponse, ClientSession
    from yarl import URL

    from edge_agent.runtime.pool import Pool

_CHUNK_BYTES = 64 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_HARMLESS = frozenset({"accept", "range", "if-range", "if-none-match", "if-modified-since"})
"""Headers that another server than the one they were meant for may see."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What the pool allows.

    Attributes:
        connections: At once, in all.
        connections_per_host: At once to one host and port.
        requests: Under way at once, those that wait for a connection included; more are refused.
        wait_s: Until a connection is there, waiting for a free one included.
        connect_s: For resolving a name, and for connecting.
        read_s: Without a byte arriving.
        total_s: For a whole `get_bytes`.
        redirects: Followed one after the other.
    """

    connections: int = 8
    connections_per_host: int = 2
    requests: int = 32
    wait_s: float = 30.0
    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 120.0
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """The pool as it stands.

    Attributes:
        active: Requests under way or waiting for a connection.
        completed: Requests that were answered, with whatever status below 300.
        failed: Requests that raised NetworkError.
        refused: Requests turned away because too many were active.
        received_bytes: Of bodies.
    """

    active: int
    completed: int
    failed: int
    refused: int
    received_bytes: int


class HttpAnswer:
    """An answer whose body has yet to come; iterate over it once, for chunks of bytes.

    Attributes:
        status: From 200 to 299.
        headers: By name, in any case.
        length_bytes: Of the body, where the server tells.
    """

    def __init__(self, pool: HttpPool, response: ClientResponse, most_bytes: int | None) -> None:
        self._pool = pool
        self._response = response
        self._most_bytes = most_bytes
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.length_bytes = response.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            NetworkError: It broke off, stalled, or is larger than allowed.
        """
        url = str(self._response.url)
        received_bytes = 0
        chunks = self._response.content.iter_chunked(_CHUNK_BYTES)
        while True:
            with self._pool.failures(url):
                chunk = await anext(chunks, b"")
                received_bytes += len(chunk)
                self._pool.received_bytes += len(chunk)
                self.check_size(received_bytes)
            if not chunk:
                return
            yield chunk

    def check_size(self, size_bytes: int) -> None:
        """Raise NetworkError where a body of `size_bytes` is too large."""
        if self._most_bytes is not None and size_bytes > self._most_bytes:
            raise NetworkError(
                str(self._response.url), f"the answer is larger than {self._most_bytes} bytes", self.status
            )


class HttpPool:
    """Made by `open_http`. GET requests only; belongs to the loop.

    Bodies arrive as they are stored: nothing is compressed on the way, so sizes and checksums are those of the file.
    No cookies are kept, and the environment's proxies and `.netrc` are not heeded.
    """

    def __init__(self, limits: HttpLimits, resolve_on: Pool | None) -> None:
        self.limits = limits
        self._resolve_on = resolve_on
        self._session: ClientSession | None = None
        self._closed = False
        self._asking: set[asyncio.Timeout] = set()
        self._nobody_asks = asyncio.Event()
        self._nobody_asks.set()
        self._active = self._completed = self._failed = self._refused = 0
        self.received_bytes = 0

    @asynccontextmanager
    async def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, most_bytes: int | None = None
    ) -> AsyncIterator[HttpAnswer]:
        """Ask for `url`; the connection is free again when this is left, and closed if the body was not read.

        There is no limit to the whole time, only to each wait. Redirects are followed to http and https, never from
        https to http.

        Args:
            url: An http or https address.
            headers: More headers. Only harmless ones follow a redirect to another server.
            most_bytes: Limit to the body.

        Raises:
            NetworkError: There was no answer, or one with another status than 200 to 299 (`status` holds it).
            BusyError: Too many requests are under way.
        """
        if self._active >= self.limits.requests:
            self._refused += 1
            raise BusyError("the list of HTTP requests", self.limits.requests)
        self._active += 1
        try:
            response = await self._ask(url, dict(headers or {}))
            async with response:
                with self.failures(str(response.url)):
                    _check(response)
                    answer = HttpAnswer(self, response, most_bytes)
                    answer.check_size(answer.length_bytes or 0)
                yield answer
                self._completed += 1
        finally:
            self._active -= 1

    async def get_bytes(self, url: str, most_bytes: int, *, headers: Mapping[str, str] | None = None) -> bytes:
        """Return a whole body.

        Raises:
            NetworkError: As `stream`, or it took longer than `total_s`.
            BusyError: Too many requests are under way.
        """
        try:
            async with (
                asyncio.timeout(self.limits.total_s),
                self.stream(url, headers=headers, most_bytes=most_bytes) as answer,
            ):
                return b"".join([chunk async for chunk in answer])
        except TimeoutError as error:
            self._failed += 1
            raise NetworkError(url, f"took longer than {self.limits.total_s:g} s") from error

    def statistics(self) -> HttpStatistics:
        """Return the pool's figures."""
        return HttpStatistics(self._active, self._completed, self._failed, self._refused, self.received_bytes)

    async def close(self) -> None:
        """Close all connections; requests under way raise NetworkError."""
        self._closed = True
        # aiohttp leaves some of those who wait for a connection waiting when it closes.
        for asking in self._asking:
            asking.reschedule(asyncio.get_running_loop().time())
        await self._nobody_asks.wait()
        if self._session is not None:
            await self._session.close()

    @contextmanager
    def failures(self, url: str) -> Iterator[None]:
        """Count what goes wrong, and raise it as NetworkError."""
        try:
            with network_errors(url, self.limits, is_closed=lambda: self._closed):
                yield
        except NetworkError:
            self._failed += 1
            raise

    @asynccontextmanager
    async def _ends_when_closed(self) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as asking:
            self._asking.add(asking)
            self._nobody_asks.clear()
            try:
                yield
            finally:
                self._asking.discard(asking)
                if not self._asking:
                    self._nobody_asks.set()

    async def _ask(self, address: str, headers: dict[str, str]) -> ClientResponse:
        with self.failures(address):
            if self._closed:
                raise NetworkError(address, "the connections were closed")
            async with self._ends_when_closed():
                return await self._follow(address, headers)

    async def _follow(self, address: str, headers: dict[str, str]) -> ClientResponse:
        from yarl import URL

        url = URL(address)
        _check_scheme(url, url)
        for _ in range(self.limits.redirects + 1):
            response = await self._opened().get(url, headers=headers, allow_redirects=False)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response
            response.release()
            before, url = url, url.join(URL(target))
            _check_scheme(before, url, response.status)
            if url.origin() != before.origin():
                headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
        raise NetworkError(address, f"is redirected more than {self.limits.redirects} times", response.status)

    def _opened(self) -> ClientSession:
        """Return the session; made when first needed, for most devices never ask anybody anything."""
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

            from edge_agent.net.resolver import PoolResolver

            limits = self.limits
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=limits.connections,
                    limit_per_host=limits.connections_per_host,
                    resolver=PoolResolver(self._resolve_on, limits.connect_s) if self._resolve_on else None,
                ),
                timeout=ClientTimeout(
                    total=None, connect=limits.wait_s, sock_connect=limits.connect_s, sock_read=limits.read_s
                ),
                headers={"User-Agent": f"edge-agent/{__version__}", "Accept-Encoding": "identity"},
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


@asynccontextmanager
async def open_http(limits: HttpLimits | None = None, *, resolve_on: Pool | None = None) -> AsyncIterator[HttpPool]:
    """Give a pool of HTTP connections, which is closed when this is left.

    Args:
        limits: What it allows.
        resolve_on: Where names are looked up, `general` for example; without it on the loop's own threads.
    """
    pool = HttpPool(limits or HttpLimits(), resolve_on)
    try:
        yield pool
    finally:
        await pool.close()


def _check_scheme(before: URL, url: URL, status: int | None = None) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        reason = f"leads to an address of scheme {url.scheme!r}; only http and https are asked"
        raise NetworkError(str(before), reason, status)
    if before.scheme == "https" and url.scheme == "http":
        raise NetworkError(str(before), "is redirected from https to http, which is not followed", status)


def _check(response: ClientResponse) -> None:
    url = str(response.url)
    if not 200 <= response.status < 300:  # noqa: PLR2004 - the class of success
        raise NetworkError(url, f"answered {response.status} {response.reason or ''}".rstrip(), response.status)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise NetworkError(url, f"answered in encoding {encoding!r}, which was not asked for", response.status)
