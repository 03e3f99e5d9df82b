"""The local socket: a JSON request a line, a JSON answer a line, for people's tools on the same device."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from edge_agent.errors import BadInputError, FaultError, RateLimitedError
from edge_agent.gateway.binding import bind, release

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from edge_agent.gateway.binding import Binding
    from edge_agent.gateway.places import SocketPlace
    from edge_agent.runtime.rates import RateLimiter
    from edge_agent.runtime.report import Threads

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 8
_MOST_REQUEST_BYTES = 4096
_READ_S = 10.0
"""A connection that asks nothing for so long is closed."""
_ANSWER_S = 5.0
_WRITE_S = 5.0
_CREDENTIALS = struct.Struct("=iII")
"""unix(7): `struct ucred` is a pid, a uid and a gid."""


class Answer(Protocol):
    """What the service says. Called on the loop."""

    def __call__(self, request: dict[str, Any], /) -> object | Awaitable[object]:
        """Return the data, JSON-able, or an awaitable of it.

        Raises:
            BadInputError: The request asks for what there is not.
            FaultError: It could not be answered now.
        """
        ...


class _Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, code: str, message: str, *, is_last: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.is_last = is_last


@asynccontextmanager
async def serve_socket(
    place: SocketPlace,
    answer: Answer,
    threads: Threads,
    *,
    rates: RateLimiter | None = None,
    read_s: float = _READ_S,
    answer_s: float = _ANSWER_S,
) -> AsyncIterator[None]:
    """Answer at `place` for as long as the context lasts; then close every connection and remove the file.

    A request is one line of JSON, an object, of 4096 bytes at most; the answer one line: `{"ok": true, "data": …}` or
    `{"ok": false, "error": {"code", "message"}}`. A connection may ask one thing after the other. Eight are served at a
    time. Whatever a client does, others and the service go on.

    Each line, a wrong one too, is charged to the user who opened the connection, in `rates` as `uid N`; over the rate
    it is answered with `rate_limited`.

    Raises:
        SocketError: Another process serves it, or the file can't be made. The service can go on without.
    """
    binding = await _bound(place, threads)
    connections = _Connections(answer, rates, read_s, answer_s)
    try:
        server = await asyncio.start_unix_server(connections.accept, sock=binding.listener, limit=_MOST_REQUEST_BYTES)
        _log.info("answers at %s", place.path)
        try:
            yield
        finally:
            server.close()
            await connections.close()
    finally:
        await _unbind(binding, threads)


async def _bound(place: SocketPlace, threads: Threads) -> Binding:
    """Bind; cancelled meanwhile, wait for the socket and give it up: nobody else knows of it."""
    making = asyncio.create_task(threads.run(lambda: bind(place), kind="socket"), name="socket.bind")
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait({making})
        if not making.cancelled() and making.exception() is None:
            await _unbind(making.result(), threads)
        raise


async def _unbind(binding: Binding, threads: Threads) -> None:
    binding.listener.close()
    try:
        await threads.run(lambda: release(binding), kind="socket")
    except FaultError as error:
        _log.warning("%s", error)


class _Connections:
    """The connections that are open."""

    def __init__(self, answer: Answer, rates: RateLimiter | None, read_s: float, answer_s: float) -> None:
        self._answer = answer
        self._rates = rates
        self._read_s = read_s
        self._answer_s = answer_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._served = 0
        self._made = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task of its own; one too many is told so."""
        self._made += 1
        if len(self._tasks) >= 2 * _MOST_CONNECTIONS:  # there is not even time to tell it
            writer.transport.abort()
            return
        is_served = self._served < _MOST_CONNECTIONS
        self._served += is_served
        work = self._serve(reader, writer, _user_of(writer)) if is_served else self._turn_away(writer)
        task = asyncio.create_task(work, name=f"gateway.socket.{self._made}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s broke", task.get_name(), exc_info=error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str) -> None:
        try:
            while (line := await self._read(reader)) is not None:
                try:
                    reply: dict[str, object] = {"ok": True, "data": await self._reply(line, user)}
                    goes_on = True
                except _Refusal as refusal:
                    reply = _error(refusal.code, refusal.message)
                    goes_on = not refusal.is_last
                await _send(writer, reply)
                if not goes_on:
                    return
        except (ConnectionError, TimeoutError):
            return  # the client went away or stopped reading: its own affair
        finally:
            self._served -= 1
            writer.transport.abort()  # what was sent is with the kernel; nothing else may linger

    async def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        try:
            await _send(writer, _error("busy", f"{_MOST_CONNECTIONS} connections are open; close one"))
        except (ConnectionError, TimeoutError):
            return
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> bytes | _Refusal | None:
        """Return a request's line, why there can be none, or None where the client is done."""
        try:
            async with asyncio.timeout(self._read_s):
                line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return None
            return _Refusal("bad_request", "a request ends with a newline", is_last=True)
        except asyncio.LimitOverrunError:
            message = f"a request has {_MOST_REQUEST_BYTES} bytes at most"
            return _Refusal("bad_request", message, is_last=True)
        except TimeoutError:
            return _Refusal("timeout", f"no request came within {self._read_s:g} s", is_last=True)
        return line

    async def _reply(self, line: bytes | _Refusal, user: str) -> object:
        if isinstance(line, _Refusal):
            raise line
        if self._rates is not None:
            try:
                self._rates.check(user)
            except RateLimitedError as error:
                raise _Refusal("rate_limited", str(error)) from error
        request = _parse(line)
        try:
            async with asyncio.timeout(self._answer_s):
                data = self._answer(request)
                return await data if inspect.isawaitable(data) else data
        except TimeoutError as error:
            raise _Refusal("timeout", f"no answer within {self._answer_s:g} s") from error
        except BadInputError as error:
            raise _Refusal("unknown", str(error)) from error
        except FaultError as error:
            raise _Refusal("failed", str(error)) from error


def _user_of(writer: asyncio.StreamWriter) -> str:
    """Return who opened the connection, as the kernel knows it."""
    connection: socket.socket = writer.get_extra_info("socket")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(found)
    return f"uid {uid}"


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:  # 4096 bytes can nest deep enough
        raise _Refusal("bad_request", "a request is one line of JSON") from error
    if not isinstance(request, dict):
        raise _Refusal("bad_request", 'a request is a JSON object, such as {"get": "status"}')
    return request


async def _send(writer: asyncio.StreamWriter, reply: dict[str, object]) -> None:
    writer.transport.set_write_buffer_limits(high=0)  # draining then means that the kernel has all of it
    writer.write(json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(_WRITE_S):
        await writer.drain()


def _error(code: str, message: str) -> dict[str, object]:
    return {"ok": False, "error": {"code": code, "message": message}}
