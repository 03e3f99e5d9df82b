"""Makes the connection that MQTT then runs over: name, TCP and TLS, each within a bound and none of it on the loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_agent.errors import BusyError, JobTimeoutError
from edge_agent.mqtt.failures import NO_TLS, BrokerError, network_reason

if TYPE_CHECKING:
    import ssl

    from edge_agent.runtime.pool import Pool

_Address = tuple[int, tuple[object, ...]]

_SHARE_S = 3.0
"""An address that swallows packets must not cost the next its chance."""


async def dial(host: str, port: int, *, context: ssl.SSLContext | None, pool: Pool, within_s: float) -> socket.socket:
    """Connect to the broker, by TLS where there is a `context`, and return a socket that does not block.

    Cancelled, or too late, it leaves no socket behind; only a name look-up, which can't be stopped, runs on to its end.

    Raises:
        BrokerError: No connection came about; the reason is in words.
    """
    broker = f"{host}:{port}"
    try:
        async with asyncio.timeout(within_s):
            plain = await _connect(await _resolve(host, port, pool, within_s))
            return plain if context is None else await _secure(plain, host, context, pool, within_s)
    except (TimeoutError, JobTimeoutError) as error:
        raise BrokerError(broker, f"does not answer within {within_s:g} s") from error
    except BusyError as error:
        raise BrokerError(broker, f"this device is too busy to connect: {error}") from error
    except (OSError, UnicodeError) as error:
        reason = network_reason(error, host) if isinstance(error, OSError) else "mqtt.host is no host name"
        raise BrokerError(broker, reason) from error


async def _resolve(host: str, port: int, pool: Pool, within_s: float) -> list[_Address]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    found = await pool.run(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), kind="mqtt.resolve", timeout_s=within_s
    )
    return [(family, tuple(address)) for family, *_, address in found]


async def _connect(addresses: list[_Address]) -> socket.socket:
    """Try one address after the other; each but the last gets its share of the time."""
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    loop = asyncio.get_running_loop()
    for at, (family, address) in enumerate(addresses):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(0)
            async with asyncio.timeout(None if at == len(addresses) - 1 else _SHARE_S):
                await loop.sock_connect(connection, address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


async def _secure(
    plain: socket.socket, host: str, context: ssl.SSLContext, pool: Pool, within_s: float
) -> socket.socket:
    try:
        plain.settimeout(within_s)
        secure = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    handshake = _Handshake(secure)
    try:
        await pool.run(handshake.perform, kind="mqtt.handshake", timeout_s=within_s, stop=handshake.stop)
    except ConnectionError as error:
        handshake.abandon()
        raise ConnectionAbortedError(NO_TLS) from error
    except BaseException:
        handshake.abandon()
        raise
    secure.settimeout(0)
    return secure


class _Handshake:
    """Proves who the broker is. `perform` runs on a pool's thread; whoever is last closes what nobody wants."""

    def __init__(self, secure: ssl.SSLSocket) -> None:
        self._secure = secure
        self._lock = threading.Lock()
        self._performing = False
        self._abandoned = False

    def perform(self) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._performing = True
        try:
            self._secure.do_handshake()
        finally:
            with self._lock:
                self._performing = False
                if self._abandoned:
                    self._secure.close()

    def stop(self) -> None:
        """Wake the thread. `SSLSocket.shutdown` would take the session from under it."""
        with suppress(OSError):  # the broker was quicker
            socket.socket.shutdown(self._secure, socket.SHUT_RDWR)

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            if not self._performing:
                self._secure.close()
