"""A server of files on this machine that may do anything but serve them: on raw sockets, so that it can lie.

Each path has a list of answers, one for each request; the last one goes on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """A request."""

    path: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        """Where the range that is asked for begins; 0 where none is."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HostileServer:
    """What it answers, and what it was asked."""

    port: int = 0
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, *answers: Answer) -> str:
        """Answer requests for that path so; return its address."""
        self.answers[path] = list(answers)
        return self.url(path)

    def starts(self, path: str) -> list[int]:
        """Where each request for a path began."""
        return [asked.start for asked in self.asked if asked.path == path]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in head[1:] if ":" in line)
            asked = Asked(head[0].split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})
            self.asked.append(asked)
            answers = self.answers.get(asked.path) or [status(404)]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            await answer(asked, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()


@asynccontextmanager
async def hostile_server() -> AsyncIterator[HostileServer]:
    """Run one on a free port."""
    hostile = HostileServer()
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(hostile.handle(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    hostile.port = server.sockets[0].getsockname()[1]
    try:
        yield hostile
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def whole(
    body: bytes,
    *,
    breaks_at: int | None = None,
    length: int | None = None,
    etag: str | None = '"1"',
    ranges: bool = True,
    heeds_if_range: bool = True,
    chunked: bool = False,
    stalls_at: int | None = None,
) -> Answer:
    """Serve `body`.

    Args:
        body: All of it.
        breaks_at: The connection ends before this byte of the file.
        length: What Content-Length says, where that is a lie.
        etag: Names the version.
        ranges: Whether a part may be had.
        heeds_if_range: Whether a part of another version than the one asked for is refused.
        chunked: The length is not said.
        stalls_at: Nothing comes from this byte on.
    """

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        start = asked.start if ranges else 0
        if_range = asked.headers.get("if-range")
        if heeds_if_range and if_range is not None and if_range != etag:
            start = 0
        end = len(body) if breaks_at is None else breaks_at
        said = len(body) - start if length is None else length
        head = f"HTTP/1.1 {'206 Partial Content' if start else '200 OK'}\r\nConnection: close\r\n"
        if start:
            head += f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}\r\n"
        if etag is not None:
            head += f"ETag: {etag}\r\n"
        head += "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {said}\r\n"
        writer.write(f"{head}\r\n".encode())
        sent = body[start : end if stalls_at is None else stalls_at]
        if chunked:
            for at in range(0, len(sent), 4096):
                block = sent[at : at + 4096]
                writer.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            if breaks_at is None:
                writer.write(b"0\r\n\r\n")
        else:
            writer.write(sent)
        await writer.drain()
        if stalls_at is not None:
            await asyncio.Event().wait()

    return answer


def status(number: int, *lines: str) -> Answer:
    """Answer with a status and nothing else."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{line}\r\n" for line in lines)
        writer.write(f"HTTP/1.1 {number} Nope\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n".encode())
        await writer.drain()

    return answer


def redirect(target: str) -> Answer:
    """Send the client elsewhere."""
    return status(302, f"Location: {target}")


async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Send for ever, without saying how much."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


async def hang_up(_: Asked, __: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""
